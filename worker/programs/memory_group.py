"""The memory of a program held by the kernel: a control group of its own, where we may make one.

That is where the first version of control groups lets us (as root), and under the second where a service manager left
the group above ours to us, as the unit that `up --print-unit` prints asks it to. There the kernel lets the processes of
the group have no more than was granted at any moment; the cache of files counts only until something else needs its
room. Elsewhere there is no group, and the looks of `worker.pool.watch` are all that holds a program.

Sources: Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst of Linux.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from singlepoint.worker.ground import tree
from singlepoint.worker.ground.process import killed_by_kernel

log = logging.getLogger("singlepoint.worker")

OWN_BYTES = 16 * 2**20
"""Beyond the grant: what the kernel keeps for the group's processes, their page tables for one, which counts here."""

_PREFIX = "singlepoint-"
_DELEGATED = ("user.delegate", "trusted.delegate")
"""Set by systemd on a group whose inside is its owner's."""


@dataclass(frozen=True)
class Version:
    """How one version of control groups names things.  limit: the file that takes the limit.  besides: what is written
    to others, where they are there; None for the limit, too.  events: where the kernel counts what it killed."""

    number: int
    limit: str
    besides: Mapping[str, str | None]
    events: str


FIRST = Version(1, "memory.limit_in_bytes", {"memory.memsw.limit_in_bytes": None}, "memory.oom_control")
SECOND = Version(2, "memory.max", {"memory.swap.max": "0", "memory.oom.group": "1"}, "memory.events")


@dataclass(frozen=True)
class Place:
    """A directory in which groups of ours may be made."""

    directory: Path
    version: Version

    def make(self, name: str, memory_bytes: int) -> MemoryGroup | None:
        """A group that holds what joins it to so many bytes and `OWN_BYTES`; None when that cannot be had after all."""
        group = self.group(name)
        group.end()  # of an attempt that was killed
        try:
            if self.version is SECOND:
                (self.directory / "cgroup.subtree_control").write_text("+memory")
            group.directory.mkdir()
            group.limit(memory_bytes + OWN_BYTES)
        except OSError:
            group.remove()
            return None
        return group

    def group(self, name: str) -> MemoryGroup:
        """The one of that name, made or not."""
        return MemoryGroup(self.directory / f"{_PREFIX}{name}", self.version)

    def names(self) -> list[str]:
        """Of the groups that are there."""
        return [found.name.removeprefix(_PREFIX) for found in self.directory.glob(f"{_PREFIX}*")]

    def sweep(self) -> None:
        """Remove the groups that those who made them left behind; one with a process in it stays."""
        with contextlib.suppress(OSError):
            for name in self.names():
                self.group(name).remove()


@dataclass(frozen=True)
class MemoryGroup:
    """One group."""

    directory: Path
    version: Version

    def limit(self, most_bytes: int) -> None:
        """Raises OSError when the kernel does not take it."""
        (self.directory / self.version.limit).write_text(str(most_bytes))
        for name, word in self.version.besides.items():
            with contextlib.suppress(OSError):
                (self.directory / name).write_text(word or str(most_bytes))

    def join(self) -> None:
        """Put this process into it, and so all that it will start. One that cannot is watched like any other."""
        with contextlib.suppress(OSError):
            (self.directory / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self) -> int:
        """How many of its processes the kernel has killed since the group went over its limit."""
        return killed_by_kernel(self.directory / self.version.events)

    def pids(self) -> list[int]:
        """The processes in it: also one that has rid itself of all else by which it could be known."""
        with contextlib.suppress(OSError):
            return [int(pid) for pid in (self.directory / "cgroup.procs").read_text().split() if int(pid) > 0]
        return []

    def end(self) -> None:
        """End what is in it, and remove it; for whoever holds the lock of the job, since then nothing may be."""
        if found := self.pids():
            log.warning("left_in_group_ended group=%s processes=%d", self.directory.name, len(found))
            tree.end_all(self.pids)
        self.remove()

    def remove(self) -> None:
        """Fails quietly while there is a process in it, or no such group."""
        with contextlib.suppress(OSError):
            self.directory.rmdir()


@functools.cache
def place() -> Place | None:
    """Where this process may make groups; None where it may not."""
    return place_of("self")


def place_of(process: int | str) -> Place | None:
    """Where that process may, if it is of the same user."""
    try:
        return find_place(Path(f"/proc/{process}/cgroup").read_text().splitlines(), Path("/sys/fs/cgroup"))
    except OSError:
        return None


def find_place(groups: Iterable[str], root: Path) -> Place | None:
    """groups: ours, as `/proc/self/cgroup` has them.  root: where control groups are mounted."""
    paths = {what: path for _, what, path in (line.split(":", 2) for line in groups)}
    for what, path in paths.items():
        if "memory" in what.split(","):
            own = root / "memory" / path.lstrip("/")
            return Place(own, FIRST) if _may_make(own) and (own / "memory.limit_in_bytes").exists() else None
    own = root / paths.get("", "/").lstrip("/")
    return Place(own.parent, SECOND) if own != root and _is_left_to_us(own.parent) else None


def _is_left_to_us(above: Path) -> bool:
    """Whether groups beside ours may be made that hold memory: nobody else keeps order there, and no process is in it,
    as the kernel demands."""
    try:
        delegated = any(_attribute(above, name) == b"1" for name in _DELEGATED)
        has_memory = "memory" in (above / "cgroup.controllers").read_text().split()
        is_empty = not (above / "cgroup.procs").read_text().strip()
    except OSError:
        return False
    is_managed = above.name.startswith("user@")  # by the service manager of a user, whose the inside is
    return delegated and has_memory and is_empty and not is_managed and _may_make(above)


def _attribute(path: Path, name: str) -> bytes:
    with contextlib.suppress(OSError, AttributeError):
        return os.getxattr(path, name)
    return b""


def _may_make(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)
