"""Random workloads through the real decisions, on a machine on paper: whatever comes, goes and dies, under whatever
policy and timetable, nothing is granted beyond the budget, nothing is granted twice, and everybody ends.

`SINGLEPOINT_EXAMPLES` says how many workloads; ten thousand take some minutes.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import random
from collections import Counter

import pytest

from singlepoint.jobs.lifecycle.dependencies import parse_after
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.jobs.lifecycle.states import Ask, Author, Event, State
from singlepoint.scheduler.machine.budget import Machine, parse_budget
from singlepoint.scheduler.machine.budget_cores import BudgetCores
from singlepoint.scheduler.machine.in_force import holding
from singlepoint.scheduler.policy.host.strain import Strain
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.policy.plan import Dispatch, Resume, TakeBack
from singlepoint.scheduler.simulation.paper import MIB, Paper

EXAMPLES = int(os.environ.get("SINGLEPOINT_EXAMPLES", "200"))
SHARES = 10

MACHINE = Machine(cores=(0, 1, 2, 3), memory_bytes=4096 * MIB)
ALL = "cpu=4,memory=4GiB,gpu=2,licence=1"
HOUR_S = 3600.0
MONDAY_S = 1_000_080_000.0 - 3 * 86_400  # whichever day that is: the timetable only needs hours
GRACE_S = 30.0
MOST_KILLS = 3
LONGEST_S = 60 * 24 * HOUR_S


class Workload:
    """One of them. left_s: what each job has still to run.  began_s: since when it runs, for those that do."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.paper = Paper(now=MONDAY_S, rules=chance.choice([*POLICIES.values()]))
        self.cores = BudgetCores(MACHINE.cores, {}, dict)
        # Between them everything is there.
        self.times = {f"{begin}:00-{(begin + chance.randrange(1, 6)) % 24}:00": self._words() for begin in (2, 9, 15)}
        self.left_s: dict[str, float] = {}
        self.began_s: dict[str, float] = {}
        self.kills: Counter[str] = Counter()
        self.said: set[tuple[str, int, str]] = set()
        self.order = itertools.count()
        self.coming: list[tuple[float, int, str, str]] = []
        self.look_at_the_timetable()
        arrivals = [MONDAY_S + chance.expovariate(1 / (12 * HOUR_S)) for _ in range(chance.randrange(1, 13))]
        for number, at in enumerate(sorted(arrivals)):
            self.at(at, "submit", f"j{number}")
        for day_s in (0.0, 86_400.0):
            begins_s = MONDAY_S + day_s + chance.random() * 86_400
            self.at(begins_s, "strain")
            self.at(begins_s + chance.random() * HOUR_S, "ease")

    def _words(self) -> str:
        """A budget of a part of the day: less of some things, and of some things nothing."""
        chance = self.chance
        words = [f"cpu={chance.randrange(1, 5)}", f"memory={chance.choice((512, 1024, 4096))}MiB"]
        return ",".join([*words, f"gpu={chance.randrange(3)}", f"licence={chance.randrange(2)}"])

    def at(self, when_s: float, what: str, job_id: str = "") -> None:
        heapq.heappush(self.coming, (when_s, next(self.order), what, job_id))

    # --- what happens ------------------------------------------------------------------------------------

    def look_at_the_timetable(self) -> None:
        """The budget that holds now; it is looked at every hour."""
        now = self.paper.now
        span = holding(self.times, 0, int(now % 86_400 // 60))
        budget = parse_budget(f"{ALL},{self.times[span]}" if span else ALL, MACHINE)
        if budget != self.paper.world.budget:
            self.paper.world.budget_changed(budget, Resources(), self.cores(budget, MACHINE))
        self.at((now // HOUR_S + 1) * HOUR_S, "timetable")

    def submit(self, job_id: str) -> None:
        chance, number = self.chance, int(job_id[1:])
        counted = {name: 1 for name in ("gpu", "licence") if chance.random() < 0.3}
        requests = {"cpu_millis": 1000 * chance.randrange(1, 5), "memory_bytes": chance.randrange(1, 2048) * MIB}
        after = (
            [f"j{chance.randrange(number)}{chance.choice(['', ':any'])}"] if number and chance.random() < 0.2 else []
        )
        self.left_s[job_id] = chance.lognormvariate(math.log(HOUR_S), 1.5)
        facts = {"priority": chance.choice((0, 0, 0, 5)), "preemptible": chance.random() < 0.8}
        self.paper.submit(job_id, requests={**requests, "counted": counted}, after=after, **facts)
        assert all(parse_after(one) for one in after)
        if chance.random() < 0.1:
            self.at(self.paper.now + chance.random() * HOUR_S, "hold", job_id)

    def step(self, what: str, job_id: str) -> None:
        job = self.paper.unfinished.get(job_id)
        if what == "timetable":
            self.look_at_the_timetable()
        elif what == "submit":
            self.submit(job_id)
        elif what in ("strain", "ease"):
            self.paper.strain = Strain("it is short of memory", self.paper.now) if what == "strain" else None
        elif job is not None:
            getattr(self, f"_{what}")(job)

    def _claim(self, job: Job) -> None:
        if job.state is State.QUEUED:
            self.paper.claim(job.id)
            self._runs(job)

    def _runs(self, job: Job) -> None:
        self.began_s[job.id] = self.paper.now
        dies = self.kills[job.id] < MOST_KILLS and self.chance.random() < 0.2
        left_s = self.left_s[job.id]
        self.at(self.paper.now + (self.chance.random() * left_s if dies else left_s), "die" if dies else "end", job.id)

    def _stops(self, job: Job, *, keeps: float = 1.0) -> bool:
        """Whether it ran until now; what it did counts as far as it was saved."""
        began_s = self.began_s.pop(job.id, None)
        if began_s is not None:
            self.left_s[job.id] = max(1.0, self.left_s[job.id] - keeps * (self.paper.now - began_s))
        return began_s is not None

    def _end(self, job: Job) -> None:
        began_s = self.began_s.get(job.id)
        if began_s is not None and self.paper.now >= began_s + self.left_s[job.id] - 1e-3 and not job.paused:
            self._stops(job)
            self.paper.end(job.id, self.chance.choice((Event.SUCCEED, Event.SUCCEED, Event.SUCCEED, Event.FAIL)))

    def _die(self, job: Job) -> None:
        if job.id in self.began_s and job.state is State.RUNNING:
            self.kills[job.id] += 1
            self._stops(job, keeps=0.5)
            self.paper.die(job.id)

    def _hold(self, job: Job) -> None:
        """Its owner pauses it for a while."""
        if job.state is State.RUNNING and job.id in self.paper.alive and not job.asks:
            self.paper.note(job.id, Note.ASK, ask=Ask.PAUSE.value, by=Author.USER.value)
            self.at(self.paper.now + 4 * HOUR_S, "free", job.id)

    def _free(self, job: Job) -> None:
        self.paper.note(job.id, Note.RESUME)

    def _answer(self, job: Job) -> None:
        """It has heard what it was asked: hands back, or stands still."""
        if job.state is not State.RUNNING or job.id not in self.paper.alive:
            return
        if Ask.PREEMPT in job.asks:
            self._stops(job)
            self.paper.end(job.id, Event.HAND_BACK)
        elif Ask.PAUSE in job.asks and not job.paused:
            self._stops(job)
            self.paper.note(job.id, Note.PAUSE)

    def _go_on(self, job: Job) -> None:
        if job.paused and job.terms is not None and job.terms.cores and job.id in self.paper.alive:
            self.paper.note(job.id, Note.GO_ON)
            self._runs(job)

    # --- what follows ------------------------------------------------------------------------------------

    def decide(self) -> None:
        before = self.paper.granted()
        decisions = self.paper.settle()
        mended = any(isinstance(one, TakeBack) for one in decisions)  # then there is room at once
        if not mended and not before.fits_in(self.paper.world.room):
            assert not any(isinstance(one, Dispatch | Resume) for one in decisions), "granted while over the budget"
        for job in self.paper.unfinished.values():
            for what, holds, longest_s in (
                ("claim", job.state is State.QUEUED, 5.0),
                ("answer", Ask.PREEMPT in job.asks or (Ask.PAUSE in job.asks and not job.paused), GRACE_S),
                ("go_on", job.paused and bool(job.terms and job.terms.cores), 1.0),
            ):
                asked = "+".join(sorted(job.asks))  # one that stands still may be asked for its memory, too
                say = (job.id, job.attempt + len(job.attempts), f"{what}{asked}{job.terms and job.terms.revision}")
                if holds and say not in self.said:
                    self.said.add(say)
                    self.at(self.paper.now + self.chance.random() * longest_s, what, job.id)
        self.check()

    def check(self) -> None:
        """Whatever the histories say was granted, and does not leave, fits; and nobody has what another has."""
        paper = self.paper
        open_jobs = [job for job in paper.unfinished.values() if job.state in (State.QUEUED, State.RUNNING)]
        staying = sum((_staying(job) for job in open_jobs), Resources())
        assert staying.fits_in(paper.world.room), (staying, paper.world.room)
        cores = Counter(core for job in open_jobs if job.terms for core in job.terms.cores)
        units = Counter(
            (name, unit) for job in open_jobs if job.terms for name, has in job.terms.units.items() for unit in has
        )
        assert all(count == 1 for count in (*cores.values(), *units.values())), (cores, units)

    def live(self) -> None:
        while self.coming:
            if not self.paper.unfinished and not any(what == "submit" for _, _, what, _ in self.coming):
                return
            when_s, _, what, job_id = heapq.heappop(self.coming)
            self.pass_time(when_s)
            self.step(what, job_id)
            self.decide()
            assert self.paper.now < MONDAY_S + LONGEST_S, {
                job.id: (self.paper.reason(job.id), job.state) for job in self.paper.unfinished.values()
            }

    def pass_time(self, until_s: float) -> None:
        """Until then, with a look whenever time alone may change something."""
        while (alarm := self._alarm()) < until_s:
            self.paper.pass_time(max(0.001, alarm - self.paper.now))
            self.decide()
        self.paper.pass_time(max(0.0, until_s - self.paper.now))

    def _alarm(self) -> float:
        times = (self.paper.world.next_alarm(), self.paper.plan.look_again_at)
        return max(self.paper.now + 0.001, min((at for at in times if at is not None), default=math.inf))


def _staying(job: Job) -> Resources:
    """What it was granted and is not about to give back."""
    assert job.terms is not None
    granted = job.terms.resources
    if Ask.PREEMPT in job.asks:
        return Resources()
    going = Resources(granted.cpu_millis) if Ask.PAUSE in job.asks else Resources()
    return granted - going


@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_is_granted_beyond_the_budget_or_twice_and_everybody_ends(share: int) -> None:
    for seed in range(share, EXAMPLES, SHARES):
        workload = Workload(seed)
        workload.live()
        assert workload.paper.unfinished == {}, f"workload {seed}"
