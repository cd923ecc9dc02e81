"""A machine on paper that does at once what is decided; time goes from event to event. Through the same `decide`.

At one instant all completions come first, then all arrivals, then one decision and what follows from it. Starting costs
nothing; putting work down loses `switch_s` seconds of it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from singlepoint.jobs.lifecycle.records import UNLIMITED, Job, Resources, Terms, Units
from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.plan import Decision, Dispatch, Preempt, Resume, TakeBack
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.world.books import Books
from singlepoint.scheduler.world.tasks import NOTHING, Holding, Task

from .workload import Arrival, Workload


@dataclass(slots=True)
class Life:
    """What became of one arrival. left_s: seconds it has still to run.  stints: from, until, and the first core."""

    arrival: Arrival
    left_s: float
    stints: list[tuple[float, float, int]] = field(default_factory=list)
    begun_at: float | None = None
    ended_at: float = math.inf

    @property
    def wait_s(self) -> float:
        """Seconds between submission and end in which it did not get on."""
        return self.ended_at - self.arrival.submit_s - self.arrival.run_s

    @property
    def preemptions(self) -> int:
        return len(self.stints) - 1


@dataclass(frozen=True)
class Replay:
    """lives: in the order of arrival.  decisions: how often the policy was asked."""

    workload: Workload
    policy: str
    switch_s: float
    lives: tuple[Life, ...]
    decisions: int


class Machine:
    """One replay: a view for `decide` and the clock that goes with it."""

    draining = False
    excess = NOTHING

    def __init__(self, cores: int, rules: Rules, switch_s: float, knows: Callable[[Life], float | None]) -> None:
        room = Resources(1000 * cores, UNLIMITED, UNLIMITED, UNLIMITED)
        self.books = Books(room, range(cores), rules.ranking, rules.sharing)
        self.rules, self.switch_s, self.knows = rules, switch_s, knows
        self.lives: dict[str, Life] = {}
        self.decided = 0
        self._ends: list[tuple[float, int, str]] = []
        self._later: list[tuple[float, str]] = []
        self._apart: dict[str, tuple[Task, float, set[str]]] = {}
        self._followers: dict[str, list[str]] = {}

    # --- what a view tells: on paper nothing dies and nobody is in doubt ---------------------------------

    def unprobed(self) -> Iterable[str]:
        return ()

    def dead(self) -> Iterable[tuple[Job, str, str]]:
        return ()

    def doomed(self) -> Iterable[tuple[Job, str]]:
        return ()

    def missing_jobs(self) -> Iterable[Job]:
        return ()

    def free_units(self) -> Units:
        return {}

    def terms(self, task: Task, cores: tuple[int, ...]) -> Terms:
        return Terms(task.need, cores)

    # --- time --------------------------------------------------------------------------------------------

    def play(
        self,
        arrivals: Iterable[Arrival],
        begins_at: float = math.inf,
        until: float = math.inf,
        wanted: Collection[str] | None = None,
    ) -> None:
        """Until everybody has ended, or all that are wanted, or until a time.

        begins_at: when to decide first, though nothing has happened.
        """
        coming = list(reversed(tuple(arrivals)))
        look_again_at = self._settle(begins_at) if begins_at < math.inf else math.inf
        open_still = {*self.lives, *(one.id for one in coming)} if wanted is None else set(wanted)
        while open_still and (coming or self._ends or self._later):
            comes_at = coming[-1].submit_s if coming else math.inf
            now = min(comes_at, *(line[0][0] for line in (self._ends, self._later) if line), look_again_at)
            if now > until:
                return
            self.books.seen_at(now)
            for job_id in self._ended_by(now):
                self.books.let_go(job_id)
                self._follow(job_id, now)
                open_still.discard(job_id)
            while self._later and self._later[0][0] <= now:
                task, _, _ = self._apart.pop(heapq.heappop(self._later)[1])
                self.books.wait(replace(task, since=now))
            while coming and coming[-1].submit_s <= now:
                self._arrives(coming.pop())
            look_again_at = self._settle(now)

    def _ended_by(self, now: float) -> Iterator[str]:
        while self._ends and self._ends[0][0] <= now:
            at, stint, job_id = heapq.heappop(self._ends)
            life = self.lives[job_id]
            if stint == len(life.stints) + 1 and life.begun_at is not None:  # else it was put down before
                life.stints.append((life.begun_at, at, self._first_core(job_id)))
                life.ended_at, life.begun_at, life.left_s = at, None, 0.0
                yield job_id

    def enter(self, life: Life, task: Task) -> None:
        """It waits from now on."""
        self.lives[task.id] = life
        self.books.wait(task)

    def expect(self, life: Life, task: Task, at: float, after: Collection[str] = ()) -> None:
        """It waits from a time on, at the earliest, and once these others have ended."""
        self.lives[task.id] = life
        self._apart[task.id] = (task, at, set(after))
        for other in after:
            self._followers.setdefault(other, []).append(task.id)
        if not after:
            heapq.heappush(self._later, (at, task.id))

    def _follow(self, job_id: str, now: float) -> None:
        """It has ended: who came after it alone comes now."""
        for follower in self._followers.pop(job_id, ()):
            _, at, open_still = self._apart[follower]
            open_still.discard(job_id)
            if not open_still:
                heapq.heappush(self._later, (max(at, now), follower))

    def go_on(self, life: Life, holding: Holding, now: float) -> None:
        """It runs already, and has still to run what is left of it."""
        self.lives[holding.task.id] = life
        self.books.hold(holding)
        life.begun_at = now
        heapq.heappush(self._ends, (now + life.left_s, len(life.stints) + 1, holding.task.id))

    def _arrives(self, arrival: Arrival) -> None:
        life, at = Life(arrival, arrival.run_s), arrival.submit_s
        task = Task(
            id=arrival.id,
            need=Resources(1000 * arrival.cores),
            submitted_at=at,
            since=at,
            priority=arrival.priority,
            project=arrival.project,
            expected_s=self.knows(life),
            longest_s=arrival.limit_s,
            gives_way=arrival.gives_way,
            switch_s=self.switch_s,
        )
        self.enter(life, task)

    def _settle(self, now: float) -> float:
        """Do what is decided until nothing is; when to look again, if nothing happens before."""
        while True:
            plan = decide(self, self.rules, explained=0)
            self.decided += 1
            for decision in plan.decisions:
                self._carry_out(decision, now)
            if not any(isinstance(decision, Preempt | TakeBack) for decision in plan.decisions):
                return self.books.next_change if plan.blocked else math.inf  # by what was just started, too

    def _carry_out(self, decision: Decision, now: float) -> None:
        life = self.lives[decision.job_id]
        if isinstance(decision, Dispatch | Resume):
            task = self.books.task(decision.job_id)
            assert task is not None
            self.books.stop_waiting(task.id)
            self.books.hold(Holding(task, task.need, decision.terms.cores, now))
            life.begun_at = now
            heapq.heappush(self._ends, (now + life.left_s, len(life.stints) + 1, task.id))
        elif isinstance(decision, Preempt | TakeBack):
            self._put_down(life, now)
        else:
            raise TypeError(f"on paper nobody needs {decision}")

    def _put_down(self, life: Life, now: float) -> None:
        holding = self.books.holding(life.arrival.id)
        assert holding is not None and life.begun_at is not None
        ran_s = now - life.begun_at
        life.stints.append((life.begun_at, now, self._first_core(life.arrival.id)))
        life.left_s += self.switch_s - ran_s
        life.begun_at = None
        self.books.let_go(life.arrival.id)
        served_s, longest_s = holding.task.served_s + ran_s, holding.task.longest_s - ran_s + self.switch_s
        self.books.wait(replace(holding.task, served_s=served_s, longest_s=longest_s, expected_s=self.knows(life)))

    def _first_core(self, job_id: str) -> int:
        holding = self.books.holding(job_id)
        return holding.cores[0] if holding is not None and holding.cores else 0


def knows_nothing(_life: Life) -> float | None:
    """As in a trace: only how long a job has run."""
    return None


def knows_all(life: Life) -> float | None:
    """The true remaining time."""
    return life.left_s


def replay(
    workload: Workload, rules: Rules, switch_s: float = 0.0, knows: Callable[[Life], float | None] = knows_nothing
) -> Replay:
    """The whole workload, from the first arrival to the last end."""
    machine = Machine(workload.cores, rules, switch_s, knows)
    machine.play(workload.arrivals)
    return Replay(workload, rules.name, switch_s, tuple(machine.lives.values()), machine.decided)
