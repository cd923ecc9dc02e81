"""What a parent does for an attempt in its child: hold it to its terms from outside, and record its death.

What follows of a death is a table of `jobs.lifecycle.retry`; where this process died as well, the scheduler records it
(`scheduler.runtime.acting.rescue`).

What cannot be read is never the child's fault, nor a reason for the worker to end (its child would die with it): it is
logged, once, and looked at again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource

from singlepoint.jobs.errors import ImpossibleMove, NotFound, SinglepointError, Superseded
from singlepoint.jobs.host.processes import keep_within
from singlepoint.jobs.lifecycle import retry
from singlepoint.jobs.lifecycle.records import Asked, Job, Usage
from singlepoint.jobs.lifecycle.states import Ask, State
from singlepoint.jobs.spec.job import Spec, from_json
from singlepoint.jobs.store import post_mortem
from singlepoint.worker.ground import tree
from singlepoint.worker.ground.disk import Disk
from singlepoint.worker.ground.process import oom_kills, private_bytes, resident_bytes
from singlepoint.worker.ground.workplace import Workplace
from singlepoint.worker.kinds.table import RUNS_PROGRAMS
from singlepoint.worker.programs import memory_group

TREE_EVERY = 8
"""Looks between two searches for children of the child, where those are forks of ours."""

FAR_OVER = 1.25
"""Times its grant at which nobody looks twice."""

DISK_EVERY = 4
"""Looks between two measurements of what lies on disk."""

SETTLE_S = 5.0
"""What an attempt that runs a program has beyond the grace, which is the program's: to write down how that ended."""

_UNREADABLE = (SinglepointError, OSError, ValueError, KeyError, TypeError)

log = logging.getLogger("singlepoint.worker")


class Watch:
    """Watches one attempt from its parent process; to be made when that forks it."""

    def __init__(self, place: Workplace, job_id: str, number: int) -> None:
        self._place = place
        self._job_id = job_id
        self._number = number
        self._job: Job | None = None
        self._spec: Spec | None = None
        self._disk: Disk | None = None
        self._drain_began_s: float | None = None
        self._asked_s: dict[tuple[Ask, Asked], float] = {}
        self._over_memory = 0
        self._looks = 0
        self._looked_s = place.monotonic()
        self._ran_s = 0.0
        self._pids: list[int] = []
        self._programs = tree.Footprint()
        self._peak_bytes = 0
        self._killed_for: str | None = None
        self._paused = False
        self._complained = False
        self._oom_kills = oom_kills()
        self._inherited_bytes = inherited_bytes()
        self._children_s = children_cpu_s()

    def drain_began(self) -> None:
        self._drain_began_s = self._place.monotonic()

    def must_die(self, pid: int) -> bool:
        """Whether the child has to be killed now; says why in the log, once."""
        try:
            why = self._why_die(pid)
        except _UNREADABLE as error:
            why = None
            self._complain(error)
        if why is not None and self._killed_for is None:
            self._killed_for = why
            log.warning("attempt_killed job=%s attempt=%d why=%s", self._job_id, self._number, why)
        return self._killed_for is not None

    def _why_die(self, pid: int) -> str | None:
        job = self._look()
        self._tell_paused(job)
        self._looks += 1
        if job is None:
            return "removed"  # by hand: nothing it does can count any more
        if job.attempt > self._number:
            return "superseded"  # this one was stopped, and taken for dead
        too_much_memory = self._too_much_memory(job, pid)
        self._keep_within_cores(job)
        return too_much_memory or self._deaf(job) or self._too_long(job) or self._too_much_storage(job)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            log.error("attempt_unreadable job=%s attempt=%d error=%r", self._job_id, self._number, str(error))
        self._complained = True

    def _tell_paused(self, job: Job | None) -> None:
        paused = job is not None and job.paused
        if paused != self._paused:
            self._paused = paused
            self._place.tell_paused(paused)

    def _look(self) -> Job | None:
        """The job as it stands; None when it is gone. Raises what cannot be read."""
        try:
            if self._job is None or self._place.store.size(self._job_id) != self._job.size:
                self._job = self._place.store.load(self._job_id)
        except NotFound:
            return None
        return self._job

    def _asked_for(self, job: Job) -> Spec:
        """What was accepted; raises HistoryDamaged when something else is stored by now."""
        if self._spec is None:
            self._spec = from_json(self._place.store.accepted_spec(job))
        return self._spec

    def _too_much_memory(self, job: Job, pid: int) -> str | None:
        """`out_of_memory` once the child and all below it were over the grant at two looks in a row, or far over it."""
        if job.terms is None:
            return None
        granted = job.terms.resources.memory_bytes
        used = (resident_bytes(pid) or 0) - self._inherited_bytes + self._below_bytes(job, pid, granted)
        self._peak_bytes = max(self._peak_bytes, used)
        over = granted > 0 and used > granted
        self._over_memory = self._over_memory + 1 if over else 0
        far_over = over and used > FAR_OVER * granted
        return "out_of_memory" if far_over or self._over_memory >= 2 else None

    def _below_bytes(self, job: Job, pid: int, granted: int) -> int:
        """The memory of the child's children: forks of it, of which only what is theirs alone counts, or programs."""
        if job.kind in RUNS_PROGRAMS:
            self._pids = tree.programs_below(pid)
            return self._programs.look(self._pids, granted)
        if self._looks % TREE_EVERY == 1:
            self._pids = tree.descendants(pid)
        return sum(map(private_bytes, self._pids))

    def _keep_within_cores(self, job: Job) -> None:
        """A program may set its own affinity, and has it set back at the next look."""
        if job.kind in RUNS_PROGRAMS and job.state is State.RUNNING and job.terms is not None and not job.paused:
            keep_within(job.terms.cores, self._pids)

    def _too_much_storage(self, job: Job) -> str | None:
        """`out_of_storage` when there is more on disk than was granted, `disk_full` when it takes the last of it."""
        if job.state is not State.RUNNING or self._looks % DISK_EVERY:
            return None
        if self._disk is None:
            self._disk = Disk.of_job(self._place.home, self._asked_for(job), job)
        granted = job.terms.resources.storage_bytes if job.terms else 0
        return self._disk.complaint(granted)

    def _too_long(self, job: Job) -> str | None:
        """`time_limit` when it ran on past its limit, and the grace after it, pauses not counted."""
        now_s = self._place.monotonic()
        if job.state is State.RUNNING and not job.paused:
            self._ran_s += now_s - self._looked_s
        self._looked_s = now_s
        limit_s = self._asked_for(job).time_limit_s if job.state is State.RUNNING else None
        return "time_limit" if limit_s is not None and self._ran_s > limit_s + self._grace_s(job) else None

    def _grace_s(self, job: Job) -> float:
        return self._place.grace_s + (SETTLE_S if job.kind in RUNS_PROGRAMS else 0.0)

    def _deaf(self, job: Job) -> str | None:
        """`drained` or `preempted` when a request to stop went unanswered for longer than the grace period."""
        longest_ago_s = self._place.monotonic() - self._grace_s(job)
        if any(since_s < longest_ago_s for since_s in self._unanswered(job).values()):
            return "preempted"
        if self._drain_began_s is not None and self._drain_began_s < longest_ago_s:
            return "drained"
        return None

    def _unanswered(self, job: Job) -> dict[tuple[Ask, Asked], float]:
        """What the child was asked and has not answered, and when we first saw it: the wall clock may be set meanwhile.

        A paused attempt has answered a pause, though it stands in the history until the job is resumed.
        """
        now_s = self._place.monotonic()
        open_ = [(ask, at) for ask, at in job.asks.items() if not (job.paused and ask is Ask.PAUSE)]
        self._asked_s = {one: self._asked_s.get(one, now_s) for one in open_}
        return self._asked_s

    def ended(self, status: int) -> None:
        """The child has ended, and was waited for. When it did not settle its attempt, write down what became of it,
        and tell all."""
        job = None
        with contextlib.suppress(*_UNREADABLE):
            job = self._look()
        self._tell_paused(None)
        if job is not None and job.kind in RUNS_PROGRAMS:
            tree.end_all(lambda: tree.carrying(self._job_id))
            if place := memory_group.place():
                place.group(self._job_id).remove()
        if status != 0 or (job is not None and job.state is State.RUNNING and self._is_ours(job)):
            self._bury(status)

    def _is_ours(self, job: Job) -> bool:
        """Whether our child makes the newest attempt, or nobody does yet: pushed twice, after Redis lost track, it may
        run under another worker, and ours was turned away."""
        newest = job.newest
        return newest is not None and newest.number == self._number and newest.worker in (None, self._place.worker)

    def _bury(self, status: int) -> None:
        try:
            job = self._place.store.load(self._job_id)
            if self._is_ours(job) and job.state in (State.RUNNING, State.QUEUED):
                event, facts = self._verdict(job, status)
                job = self._place.store.move(self._job_id, event, self._place.clock(), attempt=self._number, **facts)
                log.warning("attempt_died job=%s attempt=%d status=%d", self._job_id, self._number, status)
            self._place.index.tell(job)
        except (ImpossibleMove, Superseded, NotFound) as error:
            log.warning("attempt_died_unrecorded job=%s attempt=%d: %s", self._job_id, self._number, error)
        except _UNREADABLE as error:
            log.error("attempt_death_not_recorded job=%s: %s", self._job_id, error)  # the scheduler finds the free lock
            self._place.index.ring(self._job_id)

    def _usage(self, job: Job, at: float) -> Usage:
        """What the dead child used, and what it left to us, as far as it can be seen from outside; what its saves cost
        died with it."""
        began_at = job.attempts[-1].started_at or at
        cpu_s = children_cpu_s() - self._children_s
        return Usage(round(max(0.0, at - began_at), 6), round(cpu_s, 6), max(0, self._peak_bytes))

    def _verdict(self, job: Job, status: int) -> retry.Verdict:
        """Whose fault the death was: the job's own (memory, a crash in its code), or somebody else's (a kill)."""
        at = self._place.clock()
        assert job.newest is not None
        left = post_mortem.examine(self._place.home.job_files(job.id), job.newest)
        by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = 0 if by else os.waitstatus_to_exitcode(status)
        death = retry.Death(by, code, self._killed_for or "", oom_kills() > self._oom_kills, self._place.grace_s)
        end, cause = retry.diagnosis(death)
        event, facts = retry.after_end(
            job, end, cause, first_step=left.first_step, steps=left.steps, at=at, peak_bytes=self._peak_bytes
        )
        return event, {**left.facts(at), "usage": self._usage(job, at).to_json(), **facts}


def children_cpu_s() -> float:
    """Processor seconds of all children of ours that were waited for; a worker has one attempt at a time."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def inherited_bytes() -> int:
    """What a forked child counts as its own though it shares it with us: our own anonymous memory."""
    return resident_bytes(os.getpid()) or 0
