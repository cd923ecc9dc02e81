"""The one rq worker class: takes attempts from the run queue, has each made in a child, and never loses sight
of it.

What it changes of rq's Worker, and why (rq 3.0, pinned):
- a job may call one function only, whatever Redis says;
- rq's books are kept by the parent alone, one round trip when an attempt begins and one when it has ended: Redis, which
  has every write on disk before it answers, syncs twice an attempt; the child makes the attempt and nothing else;
- the scheduler is woken when the child is gone, so that what it was granted is free by then;
- the child dies with its parent, and this worker with the pool's process;
- SIGTERM asks the child to save and hand back, instead of waiting for the end of the job;
- a child that died is recorded in its job's history at once, with its cause, and rq never retries it;
- a child above its memory, or deaf to a request to stop, is killed, and nothing that it started outlives it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterable
from typing import Any, cast

import redis
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.queue import Queue as RqQueue
from rq.timeouts import HorseMonitorTimeoutException
from rq.worker import Worker, WorkerStatus

from singlepoint.jobs.broker.rq_names import FUNCTION, FUNCTION_OF_0_1, parse_rq_id
from singlepoint.jobs.host.free_memory import give_back_free_memory, keep_free_memory
from singlepoint.jobs.host.processes import children
from singlepoint.worker.attempt import pipeline
from singlepoint.worker.ground import tree
from singlepoint.worker.ground.process import die_with, kill_group, wait_for_exit
from singlepoint.worker.ground.workplace import Workplace

from .watch import Watch

log = logging.getLogger("singlepoint.worker")

RETIRE = signal.SIGUSR1
"""Sent to a worker that is one too many: it ends once the attempt in its hands has, which is not disturbed."""

WATCH_S = 0.25
"""How often a running child is looked at: its memory, and requests it does not answer."""

BEAT_S = 1.0
"""A worker that lives says so no more often than this, however short its attempts are."""


class AttemptJob(RqJob):
    """An rq job that can only be an attempt: one function, called with what the entry's id says, and no callbacks."""

    success_callback = failure_callback = stopped_callback = None  # rq would import what Redis names

    def _execute(self) -> Any:
        job_id, number = parse_rq_id(self.id)
        if self.func_name not in (FUNCTION, FUNCTION_OF_0_1) or self.kwargs or list(self.args) != [job_id, number]:
            raise ValueError(f"{self.id} asks for {self.func_name!r}; only {FUNCTION}(job, attempt) is ever called")
        return pipeline.perform(job_id, number)


class RunQueue(RqQueue):
    """The run queue. What cannot be read as an entry of ours is dropped; rq would end the worker that took it."""

    job_class = AttemptJob

    @classmethod
    def dequeue_any(cls, queues: Iterable[RqQueue], *arguments: Any, **options: Any) -> Any:
        while True:
            try:
                return super().dequeue_any(queues, *arguments, **options)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                # One of ours is pushed again: the scheduler soon finds that no queue has it.
                log.warning("foreign_entry_dropped error=%r", str(error)[:200])
                for queue in queues:
                    drop_unreadable(queue, getattr(error, "job_id", None))


def drop_unreadable(queue: RqQueue, culprit: str | None) -> None:
    """Take what is no attempt's id, and `culprit`, out of what was popped and not begun."""
    for entry in cast("list[bytes]", queue.connection.lrange(queue.intermediate_queue_key, 0, -1)):
        try:
            is_ours = parse_rq_id(entry.decode()) is not None and entry.decode() != culprit
        except ValueError:
            is_ours = False
        if not is_ours:
            queue.connection.lrem(queue.intermediate_queue_key, 0, entry)  # type: ignore[arg-type]


class AttemptWorker(Worker):
    """See the module. `place` is where its attempts are made."""

    job_class = AttemptJob
    queue_class = RunQueue

    def __init__(self, *arguments: Any, place: Workplace, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._place = place
        self._watch: Watch | None = None
        self._is_draining = False
        self._others = frozenset(children(os.getpid()))  # those there before are nobody's orphans
        self._next_beat_s = 0.0
        pipeline.work_at(place)

    def execute_job(self, job: RqJob, queue: RqQueue) -> None:
        """As rq's; what somebody else put into our queue is dropped before anybody looks at what it asks for."""
        try:
            parse_rq_id(job.id)
        except ValueError as error:
            log.warning("foreign_entry_dropped error=%r", str(error))
            drop_unreadable(queue, job.id)
        else:
            super().execute_job(job, queue)

    def prepare_execution(self, job: RqJob) -> Execution:
        """As rq's, with all that rq would have the child tell of the beginning."""
        ttl_s = self.get_heartbeat_ttl(job)
        with self.connection.pipeline() as pipe:
            execution = Execution.create(job, ttl_s, pipeline=pipe, worker_name=self.name)
            self.executions[execution.id] = execution
            self.set_state(WorkerStatus.BUSY, pipeline=pipe)
            self.heartbeat(ttl_s, pipeline=pipe)
            job.prepare_for_execution(self.name, pipeline=pipe)
            pipe.persist(job.key)
            pipe.lrem(self.queues[0].intermediate_queue_key, 1, job.id)
            pipe.execute()
        return execution

    def fork_work_horse(self, job: RqJob, queue: RqQueue) -> None:
        give_back_free_memory()
        self._watch = Watch(self._place, *parse_rq_id(job.id))
        self._parent = os.getpid()
        self._others = frozenset(children(self._parent))
        # Held back across the fork, so that a request to stop finds either no child or one that hears it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            super().fork_work_horse(job, queue)
            if self._is_draining:  # it came just before: the handler had no child to tell
                self._ask_horse_to_stop()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def main_work_horse(self, job: RqJob, queue: RqQueue) -> None:
        die_with(self._parent)
        keep_free_memory()
        super().main_work_horse(job, queue)

    def perform_job(self, job: RqJob, queue: RqQueue, execution: Execution) -> bool:
        """The attempt, in the child; whatever it raises is told in its log, and the watch sees what it left undone."""
        try:
            job.perform()
        except Exception:
            log.exception("attempt_not_made id=%s", job.id)
            return False
        return True

    def setup_work_horse_signals(self) -> None:
        # Until the attempt has its own handler, a request to stop must not kill it between claim and work.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, pipeline.remember_drain)
        signal.signal(RETIRE, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def handle_warm_shutdown_request(self) -> None:
        """Ask the child to save and hand back; the watch insists, if it must."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._is_draining = True
        if self.horse_pid:
            self._ask_horse_to_stop()

    def _ask_horse_to_stop(self) -> None:
        # By its pid, not its group: it may not have one of its own yet, and ours is the pool's.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.horse_pid, signal.SIGTERM)
        if self._watch is not None:
            self._watch.drain_began()

    def _install_signal_handlers(self) -> None:
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        signal.signal(RETIRE, self._retire)

    def _retire(self, _number: int, _frame: object) -> None:
        self._shutdown()  # type: ignore[no-untyped-call]

    def teardown(self) -> None:
        """As rq's, but never waiting for a Redis that is away: it forgets a worker by itself, a minute later."""
        self.connection = self._place.index.connection
        with contextlib.suppress(redis.RedisError):
            super().teardown()  # type: ignore[no-untyped-call]

    def set_shutdown_requested_date(self) -> None:
        """Not recorded in Redis: this runs in a signal handler, and Redis may be away."""

    def monitor_work_horse(self, job: RqJob, queue: RqQueue, execution: Execution) -> None:
        """As rq's; then close its books on the attempt, however that ended: the history has it.

        Raises StopRequested when the worker was asked to stop: what rq would tell Redis next could wait for long.
        """
        super().monitor_work_horse(job, queue, execution)
        # From here on a request to stop is heard at once, even while the books wait for a Redis that is away.
        self._state = WorkerStatus.IDLE
        if self._stop_requested:
            self.connection = job.connection = self._place.index.connection
            with contextlib.suppress(redis.RedisError):
                self._close_books(job, execution)
            raise StopRequested
        self._close_books(job, execution)

    def _close_books(self, job: RqJob, execution: Execution) -> None:
        """Nothing of an attempt that ended is left in rq; the scheduler is woken, and the worker idle.

        No transaction: a Redis that is full takes no bell, but everything out.
        """
        with self.connection.pipeline(transaction=False) as pipe:
            self.cleanup_execution(job, pipe, execution)
            pipe.delete(job.key, job.execution_registry.key)
            self._place.index.ring(parse_rq_id(job.id)[0], pipeline=pipe)
            self.set_state(WorkerStatus.IDLE, pipeline=pipe)
            self.heartbeat(pipeline=pipe)
            pipe.execute()

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Watch the child until it ends; a death is on record, and its group gone, when this returns."""
        pid = self.horse_pid
        assert self._watch is not None
        signal.alarm(0)  # rq's, for its heartbeats: it would raise anywhere below, between a death and its record too
        beat_at = time.monotonic() + self.job_monitoring_interval
        while not wait_for_exit(pid, WATCH_S):
            if self._watch.must_die(pid):
                kill_group(pid)
            if time.monotonic() > beat_at:
                raise HorseMonitorTimeoutException
        # Children it may have left hold the job's lock. Before reaping: while the pid is taken, the group is ours.
        kill_group(pid)
        self._end_orphans(pid)
        try:
            _, status, usage = os.wait4(pid, 0)
        except ChildProcessError:
            return pid, 0, None
        self._watch.ended(status)
        return pid, 0, usage  # 0: nothing is left for rq to handle

    def _end_orphans(self, pid: int) -> None:
        """End what the child left to us, however far it got away: only then may the next attempt begin."""
        kept = {pid, *self._others}
        if orphans := tree.living_children(kept):
            log.warning("orphans_ended pid=%d orphans=%d", pid, len(orphans))
            tree.end_all(lambda: tree.living_children(kept))

    def maintain_heartbeats(self, job: RqJob, execution: Execution) -> None:
        """As rq's, but never waiting: while Redis is away, the child is watched on, and a later beat tells."""
        patient, self.connection = self.connection, self._place.index.connection
        try:
            super().maintain_heartbeats(job, execution)
        except redis.RedisError:
            log.info("heartbeat_not_told job=%s", job.id)
        finally:
            self.connection = patient

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """As rq's, in one round trip, when it is time; and after Redis lost its data, be known again."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
            return
        if time.monotonic() < self._next_beat_s:
            return
        with self.connection.pipeline(transaction=False) as pipe:
            super().heartbeat(timeout, pipe)
            pipe.hexists(self.key, "birth")
            is_known = pipe.execute()[-1]
        if not is_known:
            self.connection.delete(self.key)
            self.register_birth()  # type: ignore[no-untyped-call]
        self._next_beat_s = time.monotonic() + BEAT_S

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """As rq's; what was told last is not told again."""
        if pipeline is not None or state != self.get_state():
            super().set_state(state, pipeline)


def run(queue_name: str, name: str, place: Workplace, connection: Any) -> None:
    """Be one rq worker until asked to stop."""
    from rq.serializers import JSONSerializer

    worker = AttemptWorker(
        [queue_name],
        name=name,
        connection=connection,
        place=place,
        serializer=JSONSerializer,
        worker_ttl=60,
        log_job_description=False,
    )
    worker.log_result_lifespan = False
    worker.work(logging_level="WARNING")


def forget(name: str, connection: redis.Redis) -> None:
    """Take a worker that was killed out of rq's list. Raises redis.RedisError when Redis is away."""
    dead = Worker.find_by_key(f"{Worker.redis_worker_namespace_prefix}{name}", connection=connection)
    if dead is not None:
        dead.register_death()
