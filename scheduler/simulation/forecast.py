"""When will it start, when will it end: the queue as it stands played forward, many times, with run times drawn anew.

Each play goes through the same decisions as live. What nobody can estimate is drawn from wide bounds, so its interval
says that. Arrivals to come are not foreseen, nor what goes on after a drain that was planned.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from singlepoint.jobs.lifecycle.reasons import Eta
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.world.experience import Estimate
from singlepoint.scheduler.world.tasks import NOTHING, Task

from .machine import Life, Machine
from .scene import Hope, Scene
from .workload import Arrival

MOST_PLAYS, LEAST_PLAYS, JOBS_PLAYED = 25, 10, 1000
"""How often, as long as that comes to no more jobs."""


@dataclass(frozen=True)
class Course:
    """What became of a job in one play. start: None of one that ran already; infinite, as end, where it never came."""

    start: float | None
    end: float
    run_s: float


Play = Mapping[str, Course]
"""What became of every job, once."""


@dataclass(frozen=True)
class Foresight:
    """eta: of every job whose end is foreseen.  in_time: the chance of each that has a deadline to meet it."""

    eta: Mapping[str, Eta] = field(default_factory=dict)
    in_time: Mapping[str, float] = field(default_factory=dict)


def foresee(scene: Scene, seed: int = 0) -> Foresight:
    """For every running job, those first in line and those to come: when it starts (unless it has) and when it ends."""
    return foresight(scene, list(plays(scene, seed)))


def plays(scene: Scene, seed: int = 0) -> Iterator[Play]:
    """The scene played to its end, as often as a foresight needs; each takes some milliseconds."""
    count = max(LEAST_PLAYS, min(MOST_PLAYS, JOBS_PLAYED // max(1, len(scene.left)))) if scene.left else 0
    return (_play(scene, _drawn(scene.left, random.Random(seed + n))) for n in range(count))


def foresight(scene: Scene, plays: Sequence[Play]) -> Foresight:
    """What comes of these plays of the scene; nothing of none."""
    if not plays:
        return Foresight()
    etas = {job_id: _eta([play[job_id] for play in plays]) for job_id in scene.left}
    return Foresight(
        {job_id: eta for job_id, eta in etas.items() if eta is not None},
        {job_id: _chance(scene, [play[job_id] for play in plays], hope) for job_id, hope in scene.hopes.items()},
    )


def _drawn(left: Mapping[str, Estimate], chance: random.Random) -> dict[str, float]:
    """Run times of one play. One job more, at the end, or another estimate changes no other's."""
    return {job_id: estimate.at(chance.gauss(0.0, 1.0)) for job_id, estimate in left.items()}


def _play(scene: Scene, left_s: Mapping[str, float]) -> Play:
    machine = staged(scene, left_s)
    machine.play((), begins_at=scene.now, until=scene.drains_at)
    running = {one.task.id for one in scene.holding if one.cores and one.leaving == NOTHING}
    return {job_id: _course(life, job_id in running) for job_id, life in machine.lives.items()}


def staged(scene: Scene, left_s: Mapping[str, float]) -> Machine:
    """A machine on which the scene stands, with these seconds left to run."""
    machine = Machine(len(scene.cores), POLICIES[scene.policy], 0.0, lambda _life: None)
    machine.books.resize(scene.room, scene.cores)
    machine.books.seen_at(scene.now)
    machine.books.drains_at = scene.drains_at
    waits = {task.id for task in scene.waiting}
    for one in scene.holding:
        task = replace(one.task, pauses=False)
        if one.cores and one.leaving == NOTHING:
            machine.go_on(_life(task, left_s), replace(one, task=task), scene.now)
        elif one.cores:
            machine.enter(_life(task, left_s), task)  # it was asked to go, and waits in a moment
        elif task.id not in waits:
            machine.books.take(one.granted, ())  # it stands still, for as long as nobody says otherwise
    for task in scene.waiting:
        machine.enter(_life(task, left_s), replace(task, pauses=False))
    for coming in scene.coming:
        task = replace(coming.task, pauses=False)
        machine.expect(_life(task, left_s), task, coming.at, coming.after)
    machine.books.usage.begin_with(scene.shares)
    machine.books.seen_at(scene.now)  # who stands back is known once all are there
    return machine


def _life(task: Task, left_s: Mapping[str, float]) -> Life:
    run_s = left_s[task.id]
    return Life(Arrival(task.id, task.submitted_at, run_s, task.cores), run_s)


def _course(life: Life, runs_already: bool) -> Course:
    start = life.stints[0][0] if life.stints else math.inf if life.begun_at is None else life.begun_at
    return Course(None if runs_already else start, life.ended_at, life.arrival.run_s)


def _eta(courses: Sequence[Course]) -> Eta | None:
    """None where too many plays do not come to its end."""
    starts = sorted(course.start for course in courses if course.start is not None)
    start, end = _quantiles(starts) if starts else None, _quantiles(sorted(course.end for course in courses))
    return Eta(start, end) if math.isfinite(end[-1]) else None


def _quantiles(ordered: Sequence[float]) -> tuple[float, float, float]:
    last = len(ordered) - 1
    return ordered[round(0.1 * last)], ordered[round(0.5 * last)], ordered[round(0.9 * last)]


def _chance(scene: Scene, courses: Sequence[Course], hope: Hope) -> float:
    """The share of plays that end in time. One with no time to spare for a death counts as much as it is likely that
    there is none: R(t)."""
    return sum(_counts(scene, course, hope) for course in courses) / len(courses)


def _counts(scene: Scene, course: Course, hope: Hope) -> float:
    spare_s = hope.deadline_at - course.end
    if spare_s < 0:
        return 0.0
    return 1.0 if spare_s >= min(hope.setback_s, course.run_s) else scene.survival.survival(course.run_s)
