"""Which of a home's services live: supervisor, broker, scheduler, workers.

Read from the locks they sign, the capacity the scheduler publishes and the workers rq knows; nothing is
started here, and a service that died without a word does not count.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from singlepoint.jobs.broker.address import locate
from singlepoint.jobs.errors import BrokerAway
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.processes import ProcessId, is_stopped, started
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.store.home import Home

if TYPE_CHECKING:
    import redis

SUPERVISOR = "supervisor"


@dataclass(frozen=True)
class Services:
    """What lives now.

    broker: whether Redis answers; the process is only known of our own.  scheduler: the one whose capacity
    is published.  workers: their rq names.  halted_workers: pids of those that were stopped by a signal.
    """

    supervisor: ProcessId | None = None
    broker: bool = False
    scheduler: ProcessId | None = None
    workers: tuple[str, ...] = ()
    halted_workers: tuple[int, ...] = ()

    def missing(self, workers: int = 1) -> Iterator[str]:
        """What is not there, in the order in which one needs the other."""
        if not self.broker:
            yield "Redis does not answer"
        if self.scheduler is None:
            yield "the scheduler has not published its budget"
        if len(self.workers) < workers:
            yield f"{len(self.workers)} of {workers} workers have registered"


def look(home: Home, redis_url: str | None = None) -> Services:
    """The services of this home as they are now; takes two seconds at most when Redis does not answer."""
    from singlepoint.jobs.broker.connection import connect  # not for a supervisor, which asks for none of this

    capacity = read_capacity(home)
    scheduler = capacity.process if capacity is not None and capacity.is_live() else None
    try:
        with connect(locate(home, redis_url)) as connection:
            workers = live_workers(connection, home)
            halted = tuple(pid for pid in workers.values() if pid is not None and is_stopped(pid))
            return Services(holder(home.lock(SUPERVISOR)), True, scheduler, tuple(workers), halted)
    except BrokerAway:
        return Services(holder(home.lock(SUPERVISOR)), False, scheduler)


def live_workers(connection: redis.Redis, home: Home) -> dict[str, int | None]:
    """The registered workers by name, with their pid here; one of this machine whose process is gone does not count."""
    from singlepoint.jobs.broker.rq_queues import DispatchQueue

    here = socket.gethostname()
    workers = DispatchQueue(connection, home.uuid).workers()
    pids = {one.name: one.pid if one.host == here else None for one in workers if one.host != here or one.pid}
    return {name: pid for name, pid in sorted(pids.items()) if pid is None or started(pid)}
