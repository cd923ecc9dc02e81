"""How often what was foreseen comes true: the 80 % intervals of start and end, and the processor time of like jobs.

    python -m benchmarks.calibration [--policy feedback] [--jobs 400] [--only simulated|live]

Simulated: a day on four cores at a load of 0.8, after a day in which the kinds of jobs are learned; what is foreseen of
each job when it comes is held against what became of it.
Live: as many short trainings and commands, handed in one by one to a real singlepoint at the pace at which
the machine is busy four fifths of the time; what `submit` would say of each is held against what came.
An interval is to hold 75 to 85 of a hundred. Of what waits for nothing no start is foreseen: it starts.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.faulting.jobs import training, write_digits
from singlepoint import submit
from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.clock import now
from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.reasons import Eta, Quantiles
from singlepoint.jobs.lifecycle.records import Job, Resources, Sample
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.services.policy_choice import choose_policy
from singlepoint.jobs.spec.file import parse_document
from singlepoint.scheduler.foresight import read_scene, with_spec
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.simulation.forecast import foresee
from singlepoint.scheduler.simulation.machine import Life
from singlepoint.scheduler.simulation.machine import Machine as PaperMachine
from singlepoint.scheduler.simulation.scene import UNKNOWN, Came, Scene
from singlepoint.scheduler.simulation.workload import Arrival
from singlepoint.scheduler.world.learned.arrivals import REMEMBERED
from singlepoint.scheduler.world.learned.experience import Estimate, Experience, by_progress, what_is_left
from singlepoint.scheduler.world.tasks import Task
from tests.system.machine import Machine, wait_until

DAY_S = 86_400.0
CORES, LOAD = 4, 0.8
KINDS = 30
SWITCH_S = 2.0


@dataclass
class Tally:
    """What was foreseen beside what came. named: for the printed line."""

    named: str
    inside: int = 0
    early: int = 0
    late: int = 0

    def add(self, foreseen: Quantiles, came: float) -> None:
        low, _, high = foreseen
        self.early += came < low
        self.late += came > high
        self.inside += low <= came <= high

    def __str__(self) -> str:
        count = self.inside + self.early + self.late
        shares = (100 * one / max(1, count) for one in (self.inside, self.early, self.late))
        return "{} {:5.1f}% of {} within, {:.1f}% earlier, {:.1f}% later".format(
            f"{self.named:34}", next(shares), count, *shares
        )


# --- simulated ---------------------------------------------------------------------------------------------------


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
        left = self._left(life, life.arrival.submit_s)
        return None if left is None else left.median_s

    def _left(self, life: Life, now: float) -> Estimate | None:
        kind, run_s = self.kinds[life.arrival.id], life.arrival.run_s
        before_s = sum(until - begun for begun, until, _ in life.stints)
        stint_s = 0.0 if life.begun_at is None else now - life.begun_at
        if kind.tells:
            done = 1 - life.left_s / run_s
            sample = Sample(1, now, min(1.0, done + stint_s / run_s), done, stint_s)
            if (told := by_progress(sample)) is not None:
                return told
        whole = self.experience.run_time(kind.name)
        return None if whole is None else what_is_left(whole, before_s + stint_s)

    def scene(self, now: float) -> Scene:
        books, lives = self.machine.books, self.machine.lives
        waiting, holding = tuple(books.waiting()), tuple(books.holders())
        ids = [*(task.id for task in waiting), *(one.task.id for one in holding)]
        left = {job_id: self._left(lives[job_id], now) or UNKNOWN for job_id in ids}
        lately = tuple(self._lately())
        return Scene(
            now, books.room, tuple(range(CORES)), self.policy, math.inf, waiting, holding, (), left, lately=lately
        )

    def _lately(self) -> Iterator[Came]:
        for before, newest in pairwise(self.arrived):
            task = Task(newest.id, Resources(1000 * newest.cores), newest.submit_s, newest.submit_s)
            yield Came(newest.submit_s - before.submit_s, task, self.experience.run_time(self.kinds[newest.id].name))


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


# --- live --------------------------------------------------------------------------------------------------------


def short_specs(directory: Path) -> list[Mapping[str, Any]]:
    """Of each kind one: trainings of half a second to three, and commands whose time is not always the same."""
    write_digits(directory)
    specs: list[Mapping[str, Any]] = []
    for network, epochs in (("dense", 40), ("cnn", 3), ("rnn", 2)):
        spec = training(f"train-{network}-{epochs}", network, "adam", interval_s=None)
        spec["data"]["path"] = str(directory / spec["data"]["path"])
        spec["training"]["epochs"] = epochs
        specs.append(spec)
    for rounds, spread in ((200, 0), (400, 100), (900, 400)):
        words = (
            f"import random,hashlib\nfor _ in range({rounds}+random.randint(0,{spread})): hashlib.sha256(bytes(1<<21))"
        )
        specs.append({"kind": "run", "name": f"hash-{rounds}", "command": ["python3", "-c", words]})
    return specs


def live(policy: str, count: int, seed: int = 1) -> tuple[list[Tally], list[float]]:
    """Starts and ends, and by how much the processor time that like jobs told was off, a share, of each job."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place:
        machine = Machine(Path(place), budget=f"cpu={cores}", workers=cores)
        choose_policy(machine.home, policy)
        machine.start()
        try:
            specs = short_specs(machine.directory)
            taught = [submit(dict(spec), home=machine.home.path) for spec in specs for _ in range(4)]
            wait_until(lambda: all(machine.job(one).is_final for one in taught), machine.tail, 600.0)
            pace_s = mean(map(_held_s, map(machine.job, taught))) / cores / LOAD
            told, ids = _handed_in(machine, specs, count, pace_s, seed)
            wait_until(lambda: all(machine.job(one).is_final for one in ids), machine.tail, 600.0)
            jobs = {one: machine.job(one) for one in (*taught, *ids)}
        finally:
            machine.stop()
    return _came(policy, told, jobs), _errors([jobs[one] for one in (*taught, *ids)])


def _held_s(job: Job) -> float:
    """From its grant to its end."""
    return (job.ended_at or 0.0) - job.attempts[-1].dispatched_at


def _handed_in(
    machine: Machine, specs: Sequence[Mapping[str, Any]], count: int, pace_s: float, seed: int
) -> tuple[dict[str, Eta], list[str]]:
    """One after another, and what is foreseen of each when it comes."""
    chance, told, ids = random.Random(seed), dict[str, Eta](), list[str]()
    session, due = open_session(Settings(machine.home.path)), time.monotonic()
    while len(ids) < count:
        due += chance.expovariate(1 / pace_s)
        spec = dict(chance.choice(specs))
        scene, at = read_scene(session), now()
        ids.append(submit(spec, home=machine.home.path))
        foreseen = scene and with_spec(session, scene, parse_document(spec, Path.cwd(), "job"), at, "it")
        if foreseen:
            told[ids[-1]] = foresee(foreseen).eta["it"]
        time.sleep(max(0.0, due - time.monotonic()))
    return told, ids


def _came(policy: str, told: Mapping[str, Eta], jobs: Mapping[str, Job]) -> list[Tally]:
    starts, ends = Tally(f"live, {policy}, starts"), Tally(f"live, {policy}, ends")
    for job_id, eta in told.items():
        job = jobs[job_id]
        if eta.start is not None:
            starts.add(eta.start, job.attempts[0].started_at or math.inf)
        ends.add(eta.end, job.ended_at or math.inf)
    return [starts, ends]


def _errors(jobs: Sequence[Job]) -> list[float]:
    """Of jobs after three like ones: the median of these was to be their processor time."""
    before: dict[str, Experience] = {}
    seen: dict[str, int] = {}
    found = []
    for job in sorted(jobs, key=lambda job: job.ended_at or 0.0):
        entry, known = Entry.of(job), before.setdefault(job.like, Experience())
        expected = known.cpu_time(job.like) if seen.get(job.like, 0) >= 3 else None
        if expected is not None:
            found.append(abs(expected.median_s / entry.account.cpu_s - 1))
        known.learn([entry])
        seen[job.like] = seen.get(job.like, 0) + 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", action="append", choices=[*POLICIES])
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("simulated", "live"))
    options = parser.parse_args()
    parts: Mapping[str, Callable[[str], None]] = {
        "simulated": lambda policy: _print_simulated(policy, options.seeds),
        "live": lambda policy: _print_live(policy, options.jobs),
    }
    for policy in options.policy or ["feedback"]:
        for name, part in parts.items():
            if options.only in (None, name):
                part(policy)


def _print_simulated(policy: str, seeds: int) -> None:
    for seed in range(seeds):
        for tally in simulated(policy, seed):
            print(tally, flush=True)


def _print_live(policy: str, count: int) -> None:
    tallies, errors = live(policy, count)
    for tally in tallies:
        print(tally)
    print(
        f"processor time after three like jobs off by {100 * median(errors):.1f}% (median of {len(errors)})", flush=True
    )


if __name__ == "__main__":
    main()
