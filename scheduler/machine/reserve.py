"""What our own processes use of the memory budget: scheduler, supervisor, broker and workers, not the attempts.

Measured, with head-room, from a beginning that reckons with the workers to come, and only ever raised as long as
the budget is the same. No work is put down because it was raised: nothing is granted until enough has ended by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import psutil

from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.store.home import Home

STEP_BYTES = 64 * 2**20
"""The reserve is a whole number of these, at least one."""

HEAD_ROOM = 1.25

OURS_BYTES = 112 * 2**20
WORKER_BYTES = 24 * 2**20
"""What our own processes come to once they have worked: those there is one of together, and each worker. Reserved
from the beginning, when the workers have yet to start, so that no job is accepted that will not fit a minute later."""

_WORKER_DEPTH = 2
"""supervisor -> pool -> worker; what a worker has below it is an attempt, whose memory is granted."""


def measured_reserve(home: Home, floor: Resources | None = None, workers: int = 0) -> Resources:
    """The reserve for what runs now, never below `floor`, nor below what so many workers will need.

    workers: those that are registered; as many as the supervisor was told to have are reckoned with in any case.
    """
    used = sum(map(_memory_bytes, _own_processes(home)))
    expected = OURS_BYTES + max(workers, _workers_to_come(home)) * WORKER_BYTES
    steps = -(-max(int(used * HEAD_ROOM), expected) // STEP_BYTES)
    return Resources(memory_bytes=max(floor.memory_bytes if floor else 0, steps * STEP_BYTES))


def own_cpu_s(home: Home) -> float:
    """Core-seconds that our own processes have used since each of them began."""
    return sum(map(_cpu_s, _own_processes(home)))


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _workers_to_come(home: Home) -> int:
    """How many workers the supervisor's pool was started for, by its command line; 0 where there is none."""
    supervisor = holder(home.lock("supervisor"))
    try:
        children = psutil.Process(supervisor.pid).children() if supervisor else []
        return max((_workers_asked_for(child.cmdline()) for child in children), default=0)
    except psutil.Error:
        return 0


def _workers_asked_for(words: Sequence[str]) -> int:
    asked = [count for word, count in pairwise(words) if word == "--workers" and "worker" in words]
    return int(asked[-1]) if asked and asked[-1].isdecimal() else 0


def _own_processes(home: Home) -> Iterator[psutil.Process]:
    yield psutil.Process(os.getpid())
    supervisor = holder(home.lock("supervisor"))
    if supervisor is not None:
        yield from _tree(supervisor.pid, _WORKER_DEPTH)


def _tree(pid: int, depth: int) -> Iterator[psutil.Process]:
    try:
        process = psutil.Process(pid)
        children = process.children() if depth else []
    except psutil.Error:
        return
    if pid != os.getpid():  # it was counted already
        yield process
    for child in children:
        yield from _tree(child.pid, depth - 1)


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
