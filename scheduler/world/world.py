"""What the scheduler knows: the budget, every unfinished job, and who holds what. No clock, no file, no Redis.

It is told what happened (`see`, `forget`, `lock_seen`, `seen_at`, …) and keeps its indexes true, so that
`policy.decide` looks at the heads of lines and never at all the jobs. It never guesses: a job that may still
be worked on (its lock was not seen free) keeps what it was granted and is not granted anything.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from singlepoint.jobs.lifecycle.records import Job, Resources, Sample
from singlepoint.jobs.lifecycle.retry import LONGEST_BACKOFF_S
from singlepoint.jobs.lifecycle.states import Ask, Author, State

from .line import Key, Line, key
from .reliability import Evidence, Reliability, evidence


class Place(StrEnum):
    """Where an unfinished job stands in the scheduler's eyes; the first that applies."""

    RUNNING = "running"
    RESUMING = "resuming"  # paused, told to go on, needs cores
    QUEUED = "queued"  # dispatched, not claimed
    ENDING = "ending"  # pending, but an earlier attempt may still live
    DOOMED = "doomed"  # what it comes after will never succeed
    HELD = "held"
    AFTER = "after"  # what it comes after has not ended
    DELAYED = "delayed"  # backing off
    OVERSIZED = "oversized"  # asks for more than there is
    READY = "ready"


NOTHING = Resources()


class World:
    """See the module. Times are seconds since the epoch, as told.

    draining: nothing may be granted, and whoever holds something shall hand it back.  outgrown: by how much our
    own reserve grew under work that was granted its room before; that is no reason to put it down.
    """

    def __init__(
        self,
        budget: Resources,
        cores: Iterable[int],
        *,
        reserve: Resources = NOTHING,
        outgrown: Resources = NOTHING,
        boot_id: str = "",
    ) -> None:
        self.budget, self.reserve, self.cores = budget, reserve, tuple(cores)
        self.room = budget - reserve
        """What jobs may have, all together."""
        self.outgrown = outgrown
        self.boot_id = boot_id
        self.draining = False
        self.now = 0.0
        self.lines: Mapping[Place, Line] = {place: Line() for place in Place}
        self._jobs: dict[str, Job] = {}
        self._outcomes: dict[str, State | None] = {}  # of finished jobs; None: removed before it finished
        self._sizes: dict[str, int] = {}  # bytes of history of every job seen
        self._places: dict[str, tuple[Place, Key]] = {}
        self._grants: dict[str, tuple[Resources, tuple[int, ...]]] = {}
        self._reserved = NOTHING
        self._locks: dict[str, bool] = {}
        self._samples: dict[str, Sample] = {}
        self._missing: set[str] = set()
        self._dependents: dict[str, set[str]] = {}
        self._alarms: list[tuple[float, str]] = []
        self._evidence: dict[str, Evidence] = {}
        self._known = Evidence()

    # --- what happened -----------------------------------------------------------------------------------

    def see(self, job: Job) -> None:
        """A job as its history tells it now. Seeing the same again changes nothing."""
        before = self._jobs.get(job.id)
        self._learn(job)
        self._sizes[job.id] = job.size
        self._missing.discard(job.id)
        if job.is_final:
            self._drop(job.id)
            self._outcomes[job.id] = job.state
            self._file_dependents(job.id)
            return
        self._outcomes.pop(job.id, None)
        if _is_news_of_its_lock(before, job):
            self._locks.pop(job.id, None)  # what was seen before it was claimed says nothing of this attempt
        self._jobs[job.id] = job
        for other in job.after:
            self._dependents.setdefault(other, set()).add(job.id)
        self._file(job)

    def forget(self, job_id: str) -> None:
        """The job was removed. Those that come after it never start, unless it had succeeded."""
        self._drop(job_id)
        self._sizes.pop(job_id, None)
        self._outcomes.setdefault(job_id, None)
        self._file_dependents(job_id)

    def lose_sight(self, job_id: str) -> None:
        """Its history cannot be read: it stands still, and so do those that come after it, until it is seen again."""
        self._drop(job_id)
        self._sizes.pop(job_id, None)

    def lock_seen(self, job_id: str, held: bool) -> None:
        """The kernel lock on a job's directory was tried."""
        if job_id in self._jobs and self._locks.get(job_id) is not held:
            self._locks[job_id] = held
            self._file(self._jobs[job_id])

    def sampled(self, samples: Mapping[str, Sample]) -> None:
        """What running attempts tell of themselves. Those of attempts that are not the newest say nothing any more."""
        self._samples = {
            job_id: sample
            for job_id, sample in samples.items()
            if (job := self._jobs.get(job_id)) is not None and job.attempt == sample.attempt
        }

    def missing(self, job_id: str) -> None:
        """A queued job's rq id was found in no queue, and nobody holds its lock."""
        if self.place(job_id) is Place.QUEUED:
            self._missing.add(job_id)

    def pushed(self, job_id: str) -> None:
        """It was put into the run queue (again)."""
        self._missing.discard(job_id)

    def seen_at(self, now: float) -> World:
        """It is `now`. Jobs that backed off long enough step into line."""
        self.now, before = now, self.now
        if now < before:  # the clock was set back: the alarms stand at times that are too far away
            for job_id in list(self.lines[Place.DELAYED]):
                self._file(self._jobs[job_id])
        while self._alarms and self._alarms[0][0] <= now:
            _, job_id = heapq.heappop(self._alarms)
            if self.place(job_id) is Place.DELAYED:
                self._file(self._jobs[job_id])
        return self

    def budget_changed(self, budget: Resources, reserve: Resources, cores: Iterable[int] | None = None) -> None:
        """C_max or our own needs changed: every waiting job is looked at again, the one time that is needed."""
        was_lowered = not self.budget.fits_in(budget)
        self.outgrown = NOTHING if was_lowered else _what_is_above_nothing(self.outgrown + reserve - self.reserve)
        self.budget, self.reserve, self.room = budget, reserve, budget - reserve
        self.cores = self.cores if cores is None else tuple(cores)
        for place in (Place.OVERSIZED, Place.READY):
            for job_id in list(self.lines[place]):
                self._file(self._jobs[job_id])

    # --- questions ---------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job | None:
        """An unfinished job."""
        return self._jobs.get(job_id)

    def place(self, job_id: str) -> Place | None:
        """Where it stands; None when it is finished or unknown."""
        found = self._places.get(job_id)
        return found[0] if found else None

    def outcome(self, job_id: str) -> State | None:
        """How a job ended, if it did."""
        return self._outcomes.get(job_id)

    def knows(self, job_id: str) -> bool:
        return job_id in self._jobs or job_id in self._outcomes

    def size(self, job_id: str) -> int | None:
        """Bytes of history that were seen of a job."""
        return self._sizes.get(job_id)

    def ids(self) -> Iterator[str]:
        """Every job on disk, as far as seen."""
        return iter(self._sizes)

    def standing(self, place: Place) -> Iterator[Job]:
        """The jobs of a place, first in line first."""
        return (self._jobs[job_id] for job_id in self.lines[place])

    @property
    def reserved(self) -> Resources:
        """C(t): all that is granted now."""
        return self._reserved

    @property
    def free(self) -> Resources:
        """What may still be granted; negative when the budget was lowered."""
        return self.room - self._reserved

    def free_cores(self) -> list[int]:
        taken = {core for _, cores in self._grants.values() for core in cores}
        return [core for core in self.cores if core not in taken]

    def holders(self) -> Iterator[Job]:
        """The jobs that hold a grant."""
        return (self._jobs[job_id] for job_id in self._grants)

    def granted(self, job_id: str) -> Resources:
        return self._grants[job_id][0] if job_id in self._grants else NOTHING

    def sample(self, job_id: str) -> Sample | None:
        """What the running attempt of a job last told; None before it told anything."""
        return self._samples.get(job_id)

    def may_live(self, job_id: str) -> bool:
        """Whether its lock may be held: it was seen so, or nobody has looked."""
        return self._locks.get(job_id, True)

    def unprobed(self) -> Iterator[str]:
        """Jobs whose lock has to be tried before anything is granted: nobody has looked."""
        running = (job_id for place in (Place.RUNNING, Place.RESUMING) for job_id in self.lines[place])
        return (job_id for job_id in (*running, *self.lines[Place.ENDING]) if job_id not in self._locks)

    def missing_jobs(self) -> Iterator[Job]:
        """Queued jobs that no queue has."""
        return (self._jobs[job_id] for job_id in sorted(self._missing))

    def doom(self, job: Job) -> str | None:
        """Which of the jobs it comes after ended without success, or was removed."""
        return next((o for o in job.after if o in self._outcomes and self._outcomes[o] is not State.SUCCEEDED), None)

    def next_alarm(self) -> float | None:
        """When the next job will have backed off long enough (perhaps; it may have been cancelled)."""
        return self._alarms[0][0] if self._alarms else None

    @property
    def reliability(self) -> Reliability:
        """What is known of λ now, with the time the running attempts have survived so far."""
        started = [
            job.newest.started_at for job in self.standing(Place.RUNNING) if job.newest and job.newest.started_at
        ]
        survived_ms = sum(max(0, round(1000 * (self.now - at))) for at in started)
        return Reliability(self._known + Evidence(exposure_ms=survived_ms))

    def need(self, job: Job) -> Resources:
        """What a dispatch of the job takes: whole cores, and a request that grew by itself at most all there is."""
        asked = job.requests
        cores = max(1, -(-asked.cpu_millis // 1000))
        memory_bytes = asked.memory_bytes
        if any(attempt.end == "out_of_memory" for attempt in job.attempts):
            memory_bytes = min(memory_bytes, self.room.memory_bytes)
        return Resources(1000 * cores, memory_bytes, asked.storage_bytes, asked.network_bytes_s)

    # --- keeping the indexes true ------------------------------------------------------------------------

    def _learn(self, job: Job) -> None:
        new = evidence(job)
        old = self._evidence.get(job.id, Evidence())
        if new != old:
            self._known = self._known - old + new
            self._evidence[job.id] = new

    def _drop(self, job_id: str) -> None:
        job = self._jobs.pop(job_id, None)
        self._leave(job_id)
        self._locks.pop(job_id, None)
        self._samples.pop(job_id, None)
        self._missing.discard(job_id)
        for other in job.after if job else ():
            dependents = self._dependents.get(other, set())
            dependents.discard(job_id)
            if not dependents:
                self._dependents.pop(other, None)

    def _leave(self, job_id: str) -> None:
        if job_id in self._places:
            place, one = self._places.pop(job_id)
            self.lines[place].remove(one)
        if job_id in self._grants:
            resources, _ = self._grants.pop(job_id)
            self._reserved = self._reserved - resources

    def _file(self, job: Job) -> None:
        """Put a job where it belongs, and book what it holds."""
        self._leave(job.id)
        place, one = self._place_of(job), key(job)
        self._places[job.id] = (place, one)
        self.lines[place].add(one)
        if place is Place.DELAYED:
            heapq.heappush(self._alarms, (job.not_before, job.id))
        if place in _HOLDING and job.terms is not None:
            self._grants[job.id] = (job.terms.resources, job.terms.cores)
            self._reserved = self._reserved + job.terms.resources

    def _file_dependents(self, job_id: str) -> None:
        for dependent in sorted(self._dependents.get(job_id, ())):
            self._file(self._jobs[dependent])

    def _place_of(self, job: Job) -> Place:
        if job.state is State.RUNNING:
            by_user = job.is_asked(Ask.PAUSE, Author.USER)
            wants_cores = job.paused and not by_user and job.terms is not None and not job.terms.cores
            return Place.RESUMING if wants_cores else Place.RUNNING
        if job.state is State.QUEUED:
            return Place.QUEUED
        if job.attempts and self.may_live(job.id):
            return Place.ENDING
        waits_for = self._waits_for(job)
        if waits_for is Place.DOOMED:
            return Place.DOOMED
        if job.held:
            return Place.HELD
        if waits_for is Place.AFTER:
            return Place.AFTER
        if self.now < job.not_before <= self.now + LONGEST_BACKOFF_S:  # later: the clock was set back since
            return Place.DELAYED
        return Place.READY if self.need(job).fits_in(self.room) else Place.OVERSIZED

    def _waits_for(self, job: Job) -> Place | None:
        """AFTER or DOOMED by the jobs it comes after; a job that ran once has waited for them already."""
        if job.attempts:
            return None
        if self.doom(job) is not None:
            return Place.DOOMED
        return Place.AFTER if any(other not in self._outcomes for other in job.after) else None


def _what_is_above_nothing(amounts: Resources) -> Resources:
    return Resources(*(max(0, amount) for amount in amounts.amounts()))


def _is_news_of_its_lock(before: Job | None, job: Job) -> bool:
    """Whether somebody may have taken the job's lock since it was last tried."""
    if job.state is State.PENDING:
        return before is not None and before.state is State.QUEUED  # claimed and lost again, between two looks
    begun = before is None or before.state is not State.RUNNING or before.attempt != job.attempt
    return job.state is State.RUNNING and begun


_HOLDING = frozenset({Place.RUNNING, Place.RESUMING, Place.QUEUED, Place.ENDING})
