"""What the operating system offers to keep processes together: death signals, descriptors of processes, groups,
and the memory they use. Each function says what it does where the system lacks the means. Who a process is:
`jobs.host.processes`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import signal
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def usable_cores() -> int:
    """On how many cores this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def prctl(option: int, value: int) -> None:
    """Linux prctl(2); raises OSError where it fails or does not exist."""
    if not sys.platform.startswith("linux"):
        raise OSError("prctl exists on Linux only")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends; call it first in a child.

    parent_pid: the parent's pid, noted before the fork. If the parent is dead already, this process ends.
    Where prctl is missing (macOS) only the latter holds: a child may outlive its parent there.
    """
    with contextlib.suppress(OSError):
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def wait_for_exit(pid: int, timeout_s: float) -> bool:
    """Whether the process `pid`, a child of ours, ends within `timeout_s`. It is left to be reaped."""
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(pid)
            try:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                return bool(poll.poll(timeout_s * 1000))
            finally:
                os.close(descriptor)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
            time.sleep(0.01)
        return False
    return True


def kill_group(pgid: int, sig: signal.Signals = signal.SIGKILL) -> None:
    """Signal a process group; one that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, sig)


def resident_bytes(pid: int) -> int | None:
    """Anonymous and shared memory of a process (not the page cache it maps); None if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    wanted = ("RssAnon:", "RssShmem:")
    return sum(int(text.split()[1]) * 1024 for text in lines if text.startswith(wanted))


def private_bytes(pid: int) -> int:
    """Memory that this process alone has, without what it shares with the one it was forked from; all of it where
    the system does not tell (Linux does), 0 if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return resident_bytes(pid) or 0
    return next((int(text.split()[1]) * 1024 for text in lines if text.startswith("Private_Dirty:")), 0)


def oom_kills() -> int:
    """How many processes of our control group the kernel has killed for want of memory; 0 where it does not tell."""
    return max(map(killed_by_kernel, _memory_events()), default=0)


def killed_by_kernel(events: str | Path) -> int:
    """What a file of a control group counts of that; 0 where there is none."""
    with contextlib.suppress(OSError):
        lines = Path(events).read_text().splitlines()
        return next((int(text.split()[1]) for text in lines if text.startswith("oom_kill ")), 0)
    return 0


@functools.cache
def _memory_events() -> tuple[str, ...]:
    """Where the kernel may count them, by the second version of control groups and by the first."""
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return ()
    second = [f"/sys/fs/cgroup{path}/memory.events" for number, _, path in groups if number == "0"]
    first = [f"/sys/fs/cgroup/memory{path}/memory.oom_control" for _, what, path in groups if what == "memory"]
    return (*second, *first)


def data_bytes() -> int:
    """This process's VmData: what RLIMIT_DATA counts. Zero where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(text.split()[1]) * 1024 for text in lines if text.startswith("VmData:")), 0)
