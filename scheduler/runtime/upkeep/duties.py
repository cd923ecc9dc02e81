"""The duties that nobody waits for, in slices: a pass of the loop gives them a few milliseconds, and then decides.

A duty is a generator that stops after each slice of work. It runs to its end, over as many passes as that takes, and
begins anew some time after; the more it took, the later. What goes wrong in one is told, and stops no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import redis

from singlepoint.jobs.clock import Clock
from singlepoint.jobs.errors import SinglepointError

log = logging.getLogger("singlepoint.scheduler")

SLICE_S = 0.02
"""What a pass gives the duties, all together; one slice may end a little after that."""


@dataclass(frozen=True)
class Pace:
    """When a duty is done; the settings of each are one of these, with what is its own.

    every_s: from an end to the next beginning, at least.  share: of the time it may take.  first_s: from the start of
    the scheduler to the first beginning.
    """

    every_s: float = 30.0
    share: float = 0.01
    first_s: float = 0.0


@dataclass
class Duty:
    """name: for the log.  slices: begins it; each step of the iterator is a slice."""

    name: str
    slices: Callable[[], Iterator[None]]
    pace: Pace = Pace()
    due_at: float = 0.0
    took_s: float = 0.0
    under_way: Iterator[None] | None = field(default=None, repr=False)


_DONE = object()


class Upkeep:
    """The duties of one scheduler, in the order of their importance. monotonic: for telling what they took."""

    def __init__(self, duties: Iterable[Duty], monotonic: Clock) -> None:
        self._duties = {duty.name: duty for duty in duties}
        self._monotonic = monotonic
        for duty in self._duties.values():
            duty.due_at = monotonic() + duty.pace.first_s

    def at_once(self, name: str) -> None:
        """Have a duty begin anew with the next pass, whatever it has done so far."""
        duty = self._duties[name]
        duty.under_way, duty.due_at = None, self._monotonic()

    def run(self) -> bool:
        """One pass's share of work; True when more is left to do now. Raises redis.RedisError, which ends the duty."""
        until = self._monotonic() + SLICE_S
        for duty in self._duties.values():
            while self._is_due(duty):
                if self._monotonic() >= until:
                    return True
                self._step(duty)
        return False

    def _is_due(self, duty: Duty) -> bool:
        return duty.under_way is not None or self._monotonic() >= duty.due_at

    def _step(self, duty: Duty) -> None:
        began = self._monotonic()
        if duty.under_way is None:
            duty.under_way, duty.took_s = duty.slices(), 0.0
        try:
            if next(duty.under_way, _DONE) is not _DONE:
                duty.took_s += self._monotonic() - began
                return
        except redis.RedisError:
            self._end(duty, began)
            raise
        except (SinglepointError, OSError) as error:
            log.warning("duty_failed duty=%s error=%r", duty.name, str(error))
        self._end(duty, began)

    def _end(self, duty: Duty, began: float) -> None:
        ended = self._monotonic()
        duty.took_s += ended - began
        duty.under_way = None
        duty.due_at = ended + max(duty.pace.every_s, duty.took_s / duty.pace.share)
