"""A worker without work, for tests of the loop: takes attempts from rq's run queue and settles them as told.

It holds the real kernel lock and makes the real moves, all in this process.
"""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Collection
from typing import Any

import redis

from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.broker.rq_names import parse_rq_id
from singlepoint.jobs.broker.rq_queues import DispatchQueue
from singlepoint.jobs.clock import Clock
from singlepoint.jobs.errors import SinglepointError
from singlepoint.jobs.host.processes import boot_id
from singlepoint.jobs.ledger.catalogue import head_of
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.machine.in_force import InForce
from singlepoint.scheduler.machine.own_processes import OwnCpu
from singlepoint.scheduler.runtime.loop import Scheduler
from singlepoint.scheduler.simulation.paper import MIB, budget


def a_dependency(chance: random.Random, number: int) -> str:
    """One of the first `number` jobs `j0`, `j1`, …, and how it must have ended."""
    return f"j{chance.randrange(number)}{chance.choice(['', '', ':any', ':failed'])}"


class Bench:
    """A home with a scheduler and a worker, both moved by hand. now: the time, for all of them."""

    def __init__(
        self,
        store: JobStore,
        connection: redis.Redis,
        *,
        cpu: int = 2,
        memory_mib: int = 4096,
        measure: Callable[[Resources | None, int], Resources] = lambda floor, _workers: floor or Resources(),
    ) -> None:
        self.now = 1_900_000_000.0
        self.policy = "fifo"
        self.store = store
        self.connection = connection
        self.index = Index(connection, store.home.uuid)
        self.queue = DispatchQueue(connection, store.home.uuid)
        self.locks: dict[str, int] = {}
        self.trouble: SinglepointError | None = None
        self.words = ""
        self.cpu, self.memory_mib, self.measure = cpu, memory_mib, measure
        self.own_cpu: Callable[[], OwnCpu] = OwnCpu
        self.page = Resources()
        self.scheduler = self.new_scheduler()

    def clock(self) -> float:
        return self.now

    def new_scheduler(self) -> Scheduler:
        clock: Clock = self.clock
        made = Scheduler(
            self.store,
            lambda: self.connection,
            budget(self.cpu, self.memory_mib),
            range(self.cpu),
            measure=self.measure,
            own_cpu=self.own_cpu,
            page=lambda _before: self.page,
            policy=lambda: self.policy,
            budget_at=self.budget_at,
            clock=clock,
            monotonic=clock,
        )
        made.start()
        self.scheduler = made
        return made

    def budget_at(self, _at: float, _held: Collection[int]) -> InForce:
        """What a test made of `cpu`, `memory_mib` and `words` by now; or what it has wrong."""
        if self.trouble is not None:
            raise self.trouble
        return InForce(budget(self.cpu, self.memory_mib), tuple(range(self.cpu)), self.words)

    # --- the client --------------------------------------------------------------------------------------

    def submit(self, **facts: Any) -> str:
        self.now += 0.001  # so that first come is first served
        requests = Resources(1000, 512 * MIB).to_json()
        job = self.store.create(b"{}", {"name": "job", "kind": "train", "requests": requests, **facts}, self.now)
        self.index.tell(job)
        return job.id

    # --- the scheduler -----------------------------------------------------------------------------------

    def look(self, seconds: float = 0.0) -> None:
        """Time passes, and the scheduler takes in whatever rang."""
        self.now += seconds
        rung: list[Any] = list(self.connection.lrange(self.index.key("bell"), 0, -1))
        self.connection.delete(self.index.key("bell"))
        self.scheduler.look([item.decode() for item in rung])

    # --- the worker --------------------------------------------------------------------------------------

    def pop(self) -> tuple[str, int] | None:
        """The next attempt from the run queue."""
        name: Any = self.connection.lpop(self.queue.run.key)
        return parse_rq_id(name.decode()) if name else None

    def lock(self, job_id: str) -> None:
        descriptor = os.open(self.store.lock_path(job_id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.locks[job_id] = descriptor

    def claim(self, worker: str = "pretend") -> str:
        """Take the next attempt and begin it."""
        taken = self.pop()
        assert taken is not None, "the run queue is empty"
        job_id, attempt = taken
        self.lock(job_id)
        job = self.store.move(job_id, Event.CLAIM, self.now, attempt=attempt, worker=worker, boot_id=boot_id())
        self.index.tell(job)
        return job_id

    def end(self, job_id: str, event: Event = Event.SUCCEED, **facts: Any) -> None:
        attempt = self.load(job_id).attempt
        job = self.store.move(job_id, event, self.now, attempt=attempt, **{"end": "succeeded", **facts})
        self.die(job_id)
        self.index.tell(job)

    def die(self, job_id: str) -> None:
        """The process ends without a word."""
        os.close(self.locks.pop(job_id))

    def ring(self, what: str) -> None:
        self.index.ring(what)

    # --- what is true ------------------------------------------------------------------------------------

    def load(self, job_id: str) -> Job:
        return self.store.load(job_id)

    def note(self, job_id: str, note: Note, **facts: Any) -> None:
        self.index.tell(self.store.note(job_id, note, self.now, **facts))

    def states(self) -> dict[str, str]:
        return {job_id: self.load(job_id).state.value for job_id in self.store.ids()}

    def told(self) -> dict[str, str]:
        """The states as they are told: by the index of what goes on, by the ledger of what has ended."""
        ended = {head.id: head.state for head in map(head_of, self.store.catalogue.lines())}
        return ended | {row["id"]: row["state"] for row in self.index.summaries()}
