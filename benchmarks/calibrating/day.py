"""Two days of a machine of paper, its jobs of many kinds, and what is foreseen of those of the second."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.reasons import Eta
from singlepoint.jobs.lifecycle.records import Resources, Sample
from singlepoint.jobs.lifecycle.states import State
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.simulation.forecast import foresee
from singlepoint.scheduler.simulation.machine import Life
from singlepoint.scheduler.simulation.machine import Machine as PaperMachine
from singlepoint.scheduler.simulation.scene import UNKNOWN, Came, Scene
from singlepoint.scheduler.simulation.workload import Arrival
from singlepoint.scheduler.world.learned.arrivals import REMEMBERED
from singlepoint.scheduler.world.learned.experience import Estimate, Experience, by_progress, what_is_left
from singlepoint.scheduler.world.tasks import Task

from .tally import Tally

DAY_S = 86_400.0
CORES, LOAD = 4, 0.8
KINDS = 30
SWITCH_S = 2.0
AT_ONCE = Estimate(1e-6, 1e-6, 1e-6, "paper")
"""On paper no process has to start."""


@dataclass(frozen=True)
class Kind:
    """Jobs that are alike: seconds of the median one, how far they spread, on how many cores; a training tells how far
    it is."""

    name: str
    median_s: float
    spread: float
    cores: int
    tells: bool


@dataclass
class Day:
    """A machine of paper with what a scheduler knows of its jobs: what like ones took, and what these tell."""

    policy: str
    machine: PaperMachine = field(init=False)
    kinds: dict[str, Kind] = field(default_factory=dict)  # by the id of the job
    experience: Experience = field(default_factory=Experience)
    open_still: set[str] = field(default_factory=set)
    arrived: deque[Arrival] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def __post_init__(self) -> None:
        self.machine = PaperMachine(CORES, POLICIES[self.policy], SWITCH_S, self._expected)

    def comes(self, arrival: Arrival, kind: Kind, begins_at: float) -> None:
        self.kinds[arrival.id] = kind
        self.open_still.add(arrival.id)
        self.arrived.append(arrival)
        self.machine.play((arrival,), begins_at=begins_at, until=arrival.submit_s)
        self._learn()

    def _learn(self) -> None:
        lives = self.machine.lives
        ended = [job_id for job_id in self.open_still if lives[job_id].ended_at < math.inf]
        for job_id in sorted(ended, key=lambda job_id: lives[job_id].ended_at):
            self.open_still.discard(job_id)
            took = Account(wall_s=lives[job_id].arrival.run_s)
            name = self.kinds[job_id].name
            entry = Entry(job_id, 1, State.SUCCEEDED, name, "train", 0.0, 0.0, like=name, account=took)
            self.experience.learn([entry])

    def _expected(self, life: Life) -> float | None:
        left = self._left(life, life.arrival.submit_s, self.experience.standing)
        return None if left is None else left.median_s

    def _left(self, life: Life, now: float, run_time: Callable[[str], Estimate | None]) -> Estimate | None:
        kind, run_s = self.kinds[life.arrival.id], life.arrival.run_s
        before_s = sum(until - begun for begun, until, _ in life.stints)
        stint_s = 0.0 if life.begun_at is None else now - life.begun_at
        if kind.tells:
            done = 1 - life.left_s / run_s
            sample = Sample(1, now, min(1.0, done + stint_s / run_s), done, stint_s)
            if (told := by_progress(sample)) is not None:
                return told
        whole = run_time(kind.name)
        return None if whole is None else what_is_left(whole, before_s + stint_s)

    def scene(self, now: float) -> Scene:
        books, lives = self.machine.books, self.machine.lives
        waiting, holding = tuple(books.waiting()), tuple(books.holders())
        ids = [*(task.id for task in waiting), *(one.task.id for one in holding)]
        left = {job_id: self._left(lives[job_id], now, self.experience.run_time) or UNKNOWN for job_id in ids}
        return Scene(
            now=now,
            room=books.room,
            cores=tuple(range(CORES)),
            policy=self.policy,
            drains_at=math.inf,
            waiting=waiting,
            holding=holding,
            coming=(),
            left=left,
            lately=tuple(self._lately()),
            starting=AT_ONCE,
            together=self.experience.together(),
        )

    def _lately(self) -> Iterator[Came]:
        for before, newest in pairwise(self.arrived):
            kind = self.kinds[newest.id].name
            task = Task(newest.id, Resources(1000 * newest.cores), newest.submit_s, newest.submit_s)
            if (standing := self.experience.standing(kind)) is not None:
                task = replace(task, expected_s=standing.median_s, longest_s=standing.high_s)
            yield Came(newest.submit_s - before.submit_s, task, self.experience.run_time(kind))


def arrivals(seed: int) -> Iterator[tuple[Arrival, Kind]]:
    """Two days of them: of kinds that take seconds to hours, each job of its kind by chance."""
    chance = random.Random(seed)
    kinds = [
        Kind(
            f"kind-{n}",
            math.exp(chance.gauss(math.log(120.0), 1.3)),
            chance.uniform(0.03, 0.4),
            chance.choice((1, 1, 1, 2, 4)),
            chance.random() < 0.5,
        )
        for n in range(KINDS)
    ]
    core_s = sum(kind.median_s * math.exp(kind.spread**2 / 2) * kind.cores for kind in kinds) / KINDS
    at, number = 0.0, 0
    while (at := at + chance.expovariate(CORES * LOAD / core_s)) < 2 * DAY_S:
        kind = chance.choice(kinds)
        run_s = kind.median_s * math.exp(chance.gauss(0.0, kind.spread))
        number += 1
        yield Arrival(f"job-{number}", at, run_s, kind.cores), kind


def simulated(policy: str, seed: int) -> tuple[Tally, Tally]:
    """What was foreseen in the second day: of starts, and of ends."""
    day, foreseen = Day(policy), dict[str, Eta]()
    before = 0.0
    for arrival, kind in arrivals(seed):
        day.comes(arrival, kind, before)
        before = arrival.submit_s
        if before >= DAY_S:
            found = foresee(day.scene(before), seed=len(foreseen)).eta.get(arrival.id)
            if found is not None:
                foreseen[arrival.id] = found
    day.machine.play((), begins_at=before)
    starts, ends = Tally(f"simulated, {policy}, starts"), Tally(f"simulated, {policy}, ends")
    for job_id, eta in foreseen.items():
        life = day.machine.lives[job_id]
        if eta.start is not None:
            starts.add(eta.start, life.stints[0][0])
        ends.add(eta.end, life.ended_at)
    return starts, ends
