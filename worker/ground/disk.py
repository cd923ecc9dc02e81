"""What a job has on disk, held to what it was granted, and to a floor of free space that is left to everybody else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from singlepoint.jobs.host.free_space import FLOOR_BYTES
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.spec.job import Spec, outputs
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_files import staged_outputs

FLOOR_OWN_BYTES = 64 * 2**20
"""A job is stopped at the floor of free space if it has written this much since it began: what others did is not its
fault."""


@dataclass
class Disk:
    """What one job has on disk: its directory, and its outputs on their way.

    began_bytes: when this attempt was first looked at.
    """

    directory: Path
    job_id: str
    outputs: tuple[Path, ...]
    began_bytes: int = 0

    @classmethod
    def of_job(cls, home: Home, spec: Spec, job: Job) -> Disk:
        disk = cls(home.job(job.id), job.id, tuple(map(Path, outputs(spec))))
        disk.began_bytes = disk.used_bytes()
        return disk

    def used_bytes(self) -> int:
        staged = [stage for output in self.outputs for stage in staged_outputs(output, self.job_id)]
        return sum(map(stored_bytes, (self.directory, *staged)))

    def complaint(self, granted_bytes: int) -> str | None:
        """`out_of_storage` above what was granted (0: no limit), `disk_full` when it takes the last free space."""
        used = self.used_bytes()
        if granted_bytes and used > granted_bytes:
            return "out_of_storage"
        if used - self.began_bytes <= FLOOR_OWN_BYTES:
            return None
        return "disk_full" if _least_free_bytes((self.directory, *self.outputs)) < FLOOR_BYTES else None


def stored_bytes(path: Path) -> int:
    """Bytes that a file, or all below a directory, takes on disk; what cannot be read counts nothing."""
    if path.is_symlink():  # by whoever may write beside it: what it leads to is not there
        return 0
    total, unseen = 0, [path]
    while unseen:
        here = unseen.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        unseen.append(Path(entry.path))
                    else:
                        total += _allocated_bytes(entry.stat(follow_symlinks=False))
        except NotADirectoryError:
            total += _allocated_bytes(os.lstat(here))
        except OSError:
            continue  # gone meanwhile
    return total


def _allocated_bytes(status: os.stat_result) -> int:
    return status.st_blocks * 512


def _least_free_bytes(paths: Iterable[Path]) -> int:
    free = []
    for path in paths:
        place = path if path.exists() else path.parent
        try:
            status = os.statvfs(place)
        except OSError:
            continue
        free.append(status.f_bavail * status.f_frsize)
    return min(free, default=FLOOR_BYTES)
