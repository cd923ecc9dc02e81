"""What the scheduler knows: the budget, every unfinished job, and who holds what. No clock, no file, no Redis.

It is told what happened (`see`, `forget`, `lock_seen`, `seen_at`, …) and keeps its indexes true, each in a file of its
own, so that `policy.decide` looks at the heads of lines and never at all the jobs. It never guesses: a job that may
still be worked on (its lock was not seen free) keeps what it was granted and is not granted anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.checkpoint_interval import checkpoint_interval_s
from singlepoint.jobs.lifecycle.records import Attempt, Job, Resources, Sample, Terms, Units, granted_of
from singlepoint.jobs.lifecycle.retry import LONGEST_BACKOFF_S
from singlepoint.jobs.lifecycle.states import Ask, Author, State

from .booking import holding_of, is_to_end, task_of
from .books import Books, Ranking, by_arrival
from .job_times import begin_at, ended_since, save_s, served_s, stint_began_at
from .learned.arrivals import Arrivals
from .learned.experience import Estimate, Experience
from .learned.lessons import Lessons
from .learned.progress import Progress
from .learned.reliability import Evidence, Reliability
from .line import Line
from .locks import Locks, is_news_of_its_lock
from .places import ASIDE, HOLDING, WAITING, Place, Places
from .succession import Succession
from .tasks import NOTHING, Holding, Task

NEWS = 0.1
"""By which share an expectation must change to be worth a new place."""

RANKED_AT_ONCE = 300
"""Jobs that wait: some milliseconds."""

SET_BACK_S = 1.0
"""A clock that goes back by less was not set, but led to the right time."""

LEAVING_S = 5.0
"""Within this the process above an attempt has noticed that its job was removed, and ended it."""


class World:
    """See the module. Times are seconds since the epoch, as told.

    draining: nothing may be granted, and whoever holds something shall hand it back.  outgrown: by how much our
    own reserve grew under work that was granted its room before; that is no reason to put it down.  keeps_outcomes:
    see `Succession`.
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
        self.draining = False
        self.now = 0.0
        self.books = Books(self.room, self.cores, ranking)
        self.experience = Experience()
        self.arrivals = Arrivals()
        self._jobs: dict[str, Job] = {}
        self._places = Places()
        self._succession = Succession(keeps_outcomes=keeps_outcomes)
        self._locks = Locks()
        self._progress = Progress()
        self._lessons = Lessons()
        self._reliability: Reliability | None = None
        self._removed: list[tuple[float, Holding]] = []  # what jobs held that were removed, and when that was seen
        self._since: dict[str, float] = {}  # from when on the waiting of a job counts; infinity while it stands aside
        self._stints: dict[str, tuple[float, float]] = {}  # when one began by its history, and as it is counted
        self._ended: list[tuple[str, Attempt]] = []
        self._missing: set[str] = set()
        self._learned_of: set[str] = set()  # likenesses and kinds, since those that wait were last ranked by them

    # --- what happened -----------------------------------------------------------------------------------

    def see(self, job: Job) -> None:
        """A job as its history tells it now. Seeing the same again changes nothing."""
        before = self._jobs.get(job.id)
        self._ended += [(job.id, attempt) for attempt in ended_since(before, job)]
        self._missing.discard(job.id)
        if job.is_final:
            self._end(before, job)
            return
        if before is None:
            self.arrivals.came(job)
        if self._lessons.goes_on(job):
            self._reliability = None
        if is_news_of_its_lock(before, job):
            self._locks.forget(job.id)  # what was seen before it was claimed says nothing of this attempt
        self._jobs[job.id] = job
        goes_round_again = self._succession.goes_on(job)
        self._file(job)
        if goes_round_again:
            self._file_dependents(job.id)

    def _end(self, before: Job | None, job: Job) -> None:
        """It has ended; from here on nothing is held of it, but what those that come after it wait to know."""
        if before is not None:  # else it had ended before we looked, and the ledger has told of it
            self._expect_anew(self.experience.learn([Entry.of(job)]))
            self._lessons.ends(job)
        self._lessons.leaves(job.id)
        self._reliability = None
        self._drop(job.id)
        self._succession.ended(job.id, job.state)
        self._file_dependents(job.id)

    def taught_by_ended(self) -> Evidence:
        """What the jobs taught that have ended, as far as known; see `learned`."""
        return self._lessons.ended

    def learned(self, ended: Evidence, before: Evidence) -> None:
        """The ledger was added up. ended: what it says.  before: `taught_by_ended` when that was begun."""
        self._lessons.added_up(ended, before)
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
        self._succession.removed(job_id, had_ended)
        self._file_dependents(job_id)

    def lose_sight(self, job_id: str) -> None:
        """Its history cannot be read: it stands still, and so do those that come after it, until it is seen again."""
        self._drop(job_id)

    def lock_seen(self, job_id: str, held: bool) -> None:
        """The kernel lock on a job's directory was tried."""
        if job_id in self._jobs and self._locks.seen(job_id, held):
            self._file(self._jobs[job_id])

    def sampled(self, samples: Mapping[str, Sample]) -> None:
        """What running attempts tell of themselves, by the ids of their jobs."""
        for job in self._progress.told(samples, self._jobs):
            self._expect(job)

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
        """It is `now`. Jobs whose begin has come, or that backed off long enough, step into line."""
        self.now, before = now, self.now
        self._reliability = None
        if now < before - SET_BACK_S:
            self._set_back(now)
        for job_id in self._places.delayed_until(now):
            self._file(self._jobs[job_id])
        for one in [one for one in self._removed if not 0 <= now - one[0] < LEAVING_S]:
            self._removed.remove(one)
            self.books.give_back(one[1].granted, one[1].cores)
        self.books.seen_at(now)
        return self

    def _set_back(self, now: float) -> None:
        """The clock was: what stands at times that are yet to come again is taken to be of now."""
        self.books.seen_at(now)
        self.arrivals.set_back(now)
        for holding in list(self.books.holders()):
            self.books.hold(replace(holding, since=self._stint_began_at(self._jobs[holding.task.id])))
        for job_id in list(self.lines[Place.DELAYED]):
            self._file(self._jobs[job_id])

    def budget_changed(self, budget: Resources, reserve: Resources, cores: Iterable[int] | None = None) -> None:
        """C_max or our own needs changed: of those that wait, whoever fits no more or asks for all there is is put
        where it belongs now, and so is whoever was too large."""
        outgrown, lowered = (self.outgrown + reserve - self.reserve).above_nothing(), self.budget.lacking_in(budget)
        self.outgrown = NOTHING if any(map(outgrown.of, lowered)) else outgrown
        self.budget, self.reserve, self.room = budget, reserve, budget - reserve
        self.cores = self.cores if cores is None else tuple(cores)
        self.books.resize(self.room, self.cores)
        for place in (Place.OVERSIZED, Place.READY, Place.RESUMING):
            for job in [self._jobs[job_id] for job_id in self.lines[place]]:
                if place is not Place.READY or job.has_grown or not self.need(job).fits_in(self.room):
                    self._file(job)

    # --- questions ---------------------------------------------------------------------------------------

    @property
    def lines(self) -> Mapping[Place, Line]:
        """Who stands where, first in line first."""
        return self._places.lines

    def job(self, job_id: str) -> Job | None:
        """An unfinished job."""
        return self._jobs.get(job_id)

    def place(self, job_id: str) -> Place | None:
        """Where it stands; None when it is finished or unknown."""
        return self._places.of(job_id)

    def outcome(self, job_id: str) -> State | None:
        """How a job ended, if it did."""
        return self._succession.outcome(job_id)

    def knows(self, job_id: str) -> bool:
        return job_id in self._jobs or self._succession.knows_end_of(job_id)

    def size(self, job_id: str) -> int | None:
        """Bytes of history that were seen of an unfinished job."""
        job = self._jobs.get(job_id)
        return job.size if job else None

    def ids(self) -> Iterator[str]:
        """Every unfinished job, as far as seen."""
        return iter(self._jobs)

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
        return (NOTHING - self.free - self.books.leaving - self.outgrown).above_nothing()

    def holders(self) -> Iterator[Job]:
        """The jobs that hold a grant."""
        return (self._jobs[holding.task.id] for holding in self.books.holders())

    def granted(self, job_id: str) -> Resources:
        holding = self.books.holding(job_id)
        return holding.granted if holding else NOTHING

    def free_units(self) -> Units:
        """Of all that is counted, the numbers nobody has, lowest first."""
        if not self.budget.counted:
            return {}
        held = [*self.books.holders(), *(one for _, one in self._removed)]
        taken = {name: {unit for one in held for unit in one.units.get(name, ())} for name, _ in self.budget.counted}
        return {
            name: tuple(unit for unit in range(count) if unit not in taken[name]) for name, count in self.budget.counted
        }

    def sample(self, job_id: str) -> Sample | None:
        """What the running attempt of a job last told; None before it told anything."""
        return self._progress.sample(job_id)

    def remaining(self, job_id: str) -> Estimate | None:
        """Seconds that a job should still run, from now on: by its progress, else by what like jobs took, else by what
        others of its kind took."""
        job, experience = self._jobs[job_id], self.experience
        whole = experience.run_time(job.like, job.work) or experience.of_kind(job.kind, job.reckoned_s)
        return self._progress.remaining(job, whole, self.now)

    def remaining_in_line(self, job: Job) -> Estimate | None:
        """The same, as far as it matters for who goes first. What is like none, and has run, stands by how long."""
        whole = self.experience.standing(job.like, job.work)
        if whole is None and not job.attempts:
            whole = self.experience.of_kind(job.kind, job.reckoned_s)
        return self._progress.remaining(job, whole, self.now)

    def may_live(self, job_id: str) -> bool:
        """Whether its lock may be held: it was seen so, or nobody has looked."""
        return self._locks.may_be_held(job_id)

    def unprobed(self) -> Iterator[str]:
        """Jobs whose lock has to be tried before anything is granted: nobody has looked."""
        return self._locks.unprobed()

    def dead(self) -> Iterator[tuple[Job, str, str]]:
        """Running attempts whose lock is free, whatever their process looks like, with their end and its cause."""
        for job_id in self._locks.dead():
            attempt = self._jobs[job_id].attempts[-1]
            restarted = attempt.boot_id and self.boot_id and attempt.boot_id != self.boot_id
            yield self._jobs[job_id], *(_RESTARTED if restarted else _KILLED)

    def doomed(self) -> Iterator[tuple[Job, str]]:
        """Jobs that can never start, with the reason."""
        return ((job, f"comes after {self._succession.doom(job)}") for job in self.standing(Place.DOOMED))

    def is_needed(self, job_id: str) -> bool:
        """Whether an unfinished job comes after it."""
        return self._succession.is_needed(job_id)

    def missing_jobs(self) -> Iterator[Job]:
        """Queued jobs that no queue has."""
        return (self._jobs[job_id] for job_id in sorted(self._missing))

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
        return self._places.next_alarm()

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
        return Reliability(self._lessons.total() + Evidence(exposure_ms=survived_ms))

    def need(self, job: Job) -> Resources:
        """What a dispatch of the job takes: whole cores, and a request that grew by itself at most all there is."""
        return granted_of(job.requests, job.has_grown, self.room)

    # --- keeping the indexes true ------------------------------------------------------------------------

    def _drop(self, job_id: str) -> None:
        job = self._jobs.pop(job_id, None)
        self._leave(job_id)
        self._locks.forget(job_id)
        self._progress.forget(job_id)
        self._since.pop(job_id, None)
        self._stints.pop(job_id, None)
        self._missing.discard(job_id)
        if job is not None:
            self._succession.leaves(job)

    def _leave(self, job_id: str) -> None:
        self._places.leave(job_id)
        self._locks.leaves(job_id)
        self.books.stop_waiting(job_id)
        self.books.let_go(job_id)

    def _file(self, job: Job) -> None:
        """Put a job where it belongs, and book what it holds and wants."""
        self._leave(job.id)
        place = self._place_of(job)
        self._places.put(job, place)
        self._locks.stands(job.id, place)
        if place in ASIDE:
            self._since[job.id] = math.inf
            return
        task = self._task(job, place)
        if place in WAITING and task.need.fits_in(self.room):
            self.books.wait(task)
        if place in HOLDING and job.terms is not None:
            self.books.hold(holding_of(job, task, job.terms, self._stint_began_at(job)))

    def _stint_began_at(self, job: Job) -> float:
        """Once the clock was set back: when that was seen, or it would not have run at all for so long."""
        stamped_at = stint_began_at(job)
        known_stamp, since = self._stints.get(job.id, (stamped_at, stamped_at))
        if known_stamp != stamped_at or since > self.now:
            since = min(stamped_at, self.now)
        self._stints[job.id] = (stamped_at, since)
        return since

    def _task(self, job: Job, place: Place) -> Task:
        if self._since.setdefault(job.id, job.submitted_at) == math.inf:
            self._since[job.id] = self.now - served_s(job)
        left = self.remaining_in_line(job)
        return task_of(job, place, self.need(job), self._since[job.id], left, self.now)

    def _expect_anew(self, names: set[str]) -> None:
        """Those that wait and are like jobs, or of a kind, of which more is known now stand by that, all of them: at
        once, unless there are so many that decisions would have to wait for it."""
        self._learned_of |= names
        if len(self.books) <= RANKED_AT_ONCE:
            for _ in self.expectations():
                pass

    def expectations(self) -> Iterator[None]:
        """Have them stand by that; each step is a slice of the work."""
        names, self._learned_of = self._learned_of, set()
        waiting = list(self.lines[Place.READY]) if names else []
        for begin in range(0, len(waiting), RANKED_AT_ONCE):
            for job_id in waiting[begin : begin + RANKED_AT_ONCE]:
                job = self._jobs.get(job_id)  # it may have left meanwhile
                if job is not None and self.place(job_id) is Place.READY and {job.like, job.kind} & names:
                    self.books.wait(self._task(job, Place.READY))
            yield

    def _expect(self, job: Job) -> None:
        """Book a running job anew when its progress says something else than what it was booked with."""
        held = self.books.holding(job.id)
        if held is None or self.place(job.id) is not Place.RUNNING or job.terms is None:
            return
        task, known_s = self._task(job, Place.RUNNING), held.task.expected_s
        if known_s is None or abs(known_s - (task.expected_s or 0.0)) > NEWS * known_s:
            self.books.hold(replace(held, task=task))

    def _file_dependents(self, job_id: str) -> None:
        for dependent in self._succession.dependents(job_id):
            self._file(self._jobs[dependent])

    def _place_of(self, job: Job) -> Place:
        if job.state is State.RUNNING:
            stays_so = job.is_asked(Ask.PAUSE, Author.USER) or is_to_end(job)
            wants_cores = job.paused and not stays_so and job.terms is not None and not job.terms.cores
            return Place.RESUMING if wants_cores else Place.RUNNING
        if job.state is State.QUEUED:
            return Place.QUEUED
        if job.attempts and self.may_live(job.id):
            return Place.ENDING
        begun = bool(job.attempts)  # a job that ran once has waited already for those it comes after
        if not begun and self._succession.doom(job) is not None:
            return Place.DOOMED
        if job.held:
            return Place.HELD
        if not begun and self._succession.must_wait(job):
            return Place.AFTER
        if self.now < begin_at(job):
            return Place.DELAYED
        if self.now < job.not_before <= self.now + LONGEST_BACKOFF_S:  # later: the clock was set back since
            return Place.DELAYED
        return Place.READY if self.need(job).fits_in(self.room) else Place.OVERSIZED


_KILLED = ("killed", "its process was killed, and the worker above it")
_RESTARTED = ("host_restart", "the machine restarted")
