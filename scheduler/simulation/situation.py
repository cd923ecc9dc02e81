"""What a waiting job waits for: the resource, who holds it, who goes first, whose place is kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.scheduler.policy.arrange import arrange
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.policy.plan import Reservation
from singlepoint.scheduler.world.tasks import Task

from .forecast import staged
from .machine import Machine
from .scene import Scene


@dataclass(frozen=True)
class Situation:
    """lacks: resources of which less is free than it needs, with (needed, free).  waits_for: those that have to end, or
    to be put down, before it fits, in the order in which they should; or that it comes after.

    ahead: those that go before it, first in line first.  reservation: for another, if one keeps it waiting.
    """

    lacks: Mapping[str, tuple[int, int]]
    waits_for: tuple[str, ...]
    ahead: tuple[str, ...]
    reservation: Reservation | None


def situation(scene: Scene, job_id: str) -> Situation | None:
    """Of a job that waits or is to come; None of any other."""
    coming = next((one for one in scene.coming if one.task.id == job_id), None)
    if coming is not None:
        return Situation({}, coming.after, (), None)
    machine = staged(scene, {name: left.median_s for name, left in scene.left.items()})
    task = machine.books.task(job_id)
    if task is None:
        return None
    found = arrange(machine.books, POLICIES[scene.policy], explained=len(scene.waiting))
    reservation = found.reservation if found.reservation and found.reservation.task.id != job_id else None
    free = machine.books.free
    return Situation(
        {name: (task.need.of(name), max(0, free.of(name))) for name in task.need.lacking_in(free)},
        tuple(_must_end(scene, task, free)),
        tuple(_ahead(machine, job_id)),
        reservation,
    )


def _must_end(scene: Scene, task: Task, free: Resources) -> list[str]:
    """Of those that hold what it lacks, the first to end that are enough; all of them where they are not."""
    found: list[str] = []
    for one in sorted((one for one in scene.holding if one.cores), key=lambda one: scene.left[one.task.id].median_s):
        lacking = task.need.lacking_in(free)
        if not lacking:
            break
        if any(one.granted.of(name) for name in lacking):
            found.append(one.task.id)
            free = free + one.granted
    return found


def _ahead(machine: Machine, job_id: str) -> list[str]:
    return [task.id for task in takewhile(lambda task: task.id != job_id, machine.books.waiting())]
