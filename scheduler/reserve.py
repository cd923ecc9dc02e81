"""What our own processes use of the memory budget: scheduler, supervisor, broker and workers, not the attempts.

Measured, with head-room, and only ever raised while a scheduler runs: a reserve that came and went would
have work put down for a few megabytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import psutil

from jobs.home import Home
from jobs.records import Resources
from jobs.singleton import holder

STEP_BYTES = 64 * 2**20
"""The reserve is a whole number of these, at least one."""

HEAD_ROOM = 1.25

_WORKER_DEPTH = 2
"""supervisor -> pool -> worker; what a worker has below it is an attempt, whose memory is granted."""


def measured_reserve(home: Home, floor: Resources | None = None) -> Resources:
    """The reserve for what runs now, never below `floor`."""
    used = sum(map(_memory_bytes, _own_processes(home)))
    steps = -(-int(used * HEAD_ROOM) // STEP_BYTES)
    least = floor.memory_bytes if floor else STEP_BYTES
    return Resources(memory_bytes=max(least, steps * STEP_BYTES))


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
