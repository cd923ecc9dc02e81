"""Where attempts are made: what a worker's process has, whichever attempt is in its hands."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.clock import Clock, now
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore

GRACE_S = 30.0


@dataclass(frozen=True)
class Workplace:
    """Where attempts are made: set by the worker process before it forks one.

    index: over a connection that gives up at once, so that Redis being away never delays the work.
    worker: this worker's name, as rq shows it.  grace_s: how long an attempt may take to answer a request to stop
    before it is killed; longer than its longest step.  tell_paused: called by whoever watches an attempt, when it is
    paused and when it goes on.
    """

    home: Home
    store: JobStore
    index: Index
    worker: str
    clock: Clock = now
    monotonic: Callable[[], float] = time.monotonic
    grace_s: float = GRACE_S
    tell_paused: Callable[[bool], None] = lambda _paused: None
