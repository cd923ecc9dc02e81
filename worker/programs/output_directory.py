"""What a command writes for good: put together by an attempt, made durable, and published by one rename.

    --output DIR    DIR, which must not be there, or be empty
    otherwise       home/outputs/<name>/<n>/, numbered from 1, never overwritten

The directory keeps its inode through the rename. It is written down before, with what is in it, so that an attempt
that died between the rename and its record is recognised by the next one, which then has nothing left to do. The inode
alone would not do: that of a stage which was removed is soon somebody else's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singlepoint.jobs.errors import InvalidInput, Problem, SinglepointError
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.regular_files import regular
from singlepoint.jobs.store.durable import explained, make_directory, move_into_place, sync_directory
from singlepoint.jobs.store.job_files import staged_output
from singlepoint.worker.ground.work import Work

DONE = ".done"
"""By this file a command that was asked to stop says that it had finished all the same."""

_BLOCK_BYTES = 2**20

_TAKEN = {
    errno.ENOTEMPTY: "is there meanwhile, and not empty",
    errno.EEXIST: "is there meanwhile, and not empty",
    errno.ENOTDIR: "is there meanwhile, and is no directory",
    errno.EBUSY: "is a mount point by now, and cannot be replaced",
}
"""What a refused rename says of the place that was wanted."""


@dataclass(frozen=True)
class OutputDirectory:
    """stage: where this attempt writes.  wanted: where it shall be; None: on its shelf in the home."""

    stage: Path
    wanted: Path | None
    shelf: Path

    @classmethod
    def of(cls, work: Work, output: str | None) -> OutputDirectory:
        wanted = Path(output) if output else None
        stage = staged_output(wanted, work.job.id, work.attempt) if wanted else work.files.stage(work.attempt)
        return cls(stage, wanted, work.place.home.outputs / work.job.name)

    def make(self) -> None:
        with explained(self.stage):
            self.stage.mkdir(parents=self.wanted is None, mode=0o755)

    @property
    def is_done(self) -> bool:
        return (self.stage / DONE).exists()

    def mark(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """By which `published` knows it again. told: what `finish` answered."""
        return {"output": _identity(self.stage), "sha256": told["sha256"]}

    def published(self, mark: Mapping[str, Any], between: Callable[[], None]) -> dict[str, Any] | None:
        """What is told of the directory of an earlier attempt, its path included, if it has been published."""
        candidates = [self.wanted] if self.wanted else [self.shelf / str(number) for number in _numbers(self.shelf)]
        for place in candidates:
            if (identity := _identity(place)) is not None and identity == mark.get("output"):
                told = summary(place, between)
                if told["sha256"] == mark.get("sha256"):
                    return {"path": str(place), **told}
        return None

    def finish(self, between: Callable[[], None]) -> dict[str, Any]:
        """Make all of it durable; what is told of it. between: called now and then, as this may take long.

        Raises InvalidInput when it is not there any more.
        """
        if self.stage.is_symlink() or not self.stage.is_dir():
            what = f"the command removed {self.stage}, or put something else in its place"
            raise InvalidInput(
                Problem("output", what, "have it write into $SINGLEPOINT_OUTPUT_DIR, and leave that there")
            )
        (self.stage / DONE).unlink(missing_ok=True)
        with explained(self.stage):
            return summary(self.stage, between, sync=True)

    def publish(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give it its place; the facts of the job's last move. Raises InvalidInput when somebody has that."""
        if self.wanted is None and not told["files"]:
            return {}  # a command that only prints leaves nothing behind
        place = self._take_number() if self.wanted is None else self._take_wanted(self.wanted)
        return {"result": {"path": str(place), **told}}

    def _take_wanted(self, wanted: Path) -> Path:
        try:
            move_into_place(self.stage, wanted, point="publish.output")
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            hint = "move it away, then `singlepoint retry`"
            raise InvalidInput(Problem("output", f"{wanted} {_TAKEN[error.errno]}{self._keep()}", hint)) from None
        return wanted

    def _keep(self) -> str:
        """What is finished and finds its place taken stays beside that, in sight; the words that say so."""
        kept = self.stage.with_name(self.stage.name.removeprefix(".").removesuffix(".tmp"))
        try:
            move_into_place(self.stage, kept, point="publish.kept")
        except (OSError, SinglepointError):
            return ""
        return f"; what the command left is in {kept}"

    def _take_number(self) -> Path:
        make_directory(self.shelf.parent)
        make_directory(self.shelf)
        number = max(_numbers(self.shelf), default=0)
        while True:
            number += 1
            try:
                move_into_place(self.stage, self.shelf / str(number), point="publish.output")
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                return self.shelf / str(number)


def _identity(place: Path) -> list[int] | None:
    try:
        status = place.lstat()
    except OSError:
        return None
    return [status.st_dev, status.st_ino]


def _numbers(shelf: Path) -> list[int]:
    try:
        return sorted(int(entry.name) for entry in os.scandir(shelf) if entry.name.isdigit())
    except OSError:
        return []


def summary(
    root: Path, between: Callable[[], None] = lambda: None, *, sync: bool = False, follow: bool = False
) -> dict[str, Any]:
    """files, bytes and one sha256 over the names and contents of a file, or of all files below a directory.

    sync: make them durable.  follow: symbolic links count as what they lead to, and not as where they do.
    """
    digest, count, size = hashlib.sha256(), 0, 0
    for path in files_below(root, set() if follow else None):
        between()
        if sync:
            reach("output.sync")
        name = os.fsencode(path.relative_to(root))
        own, length = _digest(path, between, sync=sync, follow=follow)
        digest.update(len(name).to_bytes(8, "little") + name + own)
        count, size = count + 1, size + length
    if sync:
        for directory, _, _ in os.walk(root):
            sync_directory(Path(directory))
    return {"sha256": digest.hexdigest(), "files": count, "bytes": size}


def files_below(root: Path, seen: set[tuple[int, int]] | None = None) -> Iterator[Path]:
    """Regular files in order of their names, and symbolic links.

    seen: directories that were walked through; links lead to others, each once, so that no circle has no end. None:
    links are not followed.
    """
    if not root.is_dir():
        yield root
        return
    if seen is not None:
        status = root.stat()
        seen.add((status.st_dev, status.st_ino))
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False) or (seen is not None and _leads_on(entry, seen)):
            yield from files_below(Path(entry.path), seen)
        elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
            yield Path(entry.path)


def _leads_on(link: os.DirEntry[str], seen: set[tuple[int, int]]) -> bool:
    """Whether it leads to a directory that was not walked through."""
    try:
        status = link.stat()
    except OSError:
        return False  # nowhere, or in a circle
    return stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) not in seen


def _digest(path: Path, between: Callable[[], None], *, sync: bool, follow: bool) -> tuple[bytes, int]:
    if path.is_symlink() and not (follow and path.is_file()):
        target = os.fsencode(os.readlink(path))
        return hashlib.sha256(b"link " + target).digest(), 0
    digest, size = hashlib.sha256(), 0
    with open(path, "rb", opener=regular) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
            between()
        if sync:
            os.fsync(file.fileno())
    return digest.digest(), size
