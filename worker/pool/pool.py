"""The worker process: loads numpy once, forks N rq workers, and keeps N of them alive, and one more for each
that only holds a paused attempt.

A worker that dies is noticed at once, its place taken by a fresh fork, and the scheduler woken: it finds
the locks of the jobs that died with it. SIGTERM asks every worker to stop, which hands running jobs back with
their state saved; the pool ends when the last of them has.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from types import FrameType

import redis

from singlepoint.jobs.broker.address import locate
from singlepoint.jobs.broker.connection import connect, connect_fleetingly
from singlepoint.jobs.broker.index import LOOK_AT_EVERYTHING, Index
from singlepoint.jobs.broker.refusals import refusal
from singlepoint.jobs.broker.rq_names import run_queue_name
from singlepoint.jobs.errors import NotPermitted, StorageFull
from singlepoint.jobs.host.processes import children, worker_name
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.worker.ground import tree
from singlepoint.worker.ground.process import die_with
from singlepoint.worker.ground.slot import Patience, Slot, until_due_s
from singlepoint.worker.ground.workplace import GRACE_S, Workplace
from singlepoint.worker.models import row_independence
from singlepoint.worker.programs import memory_group

from . import rq_worker
from .orphans import end_orphans
from .preload import rehearse
from .rq_worker import RETIRE

log = logging.getLogger("singlepoint.worker")

CHILD_ENDED = "ended"
ASKED_TO_STOP = "stop"
REQUESTS_TO_STOP = (signal.SIGTERM, signal.SIGINT)
PATIENCE = Patience(steady_s=1.0, longest_after_kill_s=0.0)


@dataclass
class Place(Slot):
    """One worker's place. name: the worker's, as rq shows it.  paused: all it does is keep a paused attempt.
    surplus: it was asked to end after the attempt in its hands, and nobody follows it."""

    number: int
    name: str = ""
    paused: bool = False
    surplus: bool = False


class Pool:
    """N rq workers of one home, as children of this process."""

    def __init__(self, home: Home, redis_url: str | None, workers: int) -> None:
        self._home = home
        self._workers = workers
        self._places = 0
        self._others = frozenset(children(os.getpid()))
        self._slots = [self._place() for _ in range(workers)]
        self._hearing, self._telling = os.pipe()
        self._stopping = False
        self._broker = locate(home, redis_url)

    def run(self) -> None:
        """Work until asked to stop. Returns when every worker has ended."""
        rehearse()
        gc.freeze()  # no child looks for garbage in what is here, nor writes to it: it stays shared
        with contextlib.suppress(StorageFull, NotPermitted):  # told again by the next pool, and by the doctor
            row_independence.record(self._home)
        tree.adopt_orphans()
        end_orphans(self._home)
        if place := memory_group.place():
            place.sweep()
        for number in REQUESTS_TO_STOP:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: self._tell(CHILD_ENDED))
        self._start_due()
        log.info("pool_started workers=%d pid=%d", len(self._slots), os.getpid())
        self._ring()
        while not self._stopping or any(slot.pid for slot in self._slots):
            self._listen(None if self._stopping else until_due_s(self._slots, time.monotonic()))
            self._reap()
            self._fit_to_work()
            self._start_due()
        log.info("pool_ended")

    def _place(self) -> Place:
        self._places += 1
        return Place(self._places - 1, patience=PATIENCE)

    def _listen(self, timeout_s: float | None) -> None:
        """Wait until a worker ends, or says that the attempt in its hands was paused or goes on; or a start is due."""
        if not select.select([self._hearing], [], [], timeout_s)[0]:
            return
        for word in os.read(self._hearing, 4096).decode().split():
            number, _, paused = word.partition("=")
            for slot in self._slots:
                if paused and slot.number == int(number):
                    slot.paused = paused == "paused"

    def _tell(self, word: str) -> None:
        """Said to the pool: by a worker, or by the signal of its end."""
        os.write(self._telling, f"{word} ".encode())

    def _fit_to_work(self) -> None:
        """Have another worker for each that only keeps a paused attempt: the cores it lends need hands. Once it goes
        on, one too many is asked to end when its work has."""
        if self._stopping:
            return
        serving = [slot for slot in self._slots if not slot.paused and not slot.surplus]
        for _ in range(self._workers - len(serving)):
            self._slots.append(self._place())
            log.info("worker_added workers=%d", len(self._slots))
        for slot in serving[self._workers :]:
            slot.surplus = True
            if slot.pid:
                os.kill(slot.pid, RETIRE)
        self._slots = [slot for slot in self._slots if slot.pid or not slot.surplus]

    def _start_due(self) -> None:
        for slot in self._slots:
            if slot.is_due(time.monotonic()):
                self._start(slot)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        self._tell(ASKED_TO_STOP)
        for slot in self._slots:
            if slot.pid:
                with contextlib.suppress(ProcessLookupError):  # reaped this instant
                    os.kill(slot.pid, signal.SIGTERM)

    def _start(self, slot: Place) -> None:
        # Held back across the fork, so that the child hears none by our handler. (Here, a thread of some library may
        # take it all the same.)
        signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS_TO_STOP)
        try:
            if not self._stopping:
                self._fork(slot)
            if self._stopping and slot.pid:  # another thread took the signal, and the handler saw no child yet
                os.kill(slot.pid, signal.SIGTERM)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS_TO_STOP)

    def _fork(self, slot: Place) -> None:
        parent, stamp = os.getpid(), time.time_ns()
        pid = os.fork()
        if pid == 0:
            self._be_worker(parent, slot.number, worker_name(slot.number, os.getpid(), stamp))
        slot.name = worker_name(slot.number, pid, stamp)
        slot.taken(pid, time.monotonic())

    def _be_worker(self, parent: int, number: int, name: str) -> None:
        """The child: never returns."""
        status = 1
        try:
            for one in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(one, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS_TO_STOP)
            die_with(parent)
            tree.adopt_orphans()
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
        except BaseException as error:  # the child's last words; the pool starts another
            refused = refusal(error)  # as long as Redis takes nothing, one after another: where it was is no news
            log.error("worker_failed name=%s error=%r", name, str(refused or error), exc_info=refused is None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Put another worker in the place of each that has ended, unless we are stopping."""
        for slot in list(self._slots):
            if slot.pid:
                pid, status = os.waitpid(slot.pid, os.WNOHANG)
                if pid:
                    self._ended(slot, status)
        self._end_orphans()

    def _end_orphans(self) -> None:
        """End what a worker that was killed left to us: its attempt, and whatever that had started."""
        kept = {slot.pid for slot in self._slots} | self._others
        tree.send(tree.living_children(kept), signal.SIGKILL)

    def _ended(self, slot: Place, status: int) -> None:
        slot.paused = False
        slot.vacated(time.monotonic(), killed=os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)
        log.info("worker_ended name=%s status=%d", slot.name, status)
        if status != 0:
            self._ring()  # first: another worker may be free to go on with its job
        self._fit_to_work()
        self._start_due()
        if status != 0:
            self._forget(slot.name)

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
