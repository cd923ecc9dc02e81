"""What follows when an attempt ended badly: again, later, with more memory, or not at all. Pure.

Three kinds of end, told apart by whose fault they are:

    the job's own      failed (it raised), crashed (it broke its own process),  spend a retry; the same one at
                       time_limit, out_of_storage (it went over what it asked)  the same step twice: quarantine
    from outside       killed, host_restart                                    free, at once, until three
                                                                               attempts in a row did no step
    for want of room   out_of_memory, disk_full, io_error (the disk or the     free; with more memory, or later
                       machine failed it, and may not the next time)

Worker and scheduler ask the same functions, so it does not matter who saw the death. Each returns the move
to make and the facts that go with it.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .records import Attempt, Job
from .states import Ask, Event

Verdict = tuple[Event, dict[str, Any]]
"""The move, and its facts."""

OWN_FAULT = frozenset({"failed", "crashed", "time_limit", "out_of_storage"})
FROM_OUTSIDE = frozenset({"killed", "host_restart"})
FOR_NOW = frozenset({"disk_full", "io_error"})
RESTART = "restart"
NOBODYS_FAULT = frozenset({"preempted", "drained", "cancelled", "lost", RESTART})

CRASH_SIGNALS = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS),
        *(signal.SIGXCPU, signal.SIGXFSZ, signal.SIGPIPE),  # it went over a limit, or wrote where nobody reads
        *(signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO),  # it asked to be told, and did not listen
    }
)
"""Signals a process brings on itself; any other came from outside."""

IDLE_ATTEMPTS = 3
"""Deaths in a row without a single step before the next attempt has to wait."""

MORE_MEMORY = 1.5
LONGEST_BACKOFF_S = 60.0


def backoff_s(times: int) -> float:
    """Seconds before the next attempt after `times` reasons to wait: 0, then 1, 2, 4, … 60."""
    return min(LONGEST_BACKOFF_S, 2.0 ** (times - 1)) if times > 0 else 0.0


def after_failure(
    job: Job, *, end: str, cause: str, step: int, at: float, peak_bytes: int = 0, lost_s: float | None = None
) -> Verdict:
    """After the job did it itself: it raised, crashed, went over a limit, or ran out of memory.

    job: as it stands, its newest attempt still open.  end: one of `OWN_FAULT`, or `out_of_memory`.
    step: the step it had reached.  peak_bytes: the most memory it used.
    """
    facts = _facts(end, cause, lost_s=lost_s)
    if Ask.CANCEL in job.asks:
        return _cancelled(facts)
    if end == "out_of_memory" and not at_full_budget(job):
        return Event.LOSE, {**facts, "requests": _more_memory(job, peak_bytes)}
    twin = _twin(job, end, cause, step)
    if twin is not None:
        return _for_good(
            facts, f"quarantined: attempts {twin.number} and {job.attempt} failed alike at step {step}: {cause}"
        )
    if job.failures >= job.retries:
        tried = f" (tried {job.failures + 1} times)" if job.failures else ""
        return _for_good(facts, f"{cause}{tried}")
    return Event.LOSE, {**facts, "counts": True, "not_before": at + backoff_s(job.failures + 1)}


def after_death(
    job: Job, *, end: str, cause: str, steps: int | None, at: float, lost_s: float | None = None
) -> Verdict:
    """After the attempt's process was killed or its machine restarted.

    end: `killed` or `host_restart`.  steps: how many it did, None when nobody knows.
    Spends no retry; waits only when this and the attempts before it did not do a single step.
    """
    facts = _facts(end, cause, lost_s=lost_s)
    if Ask.CANCEL in job.asks:
        return _cancelled(facts)
    idle = 0 if steps else 1 + _idle_before(job)
    return Event.LOSE, _after(backoff_s(idle - IDLE_ATTEMPTS + 1), facts, at)


def _after(wait_s: float, facts: dict[str, Any], at: float) -> dict[str, Any]:
    return {**facts, "not_before": at + wait_s} if wait_s else facts


@dataclass(frozen=True)
class Death:
    """How a process ended, as whoever reaped it saw it.

    by: the signal that ended it, None when it ended by itself, with `status`.  killed_for: why we killed it ("": we
    did not).  by_kernel: the kernel killed for want of memory meanwhile.  grace_s: how long it was left to stop.
    """

    by: int | None
    status: int = 0
    killed_for: str = ""
    by_kernel: bool = False
    grace_s: float = 0.0

    @property
    def seen(self) -> str:
        """The word under which `DEATHS` has it."""
        if self.by_kernel and self.by == signal.SIGKILL and self.killed_for in ("", "out_of_memory"):
            return "by_kernel"
        if self.killed_for in OVER_A_LIMIT:
            return self.killed_for
        if self.by in CRASH_SIGNALS:
            return "crashed"
        return self.killed_for or ("signalled" if self.by else "ended")

    @property
    def name(self) -> str:
        """The name of the signal that ended it, or its number: those for real time have no names of their own."""
        return next((one.name for one in signal.Signals if one == self.by), f"signal {self.by}")


OVER_A_LIMIT = frozenset({"out_of_memory", "out_of_storage", "disk_full", "time_limit"})
"""What we kill for whatever the process is doing; the other reasons are that it does not do as it is asked."""

_DEAF = "did not answer a request to stop within {0.grace_s:g} s, and was killed"

DEATHS: dict[str, tuple[str, str]] = {
    # what was seen    end               cause
    "by_kernel": ("out_of_memory", "the kernel was out of memory"),
    "out_of_memory": ("out_of_memory", "went over its memory and was stopped"),
    "out_of_storage": ("out_of_storage", "went over its storage and was stopped"),
    "disk_full": ("disk_full", "took the last free space of the disk, and was stopped"),
    "time_limit": ("time_limit", f"ran longer than its time limit; it {_DEAF}"),
    "crashed": ("crashed", "crashed with {0.name}"),
    "preempted": ("preempted", _DEAF),
    "drained": ("drained", _DEAF),
    "superseded": ("killed", "a newer attempt had taken its place"),
    "signalled": ("killed", "{0.name}"),
    "ended": ("killed", "exit status {0.status}"),
}


def diagnosis(death: Death) -> tuple[str, str]:
    """The end of the attempt, in one word, and its cause."""
    end, cause = DEATHS[death.seen]
    return end, cause.format(death)


def after_end(
    job: Job, end: str, cause: str, *, first_step: int, steps: int | None, at: float, peak_bytes: int = 0
) -> Verdict:
    """After an attempt ended as `end`, by whose fault that is; see `after_failure` and `after_death`."""
    if end in FOR_NOW:
        return for_now(job, end, cause, at)
    if end in OWN_FAULT or end == "out_of_memory":
        step = first_step + (steps or 0)
        return after_failure(job, end=end, cause=cause, step=step, at=at, peak_bytes=peak_bytes)
    return after_death(job, end=end, cause=cause, steps=steps, at=at)


AGAIN_AT_ONCE = 3
"""Restarts in a row without progress (the program saved, and asked to be run again) before the next has to wait ..."""

AGAIN_AT_MOST = 8
"""... and that fail the job."""


def after_restart(job: Job, *, steps: int, at: float) -> Verdict:
    """After a program saved and asked to be run again: no retry is spent, unless it gets nowhere.

    steps: signs of progress in this attempt.
    """
    idle = 0 if steps else 1
    for attempt in reversed(job.attempts[:-1] if idle else ()):
        if attempt.end != RESTART or attempt.steps:
            break
        idle += 1
    facts = _facts(RESTART, "saved, and asked to be run again")
    if Ask.CANCEL in job.asks:
        return _cancelled(facts)
    if idle >= AGAIN_AT_MOST:
        return _for_good(facts, f"asked {idle} times in a row to be run again, without any progress")
    return Event.HAND_BACK, _after(backoff_s(idle - AGAIN_AT_ONCE + 1), facts, at)


STOPPED_AT_ONCE_S = 10.0
"""An attempt that is asked to stop so soon after its start, and has done no step, may be one that asks itself."""


def after_drain(job: Job, *, steps: int, at: float) -> Verdict:
    """After the attempt was sent SIGTERM, and handed back: free and at once, until `IDLE_ATTEMPTS` in a row had that
    hardly begun. A drain comes once; what comes again and again is a program that signals its parent, and would keep
    the others from the machine."""
    facts = _facts("drained", "the worker was asked to stop")
    idle = 0
    for attempt in reversed(job.attempts):
        is_newest, ended_at = attempt is job.newest, attempt.ended_at or at
        end, done = ("drained", steps) if is_newest else (attempt.end, attempt.steps)
        if end != "drained" or done or ended_at - (attempt.started_at or ended_at) > STOPPED_AT_ONCE_S:
            break
        idle += 1
    return Event.HAND_BACK, _after(backoff_s(idle - IDLE_ATTEMPTS + 1), facts, at)


def for_now(job: Job, end: str, cause: str, at: float) -> Verdict:
    """After the disk was full, or failed: the job waits, longer each time, and spends nothing.

    end: one of `FOR_NOW`.
    """
    facts = _facts(end, cause)
    if Ask.CANCEL in job.asks:
        return _cancelled(facts)
    times = 1
    for attempt in reversed(job.attempts[:-1]):
        if attempt.end not in FOR_NOW:
            break
        times += 1
    return Event.LOSE, {**facts, "not_before": at + backoff_s(times)}


def at_full_budget(job: Job) -> bool:
    """Whether the newest attempt was granted less than the job asks for, because there is no more.

    The scheduler cuts a request that grew beyond the budget down to it.
    """
    return job.terms is not None and job.terms.resources.memory_bytes < job.requests.memory_bytes


def is_quarantined(job: Job) -> bool:
    """Whether the job ended because it failed twice in the same way at the same step."""
    return job.reason is not None and job.reason.startswith("quarantined: ")


def _facts(end: str, cause: str, *, lost_s: float | None = None) -> dict[str, Any]:
    return {"end": end, "cause": cause} | ({} if lost_s is None else {"lost_s": lost_s})


def as_asked(job: Job, verdict: Verdict) -> Verdict:
    """`verdict`, or the cancellation that was asked for before it could be written down."""
    event, facts = verdict
    goes_on = event in (Event.HAND_BACK, Event.LOSE)
    return _cancelled(facts) if goes_on and Ask.CANCEL in job.asks else verdict


def _cancelled(facts: Mapping[str, Any]) -> Verdict:
    # Somebody had asked for the end; that it came another way changes nothing.
    return Event.CANCEL, {**facts, "end": "cancelled", "reason": "cancelled on request"}


def _for_good(facts: Mapping[str, Any], reason: str) -> Verdict:
    return Event.FAIL, {**facts, "reason": reason}


def _more_memory(job: Job, peak_bytes: int) -> dict[str, int]:
    granted = job.terms.resources.memory_bytes if job.terms else 0
    most = max(peak_bytes, granted, job.requests.memory_bytes)
    return replace(job.requests, memory_bytes=int(most * MORE_MEMORY)).to_json()


def _twin(job: Job, end: str, cause: str, step: int) -> Attempt | None:
    """An earlier attempt that failed in the same way at the same step, since somebody last said `retry`."""
    own = [attempt for attempt in job.attempts[:-1] if attempt.end == end and end in OWN_FAULT | {"out_of_memory"}]
    recent = own[-job.failures :] if job.failures else []
    return next((a for a in recent if a.cause == cause and a.first_step + (a.steps or 0) == step), None)


def _idle_before(job: Job) -> int:
    """How many attempts in a row, before the newest, died from outside without a step."""
    idle = 0
    for attempt in reversed(job.attempts[:-1]):
        if attempt.end in NOBODYS_FAULT:
            continue
        if attempt.end not in FROM_OUTSIDE or attempt.steps:
            break
        idle += 1
    return idle
