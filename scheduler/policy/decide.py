"""What to do, given what is known: the heart of the scheduler. Pure; the same live, in a simulation and in what-if.

Promises: what is granted never exceeds the budget less our own reserve, in any resource. Who goes first, who may
overtake and who gives way is a policy's table of rules (`feedback.ranking` unless another is chosen), and `arrange`
picks by it. A job that asks for more than there is stands aside and keeps nobody waiting. Nothing is granted while a
lock has not been tried, while work has to be put down, or while the home is being drained.

Won't do: look at all jobs. Each call reads the heads of lines and the few jobs that hold something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

from singlepoint.jobs.lifecycle.records import Job, Resources, Terms
from singlepoint.scheduler.policy.host.state import UNKNOWN, Host
from singlepoint.scheduler.policy.host.strain import Strain
from singlepoint.scheduler.world.tasks import NOTHING, Holding, Task

from .arrange import Floor, PutDown, Start, arrange
from .plan import Decision, Dispatch, Fail, Pause, Plan, Preempt, PushAgain, Rescue, Resume, TakeBack
from .rules import Rules

MOST_TOLD = 100
"""Sentences in one publication; those behind are told who is first."""


class View(Protocol):
    """What a decision reads. The live world is one, the machine of a simulation another."""

    draining: bool

    @property
    def books(self) -> Floor: ...
    @property
    def excess(self) -> Resources:
        """What is granted beyond the budget and does not leave yet."""

    def unprobed(self) -> Iterable[str]:
        """Jobs whose lock nobody has tried."""

    def dead(self) -> Iterable[tuple[Job, str, str]]:
        """Running jobs nobody works on, with the end of their attempt and its cause."""

    def doomed(self) -> Iterable[tuple[Job, str]]:
        """Waiting jobs that can never start, with the reason."""

    def missing_jobs(self) -> Iterable[Job]:
        """Dispatched jobs that are in no queue."""

    def free_units(self) -> Mapping[str, tuple[int, ...]]:
        """Of all that is counted, the numbers nobody has, lowest first."""

    def terms(self, task: Task, cores: tuple[int, ...]) -> Terms:
        """What an attempt of a waiting task is granted with these cores."""


def decide(view: View, rules: Rules, host: Host = UNKNOWN, explained: int = MOST_TOLD) -> Plan:
    """Everything that should be done now. Once it is done and seen, deciding again finds what follows from it.

    host: how the machine is just now.  explained: of how many that can't start it should be found out why; on paper
    nobody asks.
    """
    urgent: list[Decision] = [Rescue(job.id, job.attempt, end, cause) for job, end, cause in view.dead()]
    urgent += [Fail(job.id, reason) for job, reason in view.doomed()]
    if view.draining:
        return Plan((*urgent, *_put_all_down(view)))
    urgent += [PushAgain(job.id, job.attempt) for job in view.missing_jobs()]
    if any(True for _ in view.unprobed()):
        return Plan(tuple(urgent))
    if view.excess != NOTHING:
        return Plan((*urgent, *_put_excess_down(view)))
    if host.strain is not None:
        return Plan((*urgent, *_ease(view, host.strain)), shut=f"nothing is started: {host.strain.why}")
    found = arrange(view.books, rules, explained)
    return Plan(
        decisions=(*urgent, *map(_put_down, found.put_down), *_starts(view, found.starts, host)),
        blocked=found.blocked,
        reservation=found.reservation,
        look_again_at=found.look_again_at,
    )


def _starts(view: View, starts: Sequence[Start], host: Host) -> Iterator[Decision]:
    """Each with cores, and the lowest free numbers of what is counted; one that was paused keeps those it has."""
    if not starts:
        return
    free, free_cores = view.free_units(), list(view.books.free_cores)
    for start in starts:
        task = start.task
        cores = host.picked(free_cores, task.cores)
        taken = frozenset(cores)
        free_cores = [core for core in free_cores if core not in taken]
        terms = view.terms(task, cores)
        if task.paused:
            yield Resume(task.id, task.attempt, terms)
            continue
        units = {name: numbers[: task.need.of(name)] for name, numbers in free.items()}
        free = {name: numbers[task.need.of(name) :] for name, numbers in free.items()}
        yield Dispatch(task.id, task.attempt + 1, replace(terms, units=units) if units else terms)


def _put_down(one: PutDown) -> Decision:
    if one.pause:
        return Pause(one.holding.task.id, one.holding.task.attempt)
    return _hand_back(one.holding, f"{one.for_id} goes first")


def _put_excess_down(view: View) -> Iterator[Decision]:
    """When the budget was lowered below what is granted, enough work to mend that: least important first."""
    excess = view.excess
    for holding in view.books.holders():
        helps = any(holding.granted.of(name) for name in excess.lacking_in(NOTHING))
        if helps and holding.leaving != holding.granted:
            excess = excess - holding.granted
            yield _hand_back(holding, "the budget was lowered")


def _ease(view: View, strain: Strain) -> Iterator[Decision]:
    """When it lasts, the least important work that can give way; none while some leaves."""
    holders = list(view.books.holders())
    if strain.lasts(view.books.now) and not any(holding.leaving.memory_bytes for holding in holders):
        willing = (holding for holding in holders if holding.task.gives_way or not holding.begun)
        yield from (_hand_back(holding, strain.why) for holding in islice(willing, 1))


def _put_all_down(view: View) -> Iterator[Decision]:
    dead = {job.id for job, _, _ in view.dead()}
    for holding in view.books.holders():
        if holding.leaving != holding.granted and holding.task.id not in dead:
            yield _hand_back(holding, "the home is being drained")


def _hand_back(holding: Holding, cause: str) -> Decision:
    task = holding.task
    return Preempt(task.id, task.attempt) if holding.begun else TakeBack(task.id, task.attempt, cause)
