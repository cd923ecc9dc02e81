"""The worker process: loads numpy once, forks N rq workers, and keeps N of them alive.

A worker that dies is noticed at once, its place taken by a fresh fork, and the scheduler woken: it finds
the locks of the jobs that died with it. SIGTERM asks every worker to stop, which hands running jobs back with
their state saved; the pool ends when the last of them has.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from types import FrameType

import redis

from jobs.broker import connect, connect_fleetingly, locate
from jobs.home import Home
from jobs.index import LOOK_AT_EVERYTHING, Index
from jobs.queue import run_queue_name
from jobs.store import JobStore

from . import rq_worker
from .process import die_with
from .rehearsal import rehearse
from .workplace import GRACE_S, Workplace

log = logging.getLogger("singlepoint.worker")

SHORT_LIFE_S = 1.0
LONGEST_BACKOFF_S = 5.0


@dataclass
class Slot:
    """One worker's place: who has it since when, and how often in a row it ended within a second."""

    number: int
    pid: int = 0
    name: str = ""
    since_s: float = 0.0
    short_lives: int = 0


class Pool:
    """N rq workers of one home, as children of this process."""

    def __init__(self, home: Home, redis_url: str | None, workers: int) -> None:
        self._home = home
        self._redis_url = redis_url
        self._slots = [Slot(number) for number in range(workers)]
        self._stopping = False
        self._broker = locate(home, redis_url)

    def run(self) -> None:
        """Work until asked to stop. Returns when every worker has ended."""
        rehearse()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        for slot in self._slots:
            self._start(slot)
        log.info("pool_started workers=%d pid=%d", len(self._slots), os.getpid())
        self._ring()
        while any(slot.pid for slot in self._slots):
            self._reap()
        log.info("pool_ended")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, signal.SIGTERM)

    def _start(self, slot: Slot) -> None:
        wait_s = min(LONGEST_BACKOFF_S, 0.1 * 2**slot.short_lives) if slot.short_lives else 0.0
        if wait_s:
            time.sleep(wait_s)
        parent, stamp = os.getpid(), time.time_ns()
        pid = os.fork()
        if pid == 0:
            self._be_worker(parent, rq_worker.unique_name(slot.number, os.getpid(), stamp))
        slot.pid, slot.name = pid, rq_worker.unique_name(slot.number, pid, stamp)
        slot.since_s = time.monotonic()
        if self._stopping:  # asked while we forked: the handler saw no pid yet
            os.kill(pid, signal.SIGTERM)

    def _be_worker(self, parent: int, name: str) -> None:
        """The child: never returns."""
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            die_with(parent)
            index = Index(connect_fleetingly(self._broker), self._home.uuid)
            grace_s = float(os.environ.get("SINGLEPOINT_GRACE_S", GRACE_S))
            place = Workplace(self._home, JobStore(self._home), index, name, grace_s=grace_s)
            rq_worker.run(run_queue_name(self._home.uuid), name, place, connect(self._broker, patient=True))
            status = 0
        except SystemExit:
            status = 0
        except BaseException:  # the child's last words; the pool starts another
            log.exception("worker_failed name=%s", name)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Wait for a worker to end, and put another in its place unless we are stopping."""
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return
        slot = next((one for one in self._slots if one.pid == pid), None)
        if slot is None:
            return
        lived_s = time.monotonic() - slot.since_s
        slot.short_lives = slot.short_lives + 1 if lived_s < SHORT_LIFE_S else 0
        name, slot.pid = slot.name, 0
        log.info("worker_ended name=%s status=%d", name, status)
        if not self._stopping:
            self._start(slot)
        if status != 0:
            self._ring()
            self._forget(name)

    def _ring(self) -> None:
        """Have the scheduler look at every lock: a worker is gone, or new."""
        Index(connect_fleetingly(self._broker), self._home.uuid).ring(LOOK_AT_EVERYTHING)

    def _forget(self, name: str) -> None:
        """Take a worker that was killed out of rq's list; one that ended by itself has done so."""
        connection = connect_fleetingly(self._broker)
        try:
            rq_worker.forget(name, connection)
        except redis.RedisError:
            log.info("worker_not_forgotten name=%s", name)  # rq forgets it by itself, a minute or two later
        finally:
            connection.close()
