"""What the scheduler knows: the budget, every unfinished job, and who holds what. No clock, no file, no Redis.

It is told what happened (`see`, `forget`, `lock_seen`, `seen_at`, …) and keeps its indexes true, so that
`policy.decide` looks at the heads of lines and never at all the jobs. It never guesses: a job that may still
be worked on (its lock was not seen free) keeps what it was granted and is not granted anything.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from singlepoint.jobs.lifecycle.interval import UNMEASURED_SAVE_S, checkpoint_interval_s
from singlepoint.jobs.lifecycle.ledger import Entry
from singlepoint.jobs.lifecycle.records import Attempt, Job, Resources, Sample, Terms, granted_of
from singlepoint.jobs.lifecycle.retry import LONGEST_BACKOFF_S
from singlepoint.jobs.lifecycle.states import Ask, Author, State

from .books import Books, Ranking, by_arrival
from .experience import Estimate, Experience, by_progress, what_is_left
from .line import Key, Line, key
from .reliability import Evidence, Reliability, evidence
from .tasks import NOTHING, Holding, Task


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


RESTART_S = 0.5
"""What taking work up again costs besides the save: a process starts, and reads its checkpoint and its data."""

NEWS = 0.1
"""By which share an expectation must change to be worth a new place."""

LEAVING_S = 5.0
"""Within this the process above an attempt has noticed that its job was removed, and ended it."""


class World:
    """See the module. Times are seconds since the epoch, as told.

    draining: nothing may be granted, and whoever holds something shall hand it back.  outgrown: by how much our
    own reserve grew under work that was granted its room before; that is no reason to put it down.  keeps_outcomes:
    how every job ended is remembered; where it can be looked up, only that of jobs that others come after is.
    """

    def __init__(
        self,
        budget: Resources,
        cores: Iterable[int],
        *,
        reserve: Resources = NOTHING,
        outgrown: Resources = NOTHING,
        boot_id: str = "",
        ranking: Ranking = by_arrival,
        keeps_outcomes: bool = True,
    ) -> None:
        self.budget, self.reserve, self.cores = budget, reserve, tuple(cores)
        self.room = budget - reserve
        """What jobs may have, all together."""
        self.outgrown = outgrown
        self.boot_id = boot_id
        self._keeps_outcomes = keeps_outcomes
        self.draining = False
        self.now = 0.0
        self.lines: Mapping[Place, Line] = {place: Line() for place in Place}
        self._jobs: dict[str, Job] = {}
        self._outcomes: dict[str, State | None] = {}  # of finished jobs that others come after; None: removed before
        self._sizes: dict[str, int] = {}  # bytes of history of every unfinished job
        self._places: dict[str, tuple[Place, Key]] = {}
        self.books = Books(self.room, self.cores, ranking)
        self._removed: list[tuple[float, Holding]] = []  # what jobs held that were removed, and when that was seen
        self._since: dict[str, float] = {}  # from when on the waiting of a job counts; infinity while it stands aside
        self._locks: dict[str, bool] = {}
        self._samples: dict[str, Sample] = {}
        self._left: dict[str, tuple[float, Estimate]] = {}  # by progress: as of when, and what was left then
        self.experience = Experience()
        self._ended: list[tuple[str, Attempt]] = []
        self._missing: set[str] = set()
        self._unprobed: set[str] = set()
        self._dead: set[str] = set()
        self._dependents: dict[str, set[str]] = {}
        self._alarms: list[tuple[float, str]] = []
        self._evidence: dict[str, Evidence] = {}  # of each unfinished job
        self._going_on = Evidence()  # all of that
        self._taught = Evidence()  # by those that have ended
        self._reliability: Reliability | None = None

    # --- what happened -----------------------------------------------------------------------------------

    def see(self, job: Job) -> None:
        """A job as its history tells it now. Seeing the same again changes nothing."""
        before = self._jobs.get(job.id)
        self._ended += [(job.id, attempt) for attempt in _ended_since(before, job)]
        self._missing.discard(job.id)
        if job.is_final:
            if before is not None:  # else it had ended before we looked, and the ledger has told of it
                self._expect_anew(self.experience.learn([Entry.of(job)]))
            self._end(job)
            return
        self._learn(job.id, evidence(job))
        self._sizes[job.id] = job.size
        goes_round_again = self._outcomes.pop(job.id, None) is not None
        if _is_news_of_its_lock(before, job):
            self._locks.pop(job.id, None)  # what was seen before it was claimed says nothing of this attempt
        self._jobs[job.id] = job
        for one in job.after:
            self._dependents.setdefault(one.job, set()).add(job.id)
        self._file(job)
        if goes_round_again:
            self._file_dependents(job.id)

    def _end(self, job: Job) -> None:
        """It has ended; from here on nothing is held of it, but what those that come after it wait to know."""
        if job.id in self._jobs:  # else it ended before it was first seen: the ledger has what it taught
            self._taught = self._taught + evidence(job)
        self._learn(job.id, Evidence())
        self._drop(job.id)
        self._sizes.pop(job.id, None)
        if self._keeps_outcomes or job.id in self._dependents:
            self._outcomes[job.id] = job.state
        self._file_dependents(job.id)

    def taught_by_ended(self) -> Evidence:
        """What the jobs taught that have ended, as far as known; see `learned`."""
        return self._taught

    def learned(self, ended: Evidence, before: Evidence) -> None:
        """The ledger was added up. ended: what it says.  before: `taught_by_ended` when that was begun."""
        self._taught = ended + (self._taught - before)
        self._reliability = None

    def forget(self, job_id: str, had_ended: State | None = None) -> None:
        """The job was removed. had_ended: in which way before that, None where nobody knows: those that come after it
        may start by that, or never.

        What it was granted stays taken until whoever held it must have ended: its lock is gone, and cannot be tried.
        """
        held = self.books.holding(job_id)
        self._drop(job_id)
        if held is not None:
            self.books.take(held.granted, held.cores)
            self._removed.append((self.now, held))
        self._sizes.pop(job_id, None)
        if self._keeps_outcomes or job_id in self._dependents:
            self._outcomes.setdefault(job_id, had_ended)
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
        for job_id, sample in self._samples.items():
            estimate = by_progress(sample)
            if estimate is not None:
                self._left[job_id] = (sample.at, estimate)
                self._expect(self._jobs[job_id])

    def take_ended(self) -> list[tuple[str, Attempt]]:
        """The attempts that were seen to end since the last time this was asked, each with its job."""
        ended, self._ended = self._ended, []
        return ended

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
        self._reliability = None
        if now < before:  # the clock was set back: the alarms stand at times that are too far away
            for job_id in list(self.lines[Place.DELAYED]):
                self._file(self._jobs[job_id])
        while self._alarms and self._alarms[0][0] <= now:
            _, job_id = heapq.heappop(self._alarms)
            if self.place(job_id) is Place.DELAYED:
                self._file(self._jobs[job_id])
        for one in [one for one in self._removed if not 0 <= now - one[0] < LEAVING_S]:
            self._removed.remove(one)
            self.books.give_back(one[1].granted, one[1].cores)
        self.books.seen_at(now)
        return self

    def budget_changed(self, budget: Resources, reserve: Resources, cores: Iterable[int] | None = None) -> None:
        """C_max or our own needs changed: every waiting job is looked at again, the one time that is needed."""
        was_lowered = not self.budget.fits_in(budget)
        self.outgrown = NOTHING if was_lowered else _what_is_above_nothing(self.outgrown + reserve - self.reserve)
        self.budget, self.reserve, self.room = budget, reserve, budget - reserve
        self.cores = self.cores if cores is None else tuple(cores)
        self.books.resize(self.room, self.cores)
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
        """Bytes of history that were seen of an unfinished job."""
        return self._sizes.get(job_id)

    def ids(self) -> Iterator[str]:
        """Every unfinished job, as far as seen."""
        return iter(self._sizes)

    def standing(self, place: Place) -> Iterator[Job]:
        """The jobs of a place, first in line first."""
        return (self._jobs[job_id] for job_id in self.lines[place])

    @property
    def reserved(self) -> Resources:
        """C(t): all that is granted now."""
        return self.room - self.books.free

    @property
    def free(self) -> Resources:
        """What may still be granted; negative when the budget was lowered."""
        return self.books.free

    @property
    def excess(self) -> Resources:
        """What is granted beyond a budget that was lowered, less what leaves already; nothing negative. That our own
        reserve grew is no excess: then nothing is granted until some work has ended by itself."""
        return _what_is_above_nothing(NOTHING - self.free - self.books.leaving - self.outgrown)

    def holders(self) -> Iterator[Job]:
        """The jobs that hold a grant."""
        return (self._jobs[holding.task.id] for holding in self.books.holders())

    def granted(self, job_id: str) -> Resources:
        holding = self.books.holding(job_id)
        return holding.granted if holding else NOTHING

    def sample(self, job_id: str) -> Sample | None:
        """What the running attempt of a job last told; None before it told anything."""
        return self._samples.get(job_id)

    def remaining(self, job_id: str) -> Estimate | None:
        """Seconds that a job should still run, from now on: by its progress, else by what like jobs took."""
        job = self._jobs[job_id]
        newest = job.newest
        running_s = self.now - newest.started_at if newest and newest.started_at and not newest.ended_at else 0.0
        if job_id in self._left:
            at, left = self._left[job_id]
            return what_is_left(left, min(self.now - at, running_s) if running_s else 0.0)
        whole = self.experience.run_time(job.like)
        return None if whole is None else what_is_left(whole, _served_s(job) + running_s)

    def may_live(self, job_id: str) -> bool:
        """Whether its lock may be held: it was seen so, or nobody has looked."""
        return self._locks.get(job_id, True)

    def unprobed(self) -> Iterator[str]:
        """Jobs whose lock has to be tried before anything is granted: nobody has looked."""
        return iter(sorted(self._unprobed))

    def dead(self) -> Iterator[tuple[Job, str, str]]:
        """Running attempts whose lock is free, whatever their process looks like, with their end and its cause."""
        for job_id in sorted(self._dead):
            attempt = self._jobs[job_id].attempts[-1]
            restarted = attempt.boot_id and self.boot_id and attempt.boot_id != self.boot_id
            yield self._jobs[job_id], *(_RESTARTED if restarted else _KILLED)

    def doomed(self) -> Iterator[tuple[Job, str]]:
        """Jobs that can never start, with the reason."""
        for job in self.standing(Place.DOOMED):
            yield job, f"comes after {self.doom(job)}"

    def is_needed(self, job_id: str) -> bool:
        """Whether an unfinished job comes after it."""
        return job_id in self._dependents

    def missing_jobs(self) -> Iterator[Job]:
        """Queued jobs that no queue has."""
        return (self._jobs[job_id] for job_id in sorted(self._missing))

    def doom(self, job: Job) -> str | None:
        """Which of the jobs it comes after keeps it from ever starting, and why."""
        ended = ((one, self._outcomes[one.job]) for one in job.after if one.job in self._outcomes)
        told = ((one.job, one.never(outcome)) for one, outcome in ended)
        return next((f"{other}, which {why}" for other, why in told if why is not None), None)

    def terms(self, task: Task, cores: tuple[int, ...]) -> Terms:
        """What an attempt of a waiting task is granted; a paused one gets cores besides what it has."""
        job = self._jobs[task.id]
        if task.paused:
            old = job.attempts[-1].terms
            return replace(old, resources=old.resources + task.need, cores=cores, revision=old.revision + 1)
        rate_per_s = self.reliability.overall.rate_per_s
        interval_s = checkpoint_interval_s(save_s(job), rate_per_s)
        return Terms(task.need, cores, checkpoint_interval_s=round(interval_s, 3), failure_rate_per_s=rate_per_s)

    def next_alarm(self) -> float | None:
        """When the next job will have backed off long enough (perhaps; it may have been cancelled)."""
        return self._alarms[0][0] if self._alarms else None

    @property
    def reliability(self) -> Reliability:
        """What is known of λ now, with the time the running attempts have survived so far; reckoned once a moment."""
        if self._reliability is None:
            self._reliability = self._reckoned()
        return self._reliability

    def _reckoned(self) -> Reliability:
        started = [
            job.newest.started_at for job in self.standing(Place.RUNNING) if job.newest and job.newest.started_at
        ]
        survived_ms = sum(max(0, round(1000 * (self.now - at))) for at in started)
        return Reliability(self._taught + self._going_on + Evidence(exposure_ms=survived_ms))

    def need(self, job: Job) -> Resources:
        """What a dispatch of the job takes: whole cores, and a request that grew by itself at most all there is."""
        return granted_of(job.requests, job.has_grown, self.room)

    # --- keeping the indexes true ------------------------------------------------------------------------

    def _learn(self, job_id: str, new: Evidence) -> None:
        old = self._evidence.pop(job_id, Evidence())
        if new != Evidence():
            self._evidence[job_id] = new
        if new != old:
            self._going_on = self._going_on - old + new
            self._reliability = None

    def _drop(self, job_id: str) -> None:
        job = self._jobs.pop(job_id, None)
        self._leave(job_id)
        self._locks.pop(job_id, None)
        self._samples.pop(job_id, None)
        self._since.pop(job_id, None)
        self._left.pop(job_id, None)
        self._missing.discard(job_id)
        for other in {one.job for one in job.after} if job else ():
            dependents = self._dependents.get(other, set())
            dependents.discard(job_id)
            if not dependents:
                self._dependents.pop(other, None)
                if not self._keeps_outcomes:
                    self._outcomes.pop(other, None)

    def _leave(self, job_id: str) -> None:
        if job_id in self._places:
            place, one = self._places.pop(job_id)
            self.lines[place].remove(one)
        self.books.stop_waiting(job_id)
        self.books.let_go(job_id)
        self._unprobed.discard(job_id)
        self._dead.discard(job_id)

    def _file(self, job: Job) -> None:
        """Put a job where it belongs, and book what it holds and wants."""
        self._leave(job.id)
        place, one = self._place_of(job), key(job)
        self._places[job.id] = (place, one)
        self.lines[place].add(one)
        if place is Place.DELAYED:
            heapq.heappush(self._alarms, (job.not_before, job.id))
        if place in _LOCKED:
            if job.id not in self._locks:
                self._unprobed.add(job.id)
            elif not self._locks[job.id] and place is not Place.ENDING:
                self._dead.add(job.id)
        if place in _WAITING or place in _HOLDING:
            task = self._task(job, place)
            if place in _WAITING and task.need.fits_in(self.room):
                self.books.wait(task)
            if place in _HOLDING and job.terms is not None:
                self.books.hold(self._holding(job, task, job.terms))
        else:
            self._since[job.id] = math.inf

    def _task(self, job: Job, place: Place) -> Task:
        need = self.need(job)
        served_s, left = _served_s(job), self.remaining(job.id)
        if self._since.setdefault(job.id, job.submitted_at) == math.inf:
            self._since[job.id] = self.now - served_s
        return Task(
            id=job.id,
            need=Resources(cpu_millis=need.cpu_millis) if place is Place.RESUMING else need,
            submitted_at=job.submitted_at,
            since=self._since[job.id],
            attempt=job.attempt,
            priority=job.priority,
            served_s=served_s,
            expected_s=None if left is None else self._stint_s(job) + left.median_s,
            longest_s=math.inf if left is None else self._stint_s(job) + left.high_s,
            switch_s=save_s(job) + RESTART_S,
            pauses=place is Place.RUNNING,
            paused=place is Place.RESUMING,
        )

    def _stint_s(self, job: Job) -> float:
        """Seconds since its attempt began, of one that runs: what it holds is reckoned from there."""
        newest = job.newest
        running = newest is not None and newest.ended_at is None and job.state is not State.PENDING and not job.paused
        return newest.worked_s(self.now) if running and newest else 0.0

    def _expect_anew(self, likenesses: set[str]) -> None:
        """Those that wait and are like jobs of which more is known now stand by that, all of them."""
        if likenesses:
            for job in [one for one in self.standing(Place.READY) if one.like in likenesses]:
                self.books.wait(self._task(job, Place.READY))

    def _expect(self, job: Job) -> None:
        """Book a running job anew when its progress says something else than what it was booked with."""
        held = self.books.holding(job.id)
        if held is None or self.place(job.id) is not Place.RUNNING or job.terms is None:
            return
        task, known_s = self._task(job, Place.RUNNING), held.task.expected_s
        if known_s is None or abs(known_s - (task.expected_s or 0.0)) > NEWS * known_s:
            self.books.hold(self._holding(job, task, job.terms))

    @staticmethod
    def _holding(job: Job, task: Task, terms: Terms) -> Holding:
        newest = job.attempts[-1]
        return Holding(
            task=task,
            granted=terms.resources,
            cores=terms.cores,
            since=(newest.started_at or newest.dispatched_at) + newest.paused_s,
            begun=job.state is not State.QUEUED,
            leaving=_leaving(job, terms.resources),
        )

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
        return Place.AFTER if any(one.job not in self._outcomes for one in job.after) else None


def _what_is_above_nothing(amounts: Resources) -> Resources:
    return Resources(*(max(0, amount) for amount in amounts.amounts()))


def _ended_since(before: Job | None, job: Job) -> Iterator[Attempt]:
    """Those that went on when the job was last seen, and the newer ones, if they have ended by now."""
    if before is None:
        return  # what ended before anybody looked belongs to a time that nobody measured
    known = before.attempt - 1 if before.newest is not None and before.newest.ended_at is None else before.attempt
    newer = job.attempts[len(job.attempts) - max(0, job.attempt - known) :]
    yield from (attempt for attempt in newer if attempt.ended_at is not None)


def _is_news_of_its_lock(before: Job | None, job: Job) -> bool:
    """Whether somebody may have taken the job's lock since it was last tried."""
    if job.state is State.PENDING:
        return before is not None and before.state is State.QUEUED  # claimed and lost again, between two looks
    begun = before is None or before.state is not State.RUNNING or before.attempt != job.attempt
    return job.state is State.RUNNING and begun


def _served_s(job: Job) -> float:
    """Seconds it ran before this stint: in attempts that have ended, and in one that stands still."""
    at_rest = (a for a in job.attempts if a.ended_at is not None or a.paused_at is not None)
    return sum(a.worked_s(a.ended_at or a.paused_at or 0.0) for a in at_rest)


def _leaving(job: Job, granted: Resources) -> Resources:
    """What of its grant a job is about to give back."""
    if job.state is State.PENDING or Ask.PREEMPT in job.asks or Ask.CANCEL in job.asks:
        return granted
    return Resources(granted.cpu_millis) if Ask.PAUSE in job.asks else NOTHING


def save_s(job: Job) -> float:
    """What a save costs the job, as its last attempt that saved measured it."""
    measured = (a.usage.save_s for a in reversed(job.attempts) if a.usage and a.usage.saves)
    return next(measured, UNMEASURED_SAVE_S)


_KILLED = ("killed", "its process was killed, and the worker above it")
_RESTARTED = ("host_restart", "the machine restarted")

_HOLDING = frozenset({Place.RUNNING, Place.RESUMING, Place.QUEUED, Place.ENDING})
_WAITING = frozenset({Place.READY, Place.RESUMING})
_LOCKED = frozenset({Place.RUNNING, Place.RESUMING, Place.ENDING})
"""Whoever stands there may hold the lock of the job's directory."""
