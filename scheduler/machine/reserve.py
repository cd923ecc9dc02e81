"""What our own processes use of the memory budget: scheduler, supervisor, broker and workers, not the attempts; and, a
part of its own, the page with the processes that answer predictions.

Measured, with head-room. The first part begins by reckoning with the workers to come, and is only ever raised as long
as the budget is the same; the page's goes up and down with the models it holds. No work is put down because a part was
raised: nothing is granted until enough has ended by itself. A page in another container has that one's memory, and is
not seen here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import psutil

from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.store.home import Home

from .own_processes import own_processes, page_processes, words_of

STEP_BYTES = 64 * 2**20
"""The reserve is a whole number of these, at least one."""

HEAD_ROOM = 1.25

OURS_BYTES = 112 * 2**20
WORKER_BYTES = 24 * 2**20
"""What our own processes come to once they have worked: those there is one of together, and each worker. Reserved
from the beginning, when the workers have yet to start, so that no job is accepted that will not fit a minute later."""


def measured_reserve(home: Home, floor: Resources | None = None, workers: int = 0) -> Resources:
    """The reserve for what runs now, never below `floor`, nor below what so many workers will need.

    workers: those that are registered; as many as the supervisor was told to have are reckoned with in any case.
    """
    page = {process.pid for process in page_processes(home)}
    ours = [process for process in own_processes(home) if process.pid not in page]
    used = sum(map(_memory_bytes, ours))
    expected = OURS_BYTES + max(workers, _workers_to_come(ours)) * WORKER_BYTES
    steps = _steps(max(used * HEAD_ROOM, expected))
    return Resources(memory_bytes=max(floor.memory_bytes if floor else 0, steps * STEP_BYTES))


def page_reserve(home: Home, before: Resources) -> Resources:
    """The page's part, which was `before`: nothing where none is served; lowered by two steps at least, so that it does
    not go to and fro."""
    used = sum(map(_memory_bytes, page_processes(home)))
    wanted, had = _steps(used * HEAD_ROOM), before.memory_bytes // STEP_BYTES
    return Resources(memory_bytes=STEP_BYTES * (had if 0 < wanted == had - 1 else wanted))


def _steps(memory_bytes: float) -> int:
    return -(-int(memory_bytes) // STEP_BYTES)


def _workers_to_come(ours: Iterable[psutil.Process]) -> int:
    """How many workers the pool was started for, by its command line; 0 where there is none."""
    return max((_workers_asked_for(words_of(process)) for process in ours), default=0)


def _workers_asked_for(words: Sequence[str]) -> int:
    asked = [count for word, count in pairwise(words) if word == "--workers" and "worker" in words]
    return int(asked[-1]) if asked and asked[-1].isdecimal() else 0


def _memory_bytes(process: psutil.Process) -> int:
    """Its share of the memory (forked workers share much of theirs), else what is resident; 0 when it is gone."""
    measures: tuple[Callable[[], int], ...] = (
        lambda: int(process.memory_full_info().pss),
        lambda: int(process.memory_info().rss),
    )
    for measure in measures:
        try:
            return measure()
        except (psutil.Error, AttributeError):
            continue
    return 0
