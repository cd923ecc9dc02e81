"""What a parent does for an attempt in its child: hold it to its terms from outside, and record its death."""

from __future__ import annotations

import logging
import os
import resource
import signal

import psutil

from singlepoint.jobs.errors import ImpossibleMove, NotFound, StorageFull, Superseded
from singlepoint.jobs.lifecycle import retry
from singlepoint.jobs.lifecycle.records import Asked, Job, Usage
from singlepoint.jobs.lifecycle.states import Ask, State
from singlepoint.jobs.store import post_mortem
from singlepoint.worker.ground.process import oom_kills, private_bytes, resident_bytes
from singlepoint.worker.ground.workplace import Workplace

TREE_EVERY = 8
"""Looks between two searches for children of the child."""

log = logging.getLogger("singlepoint.worker")


class Overseer:
    """Watches one attempt from its parent process."""

    def __init__(self, place: Workplace, job_id: str, number: int) -> None:
        self._place = place
        self._job_id = job_id
        self._number = number
        self._job: Job | None = None
        self._drain_began_s: float | None = None
        self._asked_s: dict[tuple[Ask, Asked], float] = {}
        self._over_memory = 0
        self._looks = 0
        self._pids: list[int] = []
        self._peak_bytes = 0
        self._killed_for: str | None = None
        self._paused = False
        self._oom_kills = oom_kills()
        self._rusage: resource.struct_rusage | None = None
        self.has_buried = False

    def drain_began(self) -> None:
        self._drain_began_s = self._place.monotonic()

    def must_die(self, pid: int) -> bool:
        """Whether the child has to be killed now; says why in the log, once."""
        why = self._replaced() or self._too_much_memory(pid) or self._deaf()
        if why is not None and self._killed_for is None:
            self._killed_for = why
            log.warning("attempt_killed job=%s attempt=%d why=%s", self._job_id, self._number, why)
        self._tell_paused(self._look())
        return self._killed_for is not None

    def _tell_paused(self, job: Job | None) -> None:
        paused = job is not None and job.paused
        if paused != self._paused:
            self._paused = paused
            self._place.tell_paused(paused)

    def _look(self) -> Job | None:
        if self._job is None or self._place.store.size(self._job_id) != self._job.size:
            try:
                self._job = self._place.store.load(self._job_id)
            except NotFound:
                return None
        return self._job

    def _replaced(self) -> str | None:
        """`superseded` once a newer attempt was dispatched: this one was stopped, and taken for dead."""
        job = self._look()
        return "superseded" if job is not None and job.attempt > self._number else None

    def _too_much_memory(self, pid: int) -> str | None:
        """`out_of_memory` once the child and its children were over the grant at two looks in a row."""
        job = self._look()
        if job is None or job.terms is None or job.attempt != self._number:
            return None
        granted = job.terms.resources.memory_bytes
        _, *children = self._tree(pid)
        used = (resident_bytes(pid) or 0) - inherited_bytes() + sum(map(private_bytes, children))
        self._peak_bytes = max(self._peak_bytes, used)
        over = granted > 0 and used > granted
        self._over_memory = self._over_memory + 1 if over else 0
        return "out_of_memory" if self._over_memory >= 2 else None

    def _tree(self, pid: int) -> list[int]:
        """The child and its children. Finding them reads all of /proc, so that is done at every eighth look only."""
        if self._looks % TREE_EVERY == 0:
            self._pids = tree(pid)
        self._looks += 1
        return self._pids

    def _deaf(self) -> str | None:
        """`drained` or `preempted` when a request to stop went unanswered for longer than the grace period."""
        longest_ago_s = self._place.monotonic() - self._place.grace_s
        if any(since_s < longest_ago_s for since_s in self._unanswered().values()):
            return "preempted"
        if self._drain_began_s is not None and self._drain_began_s < longest_ago_s:
            return "drained"
        return None

    def _unanswered(self) -> dict[tuple[Ask, Asked], float]:
        """What the child was asked and has not answered, and when we first saw it: the wall clock may be set meanwhile.

        A paused attempt has answered a pause, though it stands in the history until the job is resumed.
        """
        job, now_s = self._look(), self._place.monotonic()
        open_ = [(ask, at) for ask, at in job.asks.items() if not (job.paused and ask is Ask.PAUSE)] if job else []
        self._asked_s = {one: self._asked_s.get(one, now_s) for one in open_}
        return self._asked_s

    def ended(self, status: int, rusage: resource.struct_rusage | None = None) -> None:
        """The child has ended. When it did not settle its attempt, write down what became of it, and tell all.

        rusage: what it used of the processor, with its children that ended.
        """
        self._rusage = rusage
        job = self._look()
        self._tell_paused(None)
        if status != 0 or (job is not None and job.state is State.RUNNING and self._is_ours(job)):
            self._bury(status)

    def _is_ours(self, job: Job) -> bool:
        """Whether our child makes the newest attempt, or nobody does yet: pushed twice, after Redis lost track, it may
        run under another worker, and ours was turned away."""
        newest = job.newest
        return newest is not None and newest.number == self._number and newest.worker in (None, self._place.worker)

    def _bury(self, status: int) -> None:
        self.has_buried = True
        try:
            job = self._place.store.load(self._job_id)
            if self._is_ours(job) and job.state in (State.RUNNING, State.QUEUED):
                event, facts = self._verdict(job, status)
                job = self._place.store.move(self._job_id, event, self._place.clock(), attempt=self._number, **facts)
                log.warning("attempt_died job=%s attempt=%d status=%d", self._job_id, self._number, status)
            self._place.index.tell(job)
        except (ImpossibleMove, Superseded, NotFound) as error:
            log.warning("attempt_died_unrecorded job=%s attempt=%d: %s", self._job_id, self._number, error)
        except StorageFull as error:
            log.error("attempt_death_not_recorded job=%s: %s", self._job_id, error)  # the scheduler finds the free lock
            self._place.index.ring(self._job_id)

    def _usage(self, job: Job, at: float) -> Usage:
        """What the dead child used, as far as it can be seen from outside; what its saves cost died with it."""
        began_at = job.attempts[-1].started_at or at
        cpu_s = self._rusage.ru_utime + self._rusage.ru_stime if self._rusage else 0.0
        return Usage(round(max(0.0, at - began_at), 6), round(cpu_s, 6), max(0, self._peak_bytes))

    def _verdict(self, job: Job, status: int) -> retry.Verdict:
        """Whose fault the death was: the job's own (memory, a crash in its code), or somebody else's (a kill)."""
        at = self._place.clock()
        assert job.newest is not None
        left = post_mortem.examine(self._place.home.job_files(job.id), job.newest)
        facts = {**left.facts(at), "usage": self._usage(job, at).to_json()}
        killed_by = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
        step = left.first_step + (left.steps or 0)
        by_kernel = killed_by is signal.SIGKILL and oom_kills() > self._oom_kills
        if self._killed_for == "out_of_memory" or (by_kernel and self._killed_for is None):
            cause = "went over its memory and was stopped" if not by_kernel else "the kernel was out of memory"
            verdict = retry.after_failure(
                job, end="out_of_memory", cause=cause, step=step, at=at, peak_bytes=self._peak_bytes
            )
        elif killed_by in retry.CRASH_SIGNALS:
            assert killed_by is not None
            verdict = retry.after_failure(job, end="crashed", cause=f"crashed with {killed_by.name}", step=step, at=at)
        elif self._killed_for is not None:
            cause = f"did not answer a request to stop within {self._place.grace_s:g} s, and was killed"
            verdict = retry.after_death(job, end=self._killed_for, cause=cause, steps=left.steps, at=at)
        else:
            cause = killed_by.name if killed_by else f"exit status {os.waitstatus_to_exitcode(status)}"
            verdict = retry.after_death(job, end="killed", cause=cause, steps=left.steps, at=at)
        event, more = verdict
        return event, {**facts, **more}


def tree(pid: int) -> list[int]:
    """A process and all its descendants; only itself when it is gone."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return [pid]


def inherited_bytes() -> int:
    """What a forked child counts as its own though it shares it with us: our own anonymous memory."""
    return resident_bytes(os.getpid()) or 0
