"""Which process is meant: a pid alone is reused, so it goes with when it started and which boot that was.

Nothing here starts or ends a process; to which cores it keeps can be said. Linux is read from /proc; elsewhere psutil
answers.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singlepoint.jobs import documents

_LINUX = sys.platform == "linux"
_GONE = {"Z", "X"}  # a zombie has ended, its parent only has not asked yet
_STOPPED = {"T", "t"}  # by a signal, by a debugger


@dataclass(frozen=True)
class ProcessId:
    """One process, for good.

    started: when it began, in whatever unit the system counts (clock ticks since boot on Linux), only to be
    compared.  boot_id: the boot it belongs to.
    """

    pid: int
    started: int
    boot_id: str

    def is_alive(self) -> bool:
        """Whether it runs still, or is stopped; a zombie has ended."""
        return self.boot_id == boot_id() and started(self.pid) == self.started

    def to_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "started": self.started, "boot_id": self.boot_id}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ProcessId:
        """Raises Malformed."""
        return cls(
            pid=documents.whole(document, "pid", least=1, most=2**31 - 1),
            started=documents.whole(document, "started"),
            boot_id=documents.text(document, "boot_id", most=100),
        )


@functools.cache
def boot_id() -> str:
    """A word that changes when the machine restarts; `""` where the system offers none."""
    if _LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    import subprocess

    asked = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def started(pid: int) -> int | None:
    """When `pid` began; None when it has ended or never was."""
    return _started_linux(pid) if _LINUX else _started_elsewhere(pid)


def _started_linux(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None or fields[0] in _GONE else int(fields[19])


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on, its state."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name, in brackets, may itself hold spaces and brackets: count from the last one.
    return text[text.rindex(")") + 2 :].split()


def is_stopped(pid: int) -> bool:
    """Whether it stands still until somebody wakes it (SIGCONT), and does not even notice a request to end."""
    if _LINUX:
        fields = _stat(pid)
        return fields is not None and fields[0] in _STOPPED
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def _started_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 1000)
    except psutil.Error:
        return None


def identify(pid: int) -> ProcessId | None:
    """The process that has this pid now; None when there is none."""
    at = started(pid)
    return None if at is None else ProcessId(pid, at, boot_id())


def this_process() -> ProcessId:
    me = identify(os.getpid())
    assert me is not None
    return me


def use_cores(cores: Collection[int], pids: Iterable[int] = (0,)) -> None:
    """Have processes (0: this one) run on these cores only, with every thread there is: each has an affinity of its
    own, which those it starts inherit. None or no such thing on this system: they stay as they are."""
    if cores and hasattr(os, "sched_setaffinity"):
        for thread in (thread for pid in pids for thread in threads(pid)):
            with contextlib.suppress(OSError):  # it ended; or a core went away: the count is still right by threads
                os.sched_setaffinity(thread, cores)


def keep_within(cores: Collection[int], pids: Iterable[int]) -> None:
    """Give these cores to each thread of the processes that may run on any other; one that chose fewer keeps those."""
    if cores and hasattr(os, "sched_setaffinity"):
        for thread in (thread for pid in pids for thread in threads(pid)):
            with contextlib.suppress(OSError):  # it ended, or is not ours
                if not os.sched_getaffinity(thread) <= set(cores):
                    os.sched_setaffinity(thread, cores)


def threads(pid: int = 0) -> list[int]:
    """The threads of a process as the kernel numbers them; only its first where it does not tell."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid or 'self'}/task")]
    except OSError:
        return [pid]


@functools.cache
def lists_children() -> bool:
    """Whether the kernel tells which children a process has, without a look at every process there is."""
    return Path(f"/proc/self/task/{os.getpid()}/children").exists()


def children(pid: int) -> list[int]:
    """The processes whose parent `pid` is now, where the kernel lists them; none elsewhere."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it, or a thread of it, has ended meanwhile
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def worker_name(slot: int, pid: int, stamp_ns: int) -> str:
    """Host, slot, pid and time of a worker: never used twice, so that a killed worker's name blocks nobody."""
    return f"{os.uname().nodename.split('.')[0]}-{slot}-{pid}-{stamp_ns // 10**6 % 10**8:08d}"


def pid_of_worker(name: str) -> int | None:
    """The pid in such a name; None when it is none of these."""
    pid = name.split("-")[-2:-1]
    return int(pid[0]) if name.count("-") >= 3 and pid[0].isascii() and pid[0].isdigit() else None
