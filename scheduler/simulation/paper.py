"""A machine on paper: jobs in memory, moved by the real life cycle and decided on by the real policy.

No disk, no Redis, no clock but `now`. `granted` adds up what the histories say, independently of the world's books.
"""

from __future__ import annotations

from typing import Any

from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle import retry
from singlepoint.jobs.lifecycle.history import Note, step
from singlepoint.jobs.lifecycle.reasons import Surroundings, with_reason
from singlepoint.jobs.lifecycle.records import UNLIMITED, Job, Resources
from singlepoint.jobs.lifecycle.states import FINAL, Event, State
from singlepoint.jobs.lifecycle.summary import summary
from singlepoint.scheduler.policy import fifo
from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.host.state import Host
from singlepoint.scheduler.policy.host.strain import Strain
from singlepoint.scheduler.policy.plan import (
    Decision,
    Dispatch,
    Fail,
    Pause,
    Plan,
    Preempt,
    PushAgain,
    Rescue,
    Resume,
    TakeBack,
)
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.policy.shortage import told
from singlepoint.scheduler.world.places import Place
from singlepoint.scheduler.world.world import World

MIB = 2**20
BOOT = "this boot"


def budget(cpu: int = 2, memory_mib: int = 4096) -> Resources:
    return Resources(1000 * cpu, memory_mib * MIB, UNLIMITED, UNLIMITED)


class Paper:
    """See the module. alive: the jobs whose lock is held."""

    def __init__(
        self, cpu: int = 2, memory_mib: int = 4096, now: float = 1_000_000.0, rules: Rules = fifo.RULES
    ) -> None:
        self.now = now
        self.rules = rules
        self.plan = Plan()
        self.strain: Strain | None = None
        self.jobs: dict[str, Job] = {}
        self.unfinished: dict[str, Job] = {}
        self.alive: set[str] = set()
        self.boot_id = BOOT
        self.decisions: list[Decision] = []
        self.world = World(budget(cpu, memory_mib), range(cpu), boot_id=BOOT, ranking=rules.ranking)
        self.world.books.rank_by(rules.ranking, rules.sharing)
        self.world.seen_at(now)

    # --- what clients and workers do ---------------------------------------------------------------------

    def submit(self, job_id: str, *, cpu: float = 1, memory_mib: int = 512, **facts: Any) -> Job:
        self.now += 0.001  # so that first come is first served
        requests = Resources(int(1000 * cpu), memory_mib * MIB).to_json()
        return self._append(job_id, Event.ACCEPT, {"name": job_id, "kind": "train", "requests": requests, **facts})

    def claim(self, job_id: str) -> Job:
        self.alive.add(job_id)
        return self._append(job_id, Event.CLAIM, {"attempt": self.jobs[job_id].attempt, "boot_id": self.boot_id})

    def end(self, job_id: str, event: Event = Event.SUCCEED, *, end: str | None = None, **facts: Any) -> Job:
        """The attempt settles, and its process leaves."""
        word = end or {Event.SUCCEED: "succeeded", Event.HAND_BACK: "preempted"}.get(event, "failed")
        job = self._append(job_id, event, {"attempt": self.jobs[job_id].attempt, "end": word, **facts})
        self.die(job_id)
        return job

    def move(self, job_id: str, event: Event, **facts: Any) -> Job:
        return self._append(job_id, event, facts)

    def note(self, job_id: str, note: Note, **facts: Any) -> Job:
        return self._append(job_id, note, facts)

    def die(self, job_id: str) -> None:
        """The process is gone, whatever the history says."""
        self.alive.discard(job_id)
        self.look_at_locks()

    def look_at_locks(self) -> None:
        for job_id, job in self.unfinished.items():
            if job.attempts:
                self.world.lock_seen(job_id, job_id in self.alive)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.world.seen_at(self.now)

    # --- what the scheduler does -------------------------------------------------------------------------

    def settle(self, rounds: int = 50) -> list[Decision]:
        """Decide and do until nothing is left; what was decided."""
        made: list[Decision] = []
        for _ in range(rounds):
            self.look_at_locks()
            self.plan = decide(self.world, self.rules, Host(self.strain))
            decisions = self.plan.decisions
            if not decisions:
                self.decisions += made
                return made
            for decision in decisions:
                self._carry_out(decision)
            made += decisions
        raise AssertionError(f"never settles: {decisions}")

    def _carry_out(self, decision: Decision) -> None:
        job = self.jobs[decision.job_id]
        match decision:
            case Dispatch():
                facts = {"attempt": decision.attempt, "terms": decision.terms.to_json()}
                self._append(job.id, Event.DISPATCH, facts)
            case Rescue():
                event, facts = retry.after_death(job, end=decision.end, cause=decision.cause, steps=1, at=self.now)
                self._append(job.id, event, {"attempt": job.attempt, **facts})
            case Resume():
                self._append(job.id, Note.REVISE, {"terms": decision.terms.to_json()})
            case Preempt():
                self._append(job.id, Note.ASK, {"ask": "preempt", "by": "scheduler"})
            case Pause():
                self._append(job.id, Note.ASK, {"ask": "pause", "by": "scheduler"})
            case TakeBack():
                self._append(job.id, Event.LOSE, {"attempt": job.attempt, "end": "lost", "cause": decision.cause})
            case Fail():
                self._append(job.id, Event.FAIL, {"reason": decision.reason})
            case PushAgain():
                self.world.pushed(job.id)

    # --- what is true ------------------------------------------------------------------------------------

    def reason(self, job_id: str) -> str | None:
        """What every front end says of a job, by what a scheduler would have told."""
        row = with_reason(summary(self.jobs[job_id]), self.surroundings())
        return None if row["reason"] is None else str(row["reason"])

    def surroundings(self) -> Surroundings:
        states = {job_id: job.state.value for job_id, job in self.jobs.items()}
        say = told(self.world, self.plan, self.world.lines[Place.ENDING])
        return Surroundings(self.now, states, self.world.room, say, draining=self.world.draining)

    def granted(self) -> Resources:
        open_jobs = (job for job in self.unfinished.values() if job.state in (State.QUEUED, State.RUNNING))
        return sum((job.attempts[-1].terms.resources for job in open_jobs), Resources())

    def cores(self) -> list[int]:
        open_jobs = (job for job in self.unfinished.values() if job.state in (State.QUEUED, State.RUNNING))
        return sorted(core for job in open_jobs for core in job.attempts[-1].terms.cores)

    def in_state(self, state: State) -> list[str]:
        among = self.jobs if state in FINAL else self.unfinished
        return [job_id for job_id, job in among.items() if job.state is state]

    def dispatched(self) -> list[str]:
        """The ids of all dispatches so far, in order."""
        return [decision.job_id for decision in self.decisions if isinstance(decision, Dispatch)]

    def _append(self, job_id: str, event: Event | Note, facts: dict[str, Any]) -> Job:
        job = step(job_id, self.jobs.get(job_id), {"at": iso(self.now), "event": event.value, **facts})
        self.jobs[job_id] = job
        if job.is_final:
            self.unfinished.pop(job_id, None)
        else:
            self.unfinished[job_id] = job
        self.world.see(job)
        return job
