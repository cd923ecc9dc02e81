"""How an attempt learns that it should stop: a signal (drain) or a line in its job's history (an ask).

The history is looked at by its size, at most every `LOOK_S`; that costs one stat and works while Redis is
away. Nothing is acted on here: the work asks `due()` at its steps and answers by stopping.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from types import FrameType

from singlepoint.jobs.errors import Superseded
from singlepoint.jobs.lifecycle.records import Job, Terms
from singlepoint.jobs.lifecycle.states import Ask
from singlepoint.jobs.store.job_store import JobStore

LOOK_S = 0.05


class Stop(StrEnum):
    """Why an attempt should stop, the most urgent first."""

    CANCEL = "cancel"
    TIME_LIMIT = "time_limit"
    PREEMPT = "preempt"
    PAUSE = "pause"
    DRAIN = "drain"


class StopRequests:
    """What has been asked of the attempt of one job.

    Also carries the attempt's terms, which are read again whenever the history grows. An attempt that was taken
    for dead and replaced (it was stopped, and its lock was lost) learns here that it must not go on.

    look_s: between two looks at the history, at least.
    """

    look_s = LOOK_S

    def __init__(self, store: JobStore, job: Job, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._next_look = clock()
        self._draining = False
        self._ends_s = math.inf
        self._attempt = job.attempt
        self.job = job

    def catch_signals(self) -> None:
        """From now on SIGTERM means: drain. The handler only sets a flag; the next step acts."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.drain()

    def drain(self) -> None:
        """As if SIGTERM had come."""
        self._draining = True

    def limit(self, limit_s: float | None) -> None:
        """From now on the work may take so long (None: as long as it likes), pauses not counted."""
        self._ends_s = math.inf if limit_s is None else self._clock() + limit_s

    @contextlib.contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """What passes in here does not count against the limit."""
        left_s, self._ends_s = self._ends_s - self._clock(), math.inf
        try:
            yield
        finally:
            self._ends_s = self._clock() + left_s

    @property
    def terms(self) -> Terms:
        terms = self.job.terms
        assert terms is not None
        return terms

    def due(self) -> Stop | None:
        """The most urgent request, or None. Cheap enough for every step. Raises Superseded, as `look` does."""
        if self._clock() >= self._next_look:
            self.look()
        if Ask.CANCEL in self.job.asks:
            return Stop.CANCEL
        if self._draining:
            return Stop.DRAIN
        if self._clock() >= self._ends_s:
            return Stop.TIME_LIMIT
        return next((Stop(ask.value) for ask in Ask if ask in self.job.asks), None)

    def look(self) -> None:
        """Read the history now if it has grown. Raises Superseded when this attempt is over, NotFound without job."""
        self._next_look = self._clock() + self.look_s
        if self._store.size(self.job.id) != self.job.size:
            self.job = self._store.load(self.job.id)
        newest = self.job.newest
        if newest is None or newest.number != self._attempt or newest.ended_at is not None:
            raise Superseded(f"attempt {self._attempt} of {self.job.id} is over")
