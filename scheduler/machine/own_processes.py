"""Our own processes: scheduler, supervisor, broker, pool, workers, page; and what they use of the processor.

Those of attempts are none of them: what these use is measured by themselves.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

from singlepoint.jobs.client.entry import read_address
from singlepoint.jobs.host.processes import children, lists_children
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.store.home import Home

_WORKER_DEPTH = 2
"""supervisor -> pool -> worker; what a worker has below it is an attempt."""


@dataclass(frozen=True)
class OwnCpu:
    """Core-seconds so far. own_s: of our own processes that live.  ended_s: of all below them that have ended, attempts
    among them; None where nobody tells."""

    own_s: float = 0.0
    ended_s: float | None = None


def own_cpu(home: Home) -> OwnCpu:
    """As the kernel counts it; the ended are told of where all is below one supervisor, on Linux."""
    own_s = ended_s = 0.0
    for process in own_processes(home):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        own_s += times.user + times.system
        ended_s += times.children_user + times.children_system
    is_told = sys.platform == "linux" and holder(home.lock("supervisor")) is not None
    return OwnCpu(own_s, ended_s if is_told else None)


def own_processes(home: Home) -> Iterator[psutil.Process]:
    """This one, which is the scheduler, and those of the supervisor, where there is one."""
    yield psutil.Process(os.getpid())
    supervisor = holder(home.lock("supervisor"))
    if supervisor is not None:
        yield from _tree(supervisor.pid, _WORKER_DEPTH)


def page_processes(home: Home) -> Iterator[psutil.Process]:
    """The page, and the processes that answer predictions for it, whoever started them."""
    page = read_address(home)
    signed = [page.process if page else None, *map(holder, home.path.glob("serving*.lock"))]
    for process in signed:
        with contextlib.suppress(psutil.Error):
            if process is not None:
                yield psutil.Process(process.pid)


def words_of(process: psutil.Process) -> Sequence[str]:
    """None of one that has just ended: that says nothing of the others."""
    try:
        return process.cmdline()
    except psutil.Error:
        return ()


def _tree(pid: int, depth: int) -> Iterator[psutil.Process]:
    try:
        process = psutil.Process(pid)
        below = _below(process) if depth else []
    except psutil.Error:
        return
    if pid != os.getpid():  # it was counted already
        yield process
    for child in below:
        yield from _tree(child, depth - 1)


def _below(process: psutil.Process) -> list[int]:
    return children(process.pid) if lists_children() else [child.pid for child in process.children()]
