"""The worker process: loads numpy once, forks N rq workers, and keeps N of them alive, and one more for each
that only holds a paused attempt.

A worker that dies is noticed at once, its place taken by a fresh fork, and the scheduler woken: it finds
the locks of the jobs that died with it. SIGTERM asks every worker to stop, which hands running jobs back with
their state saved; the pool ends when the last of them has.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from types import FrameType

import redis

from singlepoint.jobs.broker.connection import connect, connect_fleetingly, locate
from singlepoint.jobs.broker.index import LOOK_AT_EVERYTHING, Index
from singlepoint.jobs.broker.rq_queues import run_queue_name
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.worker.ground.process import die_with
from singlepoint.worker.ground.workplace import GRACE_S, Workplace

from . import rq_worker
from .preload import rehearse

log = logging.getLogger("singlepoint.worker")

SHORT_LIFE_S = 1.0
LONGEST_BACKOFF_S = 5.0
CHILD_ENDED = "ended"
REQUESTS_TO_STOP = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Slot:
    """One worker's place: who has it since when, how often in a row it ended within a second, and whether all it
    does is keep a paused attempt."""

    number: int
    pid: int = 0
    name: str = ""
    since_s: float = 0.0
    short_lives: int = 0
    paused: bool = False


class Pool:
    """N rq workers of one home, as children of this process."""

    def __init__(self, home: Home, redis_url: str | None, workers: int) -> None:
        self._home = home
        self._workers = workers
        self._slots = [Slot(number) for number in range(workers)]
        self._hearing, self._telling = os.pipe()
        self._stopping = False
        self._broker = locate(home, redis_url)

    def run(self) -> None:
        """Work until asked to stop. Returns when every worker has ended."""
        rehearse()
        for number in REQUESTS_TO_STOP:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: self._tell(CHILD_ENDED))
        for slot in self._slots:
            self._start(slot)
        log.info("pool_started workers=%d pid=%d", len(self._slots), os.getpid())
        self._ring()
        while any(slot.pid for slot in self._slots):
            self._listen()
            self._reap()
            self._stand_in()
        log.info("pool_ended")

    def _listen(self) -> None:
        """Wait until a worker ends, or says that the attempt in its hands was paused or goes on."""
        for word in os.read(self._hearing, 4096).decode().split():
            number, _, paused = word.partition("=")
            if paused:
                self._slots[int(number)].paused = paused == "paused"

    def _tell(self, word: str) -> None:
        """Said to the pool: by a worker, or by the signal of its end."""
        os.write(self._telling, f"{word} ".encode())

    def _stand_in(self) -> None:
        """Have another worker for each that only keeps a paused attempt: the cores it lends need hands."""
        while not self._stopping and sum(not slot.paused for slot in self._slots) < self._workers:
            self._slots.append(Slot(len(self._slots)))
            self._start(self._slots[-1])
            log.info("worker_added workers=%d", len(self._slots))

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        for slot in self._slots:
            if slot.pid:
                with contextlib.suppress(ProcessLookupError):  # reaped this instant
                    os.kill(slot.pid, signal.SIGTERM)

    def _start(self, slot: Slot) -> None:
        wait_s = min(LONGEST_BACKOFF_S, 0.1 * 2**slot.short_lives) if slot.short_lives else 0.0
        if wait_s:
            time.sleep(wait_s)
        # Held back across the fork: here until the handler can see the child, there until it is no longer our handler.
        signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS_TO_STOP)
        try:
            if not self._stopping:
                self._fork(slot)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS_TO_STOP)

    def _fork(self, slot: Slot) -> None:
        parent, stamp = os.getpid(), time.time_ns()
        pid = os.fork()
        if pid == 0:
            self._be_worker(parent, slot.number, rq_worker.unique_name(slot.number, os.getpid(), stamp))
        slot.pid, slot.name = pid, rq_worker.unique_name(slot.number, pid, stamp)
        slot.since_s = time.monotonic()

    def _be_worker(self, parent: int, number: int, name: str) -> None:
        """The child: never returns."""
        status = 1
        try:
            for one in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(one, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS_TO_STOP)
            die_with(parent)
            index = Index(connect_fleetingly(self._broker), self._home.uuid)
            grace_s = float(os.environ.get("SINGLEPOINT_GRACE_S", GRACE_S))
            place = Workplace(
                self._home,
                JobStore(self._home),
                index,
                name,
                grace_s=grace_s,
                tell_paused=lambda paused: self._tell(f"{number}={'paused' if paused else 'goes_on'}"),
            )
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
        """Put another worker in the place of each that has ended, unless we are stopping."""
        for slot in self._slots:
            if slot.pid:
                pid, status = os.waitpid(slot.pid, os.WNOHANG)
                if pid:
                    self._ended(slot, status)

    def _ended(self, slot: Slot, status: int) -> None:
        slot.paused = False
        lived_s = time.monotonic() - slot.since_s
        was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL  # says nothing of the worker
        slot.short_lives = slot.short_lives + 1 if lived_s < SHORT_LIFE_S and not was_killed else 0
        name, slot.pid = slot.name, 0
        log.info("worker_ended name=%s status=%d", name, status)
        if status != 0:
            self._ring()  # first: another worker may be free to go on with its job
        if not self._stopping:
            self._start(slot)
        if status != 0:
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
