"""All processes of an attempt, whatever they did to get away: found by descent, and by the id of the job that a
command's processes carry in their environment; measured, signalled, and ended.

`adopt_orphans` makes a process the parent of whatever its descendants leave behind, so that a double fork or `setsid`
leads nowhere. Where the system has neither (macOS), only living descendants are found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

import psutil

from singlepoint.jobs.host.processes import children, lists_children

from .process import prctl

JOB_ID_VARIABLE = "SINGLEPOINT_JOB_ID"

_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.005

WALK_EVERY = 8
"""Looks at the memory of several processes, of which one walks through their pages whatever was seen."""

DOUBTFUL_EVERY = 2
"""The same while they might have more than they may."""


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent ends; False where the system does not offer that."""
    try:
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        return False
    return True


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, itself not; none when it is gone."""
    if not lists_children():
        with contextlib.suppress(psutil.Error, OSError):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    found, unseen = [], [pid]
    while unseen:
        below = children(unseen.pop())
        found += below
        unseen += below
    return found


def living_children(but: Container[int]) -> list[int]:
    """Our children, but for some; of the others those that have ended are reaped and not among them."""
    found = [pid for pid in children(os.getpid()) if pid not in but]
    with contextlib.suppress(ChildProcessError):
        found = [pid for pid in found if not os.waitpid(pid, os.WNOHANG)[0]]
    return found


def carrying(job_id: str) -> list[int]:
    """Every process of ours that has this job's id in its environment, as all that a command starts do."""
    mark = f"{JOB_ID_VARIABLE}={job_id}\0"
    return [pid for pid in psutil.pids() if pid != os.getpid() and _has_in_its_environment(pid, mark)]


def is_of_a_job(pid: int) -> bool:
    """Whether a process carries the id of any job."""
    return _has_in_its_environment(pid, f"{JOB_ID_VARIABLE}=")


def _has_in_its_environment(pid: int, beginning: str) -> bool:
    try:
        return f"\0{beginning}".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False  # somebody else's, or gone


def programs_below(pid: int) -> list[int]:
    """Every process below an attempt's but a fork that has not begun its program yet: what that holds is ours."""
    return [below for below in descendants(pid) if not _is_still_a_copy(below, pid)]


def _is_still_a_copy(pid: int, of: int) -> bool:
    if is_of_a_job(pid):
        return False
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == Path(f"/proc/{of}/cmdline").read_bytes()
    except OSError:
        return False  # gone, and not measured either


class Footprint:
    """The memory of processes that may share some of it, looked at again and again.

    What is shared the kernel only tells by walking through all pages, 7 ms and more for each process with large
    libraries. So that is done for other processes than last time, for more than ever, and every `WALK_EVERY` looks, or
    every `DOUBTFUL_EVERY` while they would have more than they may if they shared nothing; in between, as much is taken
    to be shared as was then.
    """

    def __init__(self) -> None:
        self._pids: Sequence[int] = ()
        self._shared_bytes = self._most_bytes = self._looks = 0

    def look(self, pids: Sequence[int], most_bytes: int = 0) -> int:
        """What they hold together now; see `memory_bytes`. most_bytes: what they may, 0 where nobody asks for that."""
        apart = sum(map(_bytes_apart, pids))
        held = apart - self._shared_bytes
        every = DOUBTFUL_EVERY if 0 < most_bytes < apart else WALK_EVERY
        if pids != self._pids or held > self._most_bytes or self._looks % every == 0:
            held = memory_bytes(pids)
            self._pids, self._shared_bytes = pids, apart - held
        self._most_bytes = max(self._most_bytes, held)
        self._looks += 1
        return held


def memory_bytes(pids: Sequence[int]) -> int:
    """Anonymous and shared memory of these processes together, what they share counted once; not the page cache of
    files they map. What is swapped out counts too."""
    if len(pids) == 1 and not _bytes(pids[0], "status", "RssShmem:"):
        return _bytes_apart(pids[0])  # it shares nothing
    return sum(_bytes(pid, "smaps_rollup", "Pss_Anon:", "Pss_Shmem:", "SwapPss:") for pid in pids)


def _bytes_apart(pid: int) -> int:
    return _bytes(pid, "status", "RssAnon:", "RssShmem:", "VmSwap:")


def _bytes(pid: int, file: str, *names: str) -> int:
    """What the kernel tells of a process under these names, added up."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0  # gone, or not ours
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(names))


def cpu_s(pids: Iterable[int]) -> float:
    """Processor seconds of these processes so far, with their children that ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may hold anything: what follows it is fields of numbers.
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each of these; one that is gone is fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_all(find: Callable[[], list[int]], timeout_s: float = 5.0) -> bool:
    """Kill what `find` finds, which reaps it if it is a child of ours, until it finds nothing; whether in time.

    Stopped first, so that what forks faster than it is killed does not get away.
    """
    deadline = time.monotonic() + timeout_s
    while found := find():
        send(found, signal.SIGSTOP)
        send(found, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
