"""A machine on paper: it does at once what is decided, and time goes from event to event."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

from singlepoint.jobs.lifecycle.records import UNLIMITED, Resources
from singlepoint.scheduler.policy.arrange import arrange
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.world.books import Books
from singlepoint.scheduler.world.tasks import Holding, Task

from .workload import Arrival, Workload


@dataclass(slots=True)
class Fate:
    arrival: Arrival
    left_s: float
    first_start: float | None = None
    ended: float = -1.0
    preempted: int = 0
    served: float = 0.0
    stamp: int = 0


class Machine:
    def __init__(self, cores: int, rules: Rules, switch_s: float = 0.0) -> None:
        room = Resources(1000 * cores, UNLIMITED, UNLIMITED, UNLIMITED)
        self.books = Books(room, range(cores), rules.ranking)
        self.rules = rules
        self.switch_s = switch_s
        self.fates: dict[str, Fate] = {}
        self.ends: list[tuple[float, int, str]] = []
        self.busy = 0.0
        self.decides = 0

    def play(self, workload: Workload) -> list[Fate]:
        arrivals = list(reversed(workload.arrivals))
        again = None
        inf = float("inf")
        while arrivals or self.ends:
            t = min(arrivals[-1].submit_s if arrivals else inf, self.ends[0][0] if self.ends else inf)
            if again is not None and again < t:
                t = again
            self.books.seen_at(t)
            while self.ends and self.ends[0][0] <= t:
                _, stamp, id_ = heapq.heappop(self.ends)
                fate = self.fates[id_]
                if fate.stamp == stamp:
                    self.books.let_go(id_)
                    fate.ended = t
                    self.busy += fate.arrival.cores * fate.arrival.run_s
            while arrivals and arrivals[-1].submit_s <= t:
                a = arrivals.pop()
                self.fates[a.id] = Fate(a, a.run_s)
                self.books.wait(
                    Task(
                        a.id,
                        Resources(1000 * a.cores),
                        a.submit_s,
                        a.submit_s,
                        longest_s=a.limit_s,
                        gives_way=a.gives_way,
                        switch_s=self.switch_s,
                    )
                )
            again = self.settle(t)
        return list(self.fates.values())

    def settle(self, t: float) -> float | None:
        while True:
            self.decides += 1
            found = arrange(self.books, self.rules)
            for put in found.put_down:
                h = put.holding
                fate = self.fates[h.task.id]
                fate.stamp += 1
                ran = t - h.since
                fate.served += ran
                fate.left_s += self.switch_s - ran
                fate.preempted += 1
                self.books.let_go(h.task.id)
                self.books.wait(replace(h.task, served_s=fate.served))
            for s in found.starts:
                fate = self.fates[s.task.id]
                if fate.first_start is None:
                    fate.first_start = t
                fate.stamp += 1
                self.books.stop_waiting(s.task.id)
                self.books.hold(Holding(s.task, s.task.need, s.cores, t))
                heapq.heappush(self.ends, (t + fate.left_s, fate.stamp, s.task.id))
            if not found.put_down:
                return found.look_again_at
