"""Which of a home's processes stand still: stopped by a signal (SIGSTOP, Ctrl-Z, a debugger).

Such a process neither works nor dies, so no parent hears of it, and it holds on to its locks. Nobody here wakes one:
whoever stopped it may have had a reason.
"""

from __future__ import annotations

from collections.abc import Iterator

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.store.home import Home

from .capacity import read_capacity
from .processes import is_stopped
from .singleton import holder

SINGLETONS = ("supervisor", "broker", "scheduler")


def remedy(pid: int) -> str:
    """What may be done about a process that stands still."""
    return f"`kill -CONT {pid}` wakes it"


def all_halted(home: Home) -> Iterator[tuple[str, int]]:
    """(what it is, pid) of all that stand still: the singletons, and whatever else lives below the supervisor."""
    import psutil

    singletons = {name: process.pid for name in SINGLETONS if (process := holder(home.lock(name))) is not None}
    yield from ((name, pid) for name, pid in singletons.items() if is_stopped(pid))
    try:
        below = psutil.Process(singletons["supervisor"]).children(recursive=True)
    except (KeyError, psutil.Error):
        return
    yield from (("worker", one.pid) for one in below if one.pid not in singletons.values() and is_stopped(one.pid))


def scheduler_complaint(home: Home) -> str:
    """That the scheduler, which lives, stands still, and what to do; else `""`."""
    try:
        capacity = read_capacity(home)
    except InvalidInput:
        return ""  # a damaged record says nothing; `doctor` tells of it
    if capacity is None or not capacity.is_live() or not is_stopped(capacity.process.pid):
        return ""
    return f"the scheduler stands still: {remedy(capacity.process.pid)}"
