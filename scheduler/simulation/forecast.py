"""When will it start, when will it end: the queue as it stands played forward, many times, with run times drawn anew.

Each play goes through the same decisions as live. What nobody can estimate is drawn from wide bounds, so its interval
says that. Arrivals to come are not foreseen.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from singlepoint.jobs.lifecycle.reasons import Eta
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.world.experience import Estimate
from singlepoint.scheduler.world.tasks import Holding, Task
from singlepoint.scheduler.world.world import World

from .machine import Life, Machine
from .workload import Arrival

MOST_PLAYS, LEAST_PLAYS, JOBS_PLAYED = 25, 10, 1000
"""How often, as long as that comes to no more jobs: a look ahead must not keep a decision waiting."""

MOST_WAITING = 100
"""Jobs in line that are played; those behind have no estimate yet."""

UNKNOWN = Estimate(10.0, 600.0, 36_000.0, "nothing")


def forecast(world: World, rules: Rules, seed: int = 0) -> dict[str, Eta]:
    """For every running job, and those first in line: when it starts (unless it has) and when it ends."""
    waiting = list(islice(world.books.waiting(), MOST_WAITING))
    holding = [one for one in world.books.holders() if one.cores]
    left = {task.id: world.remaining(task.id) or UNKNOWN for task in [*waiting, *(one.task for one in holding)]}
    if not left:
        return {}
    count = max(LEAST_PLAYS, min(MOST_PLAYS, JOBS_PLAYED // len(left)))
    plays = [_play(world, rules, waiting, holding, _drawn(left, random.Random(seed + n))) for n in range(count)]
    return {job_id: _eta([play[job_id] for play in plays]) for job_id in plays[0]}


def _drawn(left: Mapping[str, Estimate], chance: random.Random) -> dict[str, float]:
    return {job_id: estimate.at(chance.gauss(0.0, 1.0)) for job_id, estimate in left.items()}


def _play(
    world: World, rules: Rules, waiting: list[Task], holding: list[Holding], left_s: Mapping[str, float]
) -> dict[str, tuple[float | None, float]]:
    """(start, end) of each; start None for what runs already."""
    machine = Machine(len(world.cores), rules, 0.0, lambda _life: None)
    machine.books.resize(world.room, world.cores)
    machine.books.seen_at(world.now)
    for one in holding:
        task = replace(one.task, pauses=False)
        machine.go_on(Life(_arrival(task, left_s[task.id]), left_s[task.id]), replace(one, task=task), world.now)
    for task in waiting:
        machine.enter(Life(_arrival(task, left_s[task.id]), left_s[task.id]), replace(task, pauses=False))
    machine.play((), begins_at=world.now)
    running = {one.task.id for one in holding}
    return {
        job_id: (None if job_id in running else life.stints[0][0], life.ended_at)
        for job_id, life in machine.lives.items()
        if life.stints
    }


def _arrival(task: Task, run_s: float) -> Arrival:
    return Arrival(task.id, task.submitted_at, run_s, task.cores)


def _eta(times: list[tuple[float | None, float]]) -> Eta:
    starts = sorted(start for start, _ in times if start is not None)
    ends = sorted(end for _, end in times)
    return Eta(_quantiles(starts) if starts else None, _quantiles(ends))


def _quantiles(ordered: list[float]) -> tuple[float, float, float]:
    last = len(ordered) - 1
    return ordered[round(0.1 * last)], ordered[round(0.5 * last)], ordered[round(0.9 * last)]
