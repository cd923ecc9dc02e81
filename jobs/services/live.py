"""Which of a home's services live: supervisor, broker, scheduler, workers.

Read from the locks they sign, the capacity the scheduler publishes and the workers rq knows; nothing is
started here, and a service that died without a word does not count.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from singlepoint.jobs.broker.address import Broker, locate
from singlepoint.jobs.broker.registered import registered_workers
from singlepoint.jobs.broker.wire import dial
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


def look(home: Home, redis_url: str | None = None, *, is_starting: bool = False) -> Services:
    """The services of this home as they are now; takes two seconds at most when Redis does not answer.

    is_starting: a Redis of ours that does not answer at once is not there yet, and is not waited for.
    """
    capacity = read_capacity(home)
    scheduler = capacity.process if capacity is not None and capacity.is_live() else None
    found = Services(holder(home.lock(SUPERVISOR)), scheduler=scheduler)
    broker = locate(home, redis_url)
    connection = dial(broker)
    if connection is None and is_starting and broker.ours:
        return found
    try:
        with closing(connection or _connected(broker)) as answering:
            workers = live_workers(cast("redis.Redis", answering), home)
    except BrokerAway:
        return found
    halted = tuple(pid for pid in workers.values() if pid is not None and is_stopped(pid))
    return replace(found, broker=True, workers=tuple(workers), halted_workers=halted)


def _connected(broker: Broker) -> redis.Redis:
    from singlepoint.jobs.broker.connection import connect  # redis-py: a third of what `up` would load

    return connect(broker)


def live_workers(connection: redis.Redis, home: Home) -> dict[str, int | None]:
    """The registered workers by name, with their pid here; one of this machine whose process is gone does not count."""
    here = socket.gethostname()
    workers = registered_workers(connection, home.uuid)
    pids = {one.name: one.pid if one.host == here else None for one in workers if one.host != here or one.pid}
    return {name: pid for name, pid in sorted(pids.items()) if pid is None or started(pid)}
