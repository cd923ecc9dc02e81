"""When will it start, when will it end: the queue as it stands played forward, many times, with run times drawn anew.

Each play goes through the same decisions as live. What nobody can estimate is drawn from wide bounds, so its interval
says that. Jobs to come are drawn from those of late: as far apart, and as long. What goes on after a drain that was
planned is not foreseen.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from singlepoint.jobs.lifecycle.reasons import Eta
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.world.learned.experience import Estimate
from singlepoint.scheduler.world.tasks import NOTHING, Task

from .machine import Life, Machine
from .scene import UNKNOWN, Hope, Scene
from .workload import Arrival

MOST_PLAYS, LEAST_PLAYS, JOBS_PLAYED = 25, 10, 600
"""How often, as long as that comes to no more jobs."""

HANDOVER_S = 0.026
"""From the end of a job until what it held is granted again, the middle of what was measured: in a play it holds it for
so much longer than it runs."""

MOST_TO_COME, LEAST_OF_LATE = 50, 8
"""Jobs that are not there yet, in one play; none are foreseen by fewer of late."""


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
    most = len(scene.left) + (MOST_TO_COME if len(scene.lately) >= LEAST_OF_LATE else 0)
    count = max(LEAST_PLAYS, min(MOST_PLAYS, JOBS_PLAYED // most)) if scene.left else 0
    return (_play(scene, random.Random(seed + n)) for n in range(count))


def foresight(scene: Scene, plays: Sequence[Play]) -> Foresight:
    """What comes of these plays of the scene; nothing of none."""
    if not plays:
        return Foresight()
    etas = {job_id: _eta([play[job_id] for play in plays]) for job_id in scene.left}
    return Foresight(
        {job_id: eta for job_id, eta in etas.items() if eta is not None},
        {job_id: _chance(scene, [play[job_id] for play in plays], hope) for job_id, hope in scene.hopes.items()},
    )


def _drawn(estimates: Mapping[str, Estimate], normal: Callable[[], float]) -> dict[str, float]:
    """Seconds of one play. One job more, at the end, or another estimate changes no other's."""
    return {job_id: estimate.at(normal()) for job_id, estimate in estimates.items()}


def _normals(chance: random.Random, together: float, hour: float) -> Callable[[], float]:
    """Standard normals that have a part in common: the machine's good or bad hour, which meets all in a play alike."""
    own, common = math.sqrt(1.0 - together), math.sqrt(together) * hour
    return lambda: common + own * chance.gauss(0.0, 1.0)


def _play(scene: Scene, chance: random.Random) -> Play:
    to_come, starting = random.Random(chance.random()), random.Random(chance.random())
    hour = chance.gauss(0.0, 1.0)
    running = {one.task.id for one in scene.holding if one.cores and one.leaving == NOTHING}
    starts_s = _drawn(
        {job_id: scene.starting for job_id in scene.left if job_id not in running}, partial(starting.gauss, 0.0, 1.0)
    )
    takes_s = _drawn(scene.left, _normals(chance, scene.together, hour))
    left_s = {job_id: starts_s.get(job_id, 0.0) + one_s + HANDOVER_S for job_id, one_s in takes_s.items()}
    others = list(_to_come(scene, to_come, hour))
    machine = staged(scene, left_s, [task for task, _ in others])
    for task, run_s in others:
        machine.expect(_life(task, run_s), task, task.submitted_at)
    machine.play((), begins_at=scene.now, until=scene.drains_at, wanted=scene.left)
    return {job_id: _course(machine.lives[job_id], starts_s.get(job_id)) for job_id in scene.left}


def _to_come(scene: Scene, chance: random.Random, hour: float) -> Iterator[tuple[Task, float]]:
    """Jobs that may come, and the seconds that each takes: any of those of late again, after any of the
    times between two of them. The first one after such a time that is longer than what has passed already: where a
    hundred were handed in together, and nothing since, nothing follows."""
    if len(scene.lately) < LEAST_OF_LATE:
        return
    at = scene.lately[-1].task.submitted_at
    normal, gaps = _normals(chance, scene.together, hour), [one.gap_s for one in scene.lately]
    longer = [gap_s for gap_s in gaps if at + gap_s > scene.now]
    for number in range(MOST_TO_COME if longer else 0):
        at += chance.choice(gaps if number else longer)
        one = chance.choice(scene.lately)
        if one.takes is not None and one.task.need.fits_in(scene.room):
            run_s = scene.starting.median_s + one.takes.at(normal()) + HANDOVER_S
            yield replace(one.task, id=f"to come {number}", submitted_at=at, since=at), run_s


def staged(scene: Scene, left_s: Mapping[str, float], others: Iterable[Task] = ()) -> Machine:
    """A machine on which the scene stands, with these seconds left to run. others: that are still to come to it."""
    known = {**scene.left, **{task.id: _standing(task) for task in (*scene.tasks(), *others)}}
    expected_s = partial(_expected_s, known)
    machine = Machine(len(scene.cores), POLICIES[scene.policy], 0.0, expected_s)
    machine.books.resize(scene.room, scene.cores)
    machine.books.seen_at(scene.now)
    machine.books.drains_at = scene.drains_at
    waits = {task.id for task in scene.waiting}
    for one in scene.holding:
        task = replace(one.task, pauses=False)
        if one.cores and one.leaving == NOTHING:
            machine.go_on(_life(task, left_s[task.id]), replace(one, task=task), scene.now)
        elif one.cores:
            machine.enter(_life(task, left_s[task.id]), task)  # it was asked to go, and waits in a moment
        elif task.id not in waits:
            machine.books.take(one.granted, ())  # it stands still, for as long as nobody says otherwise
    for task in scene.waiting:
        machine.enter(_life(task, left_s[task.id]), replace(task, pauses=False))
    for coming in scene.coming:
        task = replace(coming.task, pauses=False)
        machine.expect(_life(task, left_s[task.id]), task, coming.at, coming.after)
    machine.books.usage.begin_with(scene.shares)
    machine.books.seen_at(scene.now)  # who stands back is known once all are there
    return machine


def _life(task: Task, run_s: float) -> Life:
    return Life(Arrival(task.id, task.submitted_at, run_s, task.cores), run_s)


def _standing(task: Task) -> Estimate:
    """What is expected of a job as it stands in line."""
    if task.expected_s is None:
        return UNKNOWN
    return Estimate(task.expected_s, task.expected_s, task.longest_s, "like")


def _expected_s(known: Mapping[str, Estimate], life: Life) -> float | None:
    """Seconds that one which stands in line in a play should still take: what was known of it before the play, or, once
    it has run in it, what it has told by its progress."""
    whole = known[life.arrival.id]
    if whole.source == UNKNOWN.source:
        return None
    return whole.median_s if life.left_s == life.arrival.run_s else life.left_s


def _course(life: Life, starts_s: float | None) -> Course:
    """starts_s: from its grant to its work; None of one that runs already."""
    granted_at = life.stints[0][0] if life.stints else math.inf if life.begun_at is None else life.begun_at
    start = None if starts_s is None else granted_at + starts_s
    return Course(start, life.ended_at - HANDOVER_S, life.arrival.run_s - HANDOVER_S)


def _eta(courses: Sequence[Course]) -> Eta | None:
    """None where too many plays do not come to its end."""
    starts = sorted(course.start for course in courses if course.start is not None)
    start, end = _quantiles(starts) if starts else None, _quantiles(sorted(course.end for course in courses))
    return Eta(start, end) if math.isfinite(end[-1]) else None


def _quantiles(ordered: Sequence[float]) -> tuple[float, float, float]:
    """Such that another play is below each as often as it says (Weibull's plotting positions): the outermost of ten
    plays are further out than a tenth."""
    return _quantile(ordered, 0.1), _quantile(ordered, 0.5), _quantile(ordered, 0.9)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = min(max(share * (len(ordered) + 1) - 1, 0.0), len(ordered) - 1.0)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low if low == high else low + (place - math.floor(place)) * (high - low)


def _chance(scene: Scene, courses: Sequence[Course], hope: Hope) -> float:
    """The share of plays that end in time. One with no time to spare for a death counts as much as it is likely that
    there is none: R(t)."""
    return sum(_counts(scene, course, hope) for course in courses) / len(courses)


def _counts(scene: Scene, course: Course, hope: Hope) -> float:
    spare_s = hope.deadline_at - course.end
    if spare_s < 0:
        return 0.0
    return 1.0 if spare_s >= min(hope.setback_s, course.run_s) else scene.survival.survival(course.run_s)
