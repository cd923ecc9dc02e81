"""The line at one moment, as a value: all that playing it forward needs. Pure.

The scheduler tells it now and then, so that whoever asks "when", "why not yet" and "what if" can play it without a
world of his own, with a job added or something changed. What stands aside for a reason that time does not end (held,
too large, after a failure that is not foreseen) is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

from singlepoint.jobs.lifecycle.checkpoint_interval import checkpoint_interval_s
from singlepoint.jobs.lifecycle.dependencies import Condition
from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.world.booking import RESTART_S, task_of
from singlepoint.scheduler.world.job_times import begin_at, save_s
from singlepoint.scheduler.world.learned.experience import STARTING, Estimate, Group, Pace
from singlepoint.scheduler.world.learned.reliability import Posterior
from singlepoint.scheduler.world.places import Place
from singlepoint.scheduler.world.sharing.usage import Shares
from singlepoint.scheduler.world.tasks import Holding, Task
from singlepoint.scheduler.world.world import World

MOST_WAITING = 100
"""Jobs in line that are played, and as many that come to it later; those behind have no estimate yet."""

UNKNOWN = Estimate(10.0, 600.0, 36_000.0, "nothing")


@dataclass(frozen=True)
class Coming:
    """A task that will wait for room from a time on, at the earliest, and once these jobs have ended."""

    task: Task
    at: float
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hope:
    """deadline_at: when a job should have ended.  setback_s: what it loses when its attempt dies on the way."""

    deadline_at: float
    setback_s: float


@dataclass(frozen=True)
class Came:
    """A job of late, as it would stand in line.  takes: how long it takes; None where nobody can tell.  gap_s: seconds
    after the one before it."""

    gap_s: float
    task: Task
    takes: Estimate | None


@dataclass(frozen=True)
class Scene:
    """now: seconds since the epoch, as all times here.  room: what jobs may have, all together.  cores: their ids.

    drains_at: from when on nothing runs, as was planned.  waiting: first in line first.  left: what each should still
    run; `UNKNOWN` where nothing is known.  hopes: of those that have a deadline.  survival: of an attempt.
    shares: what projects have had.  lately: the newest jobs that came, oldest first, whatever became of them.
    starting: seconds between a grant and the work.  together: the share of chance that meets all that run alike.
    paces: by which the likenesses of those in line and of late stand there.
    """

    now: float
    room: Resources
    cores: tuple[int, ...]
    policy: str
    drains_at: float
    waiting: tuple[Task, ...]
    holding: tuple[Holding, ...]
    coming: tuple[Coming, ...]
    left: Mapping[str, Estimate]
    hopes: Mapping[str, Hope] = field(default_factory=dict)
    survival: Posterior = field(default_factory=lambda: Posterior(0.0, 1.0))
    shares: Shares = field(default_factory=Shares)
    lately: tuple[Came, ...] = ()
    starting: Estimate = STARTING
    together: float = 0.0
    paces: Mapping[Group, Pace] = field(default_factory=dict)

    def task(self, job_id: str) -> Task | None:
        """One that waits, or is to come."""
        return next((task for task in self.tasks() if task.id == job_id), None)

    def tasks(self) -> Iterator[Task]:
        """Those that wait, and those to come."""
        yield from self.waiting
        yield from (one.task for one in self.coming)

    def knows(self, job_id: str) -> bool:
        return job_id in self.left

    # --- the same, but for something -------------------------------------------------------------------------

    def with_job(self, coming: Coming, left: Estimate, hope: Hope | None = None) -> Scene:
        """One more. Those it comes after that are not in the scene have ended, as far as anybody knows."""
        coming = replace(coming, after=tuple(filter(self.knows, coming.after)))
        hopes = self.hopes if hope is None else {**self.hopes, coming.task.id: hope}
        left_of = {**self.left, coming.task.id: left}
        return replace(self, coming=(*self.coming, coming), left=left_of, hopes=hopes)

    def with_task(self, task: Task) -> Scene:
        """What it has of the task of that id is this."""
        waiting = tuple(task if one.id == task.id else one for one in self.waiting)
        coming = tuple(replace(one, task=task) if one.task.id == task.id else one for one in self.coming)
        return replace(self, waiting=waiting, coming=coming)

    def with_left(self, job_id: str, left: Estimate) -> Scene:
        return replace(self, left={**self.left, job_id: left})

    def without(self, job_id: str) -> Scene:
        """A job that runs gives its cores back and stands still, with its memory kept."""
        holding = tuple(
            replace(one, granted=replace(one.granted, cpu_millis=0), cores=()) if one.task.id == job_id else one
            for one in self.holding
        )
        left = {name: one for name, one in self.left.items() if name != job_id}
        hopes = {name: one for name, one in self.hopes.items() if name != job_id}
        return replace(self, holding=holding, left=left, hopes=hopes)


def scene_of(world: World, rules: Rules) -> Scene:
    """The line as the scheduler sees it now: who holds something, the first in line, and the first of those to come."""
    waiting = tuple(islice(world.books.waiting(), MOST_WAITING))
    holding = tuple(replace(one, units={}) for one in world.books.holders())  # which numbers is no matter here
    known = {task.id for task in waiting} | {one.task.id for one in holding if one.cores}
    coming = tuple(islice(_coming(world, known), MOST_WAITING))
    tasks = [*waiting, *(one.task for one in holding if one.cores), *(one.task for one in coming)]
    left = {task.id: world.remaining(task.id) or UNKNOWN for task in tasks}
    return Scene(
        now=world.now,
        room=world.room,
        cores=world.cores,
        policy=rules.name,
        drains_at=world.books.drains_at,
        waiting=waiting,
        holding=holding,
        coming=coming,
        left=left,
        hopes=dict(_hopes(world, left)),
        survival=world.reliability.overall,
        shares=world.books.usage.as_of_now(),
        lately=tuple(_lately(world)),
        starting=world.experience.starting(),
        together=world.experience.together(),
        paces=world.experience.paces(_likenesses(world, tasks)),
    )


def _likenesses(world: World, tasks: Iterable[Task]) -> set[str]:
    known = (world.job(task.id) for task in tasks)
    return {job.like for job in (*known, *world.arrivals) if job is not None}


def _lately(world: World) -> Iterator[Came]:
    for before, newest in pairwise(world.arrivals):
        experience, of_kind = world.experience, world.experience.of_kind(newest.kind, newest.reckoned_s)
        standing = experience.standing(newest.like, newest.work) or of_kind
        task = task_of(newest, Place.READY, world.need(newest), newest.submitted_at, standing, world.now)
        takes = experience.run_time(newest.like, newest.work) or of_kind
        yield Came(newest.submitted_at - before.submitted_at, task, takes)


def _coming(world: World, known: set[str]) -> Iterator[Coming]:
    """Those that stand aside until a time, or until others have ended of which each is in `known`, or is to come."""
    yield from (_comes(world, job) for job in _noted(world.standing(Place.DELAYED), known))
    again = True
    while again:
        found = [job for job in world.standing(Place.AFTER) if job.id not in known and _is_foreseen(world, job, known)]
        yield from (_comes(world, job) for job in _noted(found, known))
        again = bool(found)


def _noted(jobs: Iterable[Job], known: set[str]) -> Iterator[Job]:
    for job in jobs:
        known.add(job.id)
        yield job


def _is_foreseen(world: World, job: Job, known: set[str]) -> bool:
    """Whether all that it still comes after should end as it is to."""
    open_still = [one for one in job.after if world.outcome(one.job) is None]
    return all(one.job in known and one.when is not Condition.FAILED for one in open_still)


def _comes(world: World, job: Job) -> Coming:
    at = max(world.now, begin_at(job), job.not_before)
    task = task_of(job, Place.READY, world.need(job), at, world.remaining_in_line(job), world.now)
    return Coming(task, at, tuple(one.job for one in job.after if world.outcome(one.job) is None))


def _hopes(world: World, known: Iterable[str]) -> Iterator[tuple[str, Hope]]:
    for job_id in known:
        job = world.job(job_id)
        if job is not None and job.deadline_at is not None:
            yield job_id, Hope(job.deadline_at, setback_s(job.kind, save_s(job), world.reliability.overall.rate_per_s))


def setback_s(kind: str, one_save_s: float, failure_rate_per_s: float) -> float:
    """What a death costs on average: a new start, and half of the time between two saves. Of a command nobody knows
    whether it saves at all: infinitely much, that is, all of it."""
    if kind == "run":
        return float("inf")
    return RESTART_S + checkpoint_interval_s(one_save_s, failure_rate_per_s) / 2
