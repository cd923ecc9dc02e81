"""How long a decision takes with 100,000 jobs waiting of as many shapes, and how that grows from 1,000; and how much
longer a large machine takes to decide for than a small one.

    python -m benchmarks.decision [--waiting 100000]

In one run, for each policy: the line is built, then time goes on and one job after another ends; measured is the
processor time of the pass that follows each end, and of building the line. No Redis, no disk. Then 5,000 jobs after the
model of Lublin and Feitelson, as wide as the machine allows, are replayed on 128 cores and on 4,096.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from singlepoint.jobs.lifecycle.records import UNLIMITED, Resources
from singlepoint.scheduler.policy.arrange import arrange
from singlepoint.scheduler.policy.decide import MOST_TOLD
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.simulation.machine import replay
from singlepoint.scheduler.simulation.workload import lublin
from singlepoint.scheduler.world.books import Books
from singlepoint.scheduler.world.tasks import Holding, Task

MIB = 2**20
ENDS = 60
SCARCE = {"cores": (4, 2**40), "memory": (64, 4096 * MIB)}
"""What there is: so that cores run out first, or memory, with cores left over."""

MACHINES, REPLAYED, LOAD, SWITCH_S = (128, 4096), 5000, 0.9, 10.0


@dataclass(frozen=True)
class Measured:
    build_s: float
    passes_s: Sequence[float]


def tasks(count: int, memory_bytes: int) -> Iterator[Task]:
    """No two need the same. A third can't be put down, half have an expectation."""
    chance = random.Random(1)
    for number in range(count):
        need = Resources(1000 * chance.randint(1, 4), memory_bytes // 64 + number * 1024)
        expected_s = chance.lognormvariate(6, 2) if number % 2 else None
        longest_s = float("inf") if expected_s is None else 2 * expected_s
        yield Task(
            id=f"t{number}",
            need=need,
            submitted_at=float(number),
            since=float(number),
            priority=chance.choice((0, 0, 0, 1)),
            expected_s=expected_s,
            longest_s=longest_s,
            gives_way=number % 3 > 0,
            switch_s=1.0,
        )


def measure(rules: Rules, waiting: int, cores: int, memory_bytes: int) -> Measured:
    room = Resources(1000 * cores, memory_bytes, UNLIMITED, UNLIMITED)
    books = Books(room, range(cores), rules.ranking)
    began = time.process_time()
    now = float(waiting)
    books.seen_at(now)
    for task in tasks(waiting, memory_bytes):
        books.wait(task)
    build_s, passes_s = time.process_time() - began, []
    for _ in range(ENDS):
        now += 1.0
        books.seen_at(now)
        oldest = min(books.holders(), key=lambda one: one.since, default=None)
        if oldest is not None:
            books.let_go(oldest.task.id)
        began = time.process_time()
        found = arrange(books, rules, MOST_TOLD)
        passes_s.append(time.process_time() - began)
        for one in found.put_down:
            books.let_go(one.holding.task.id)
            books.wait(one.holding.task)
        for start in found.starts:
            books.stop_waiting(start.task.id)
            books.hold(Holding(start.task, start.task.need, books.free_cores[: start.task.cores], now))
    return Measured(build_s, passes_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=100_000)
    waiting = parser.parse_args().waiting
    print(f"{'policy':12} {'scarce':7} {'waiting':>8} {'median ms':>10} {'longest ms':>11} {'building us a job':>18}")
    for name, rules in POLICIES.items():
        for scarce, (cores, memory_bytes) in SCARCE.items():
            for count in (waiting // 100, waiting):
                found = measure(rules, count, cores, memory_bytes)
                ordered = sorted(found.passes_s)
                figures = (1e3 * ordered[len(ordered) // 2], 1e3 * ordered[-1], 1e6 * found.build_s / count)
                print(f"{name:12} {scarce:7} {count:8} {figures[0]:10.2f} {figures[1]:11.2f} {figures[2]:18.0f}")
    print_machines()


def print_machines() -> None:
    for name, rules in POLICIES.items():
        took_s = []
        for cores in MACHINES:
            workload = lublin(REPLAYED, cores, LOAD, seed=1)
            began = time.process_time()
            replay(workload, rules, SWITCH_S)
            took_s.append(time.process_time() - began)
        few_s, many_s = took_s
        ratio = f"{few_s:.2f} s, on {MACHINES[1]} {many_s:.2f}: {many_s / few_s:.1f} times as long"
        print(f"{name:12} {REPLAYED} jobs on {MACHINES[0]} cores {ratio}")


if __name__ == "__main__":
    main()
