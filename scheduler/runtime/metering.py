"""Measuring U(t): once a second, what there is, what is granted and what is used goes into the home's rings, and what
a job used of what it was granted into its own, once it has run some seconds.

Used is what running attempts tell of themselves, and at their end what they had not told yet, so that over time the
processor seconds are those of the ledger. Our own is all that the kernel counted of our processes and of those below
them that have ended, less what attempts told: so what an attempt's process takes to begin and to end, and what a killed
worker used, is ours and not idle. What nobody measured (the scheduler was away, the machine slept) is in no
slot, neither as capacity nor as use.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

from singlepoint.jobs.lifecycle.flow import Flow, settled, standing, used_since
from singlepoint.jobs.lifecycle.records import Attempt, Sample
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.rings import RINGS_OF_A_JOB, Rings
from singlepoint.scheduler.machine.own_processes import OwnCpu
from singlepoint.scheduler.world.world import World

log = logging.getLogger("singlepoint.scheduler")

EVERY_S = 1.0
OWN_EVERY_S = 10.0
"""How often our own processes are looked for. What they were seen to have used is booked at the next measuring: by then
the end of every attempt is known whose process had gone."""

FIRST_S = 10.0
"""What ends sooner has no rings of its own: its ledger says all there is to say."""

LONGEST_S = 10.0
"""A longer span between two looks was not measured: something stood still."""


class Metering:
    """One world's. own_cpu: what our own processes have used so far, and those below them."""

    def __init__(self, home: Home, world: World, own_cpu: Callable[[], OwnCpu]) -> None:
        self._home = home
        self._rings = Rings(home.utilisation)
        self._world = world
        self._own_cpu = own_cpu
        self._own_seen: OwnCpu | None = None
        self._own_booked_s: float | None = None
        self._ended_s = 0.0  # core-seconds of attempts that have ended
        self._next_own_s = 0.0
        self._last_s: float | None = None
        self._samples: dict[tuple[str, int], Sample] = {}
        self._failed = False

    def measure(self, now: float, monotonic_s: float) -> None:
        """Book what passed since the last time, if that is a second ago. monotonic_s: of a clock that nobody sets."""
        if self._last_s is not None and monotonic_s - self._last_s < EVERY_S:
            return
        seconds = monotonic_s - self._last_s if self._last_s is not None else 0.0
        self._last_s = monotonic_s
        flow = self._ended(now) + self._running(now, seconds) + self._own(monotonic_s)
        if 0 < seconds <= LONGEST_S:
            self._write(now, seconds, flow + standing(self._world.budget, self._world.reserved, seconds))

    def _running(self, now: float, seconds: float) -> Flow:
        flow, present = Flow(), {}
        for job in self._world.holders():
            sample, newest = self._world.sample(job.id), job.newest
            if sample is not None and newest is not None and _is_of(sample, newest):
                key = (job.id, sample.attempt)
                used = used_since(self._samples.get(key), sample, seconds)
                flow, present[key] = flow + used, sample
                if job.terms is not None and now - (newest.started_at or now) >= FIRST_S and seconds <= LONGEST_S:
                    granted = replace(job.terms.resources, counted=())  # it has them all the time
                    self._write_of(job.id, now, used + standing(granted, granted, seconds))
        self._samples = present
        return flow

    def _ended(self, now: float) -> Flow:
        flow = Flow()
        for job_id, attempt in self._world.take_ended():
            last = self._samples.pop((job_id, attempt.number), None)
            rest = settled(attempt, last)
            flow = flow + rest
            self._ended_s += max(attempt.usage.cpu_s if attempt.usage else 0.0, last.cpu_s if last else 0.0)
            if self._home.job_files(job_id).utilisation.is_dir():
                self._write_of(job_id, now, rest)
        return flow

    def _own(self, monotonic_s: float) -> Flow:
        """What was seen of our own at the last measuring, and is not booked yet."""
        seen, self._own_seen = self._own_seen, None
        if monotonic_s >= self._next_own_s:
            self._next_own_s = monotonic_s + OWN_EVERY_S
            self._own_seen = self._own_cpu()
        if seen is None:
            return Flow()
        own_s = seen.own_s if seen.ended_s is None else seen.own_s + seen.ended_s - self._ended_s
        before_s = own_s if self._own_booked_s is None else self._own_booked_s
        self._own_booked_s = max(own_s, before_s)
        return Flow(own_core_s=self._own_booked_s - before_s)

    def _write_of(self, job_id: str, now: float, flow: Flow) -> None:
        with contextlib.suppress(OSError):  # it was removed; or the disk is full, which the home's own rings tell
            Rings(self._home.job_files(job_id).utilisation, RINGS_OF_A_JOB).add(now, flow)

    def _write(self, now: float, seconds: float, flow: Flow) -> None:
        """An idle scheduler looks every few seconds: what passed is spread over them."""
        slots = max(1, round(seconds))
        try:
            for slot in range(slots):
                self._rings.add(now - slot * seconds / slots, flow * (1 / slots))
        except OSError as error:
            if not self._failed:  # once: it is but a figure
                log.warning("utilisation_not_kept error=%r", str(error))
            self._failed = True
        else:
            self._failed = False


def _is_of(sample: Sample, newest: Attempt) -> bool:
    """Whether it tells of an attempt that goes on."""
    return newest.number == sample.attempt and newest.ended_at is None
