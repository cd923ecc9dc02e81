"""One attempt of a job, as a pipeline over one value: claim -> prepare -> perform -> classify -> settle.

`perform` is the one function rq may call; its arguments are ids. The attempt holds the kernel lock on its
job's directory from claim to settle, so no job is worked on twice at once, and settles with a move that
only the newest attempt can make. Whatever goes wrong becomes an `Outcome`; nothing here retries.
"""

from __future__ import annotations

import contextlib
import logging
from types import FrameType
from typing import Any

from singlepoint.jobs.errors import ImpossibleMove, NotFound, SinglepointError, StorageFull, Superseded
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.host.processes import boot_id
from singlepoint.jobs.lifecycle import retry
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.services.draining import planned_drain
from singlepoint.jobs.store.durable import is_full, may_pass
from singlepoint.worker.ground import limits
from singlepoint.worker.ground.job_log import job_log
from singlepoint.worker.ground.memory_errors import lack_of_memory
from singlepoint.worker.ground.stop_requests import Stop, StopRequests
from singlepoint.worker.ground.tree import adopt_orphans
from singlepoint.worker.ground.usage import Meter
from singlepoint.worker.ground.work import Outcome, Stopped, Work
from singlepoint.worker.ground.workplace import Workplace
from singlepoint.worker.kinds.table import KINDS, RUNS_PROGRAMS

from .job_lock import held_lock
from .leftovers import clear_away, sweep

_workplace: Workplace | None = None
_drain_early = False


def work_at(place: Workplace) -> None:
    """Say where attempts of this process are made, before it forks one."""
    global _workplace
    _workplace = place


def remember_drain(_number: int, _frame: FrameType | None) -> None:
    """The signal handler of a child before its attempt has one: the request must not be lost, nor kill it."""
    global _drain_early
    _drain_early = True


def perform(job_id: str, attempt: int) -> str:
    """Make an attempt and answer in one word how it ended; called by rq in a process of its own."""
    assert _workplace is not None, "the worker process says first where it works (work_at)"
    with held_lock(_workplace.store, job_id) as lock:
        if lock is None:
            return "busy"
        work = claim(_workplace, job_id, attempt, lock)
        if work is None:
            return "superseded"
        with job_log(work.log, work.files.log):
            return _to_the_end(work)


def _to_the_end(work: Work) -> str:
    """Perform, classify, settle. An attempt that may not write any more leaves without a word in the history."""
    try:
        return settle(work, classify(work))
    except (Superseded, NotFound) as error:
        work.log.warning("attempt_superseded attempt=%d: %s", work.attempt, error)
        return "superseded"
    except (StorageFull, OSError) as error:
        work.log.error("attempt_end_not_recorded attempt=%d: %s", work.attempt, error)
        return "not_recorded"  # whoever is above us tells the scheduler, which writes it down once it can


def claim(place: Workplace, job_id: str, attempt: int, lock: int) -> Work | None:
    """Take the attempt, or None when it is not (or no longer) to be made. lock: the descriptor that holds the job's."""
    reach("claim")
    try:
        job = place.store.move(
            job_id, Event.CLAIM, place.clock(), attempt=attempt, worker=place.worker, boot_id=boot_id()
        )
    except (ImpossibleMove, Superseded, NotFound):
        return None
    place.index.tell(job)
    stops = StopRequests(place.store, job, place.monotonic)
    stops.catch_signals()
    if _drain_early:  # looked at only now, when no signal can set it any more
        stops.drain()
    return Work(
        place=place,
        job=job,
        attempt=attempt,
        lock=lock,
        stops=stops,
        meter=Meter(place.monotonic),
        log=logging.getLogger(f"singlepoint.job.{job_id}"),
    )


def carry_out(work: Work) -> Outcome:
    """Prepare this process for the work, and do it."""
    terms = work.terms
    limits.apply(terms, programs=work.job.kind in RUNS_PROGRAMS)
    work.log.info(
        "attempt_began attempt=%d kind=%s cores=%s memory_bytes=%d",
        work.attempt,
        work.job.kind,
        ",".join(map(str, terms.cores)),
        terms.resources.memory_bytes,
    )
    if complaint := limits.unmet(terms):
        work.log.warning("terms_not_met why=%r", complaint)
    adopt_orphans()
    work.stops.limit(work.spec.time_limit_s)
    sweep(work)
    return KINDS[work.job.kind]().run(work)


def classify(work: Work) -> Outcome:
    """Do the work and turn whatever comes of it into an outcome."""
    try:
        return carry_out(work)
    except Stopped as stopped:
        return _stopped(work, stopped.stop)
    except Superseded:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is becomes an outcome
        return _judged(work, error)


def _judged(work: Work, error: Exception) -> Outcome:
    """What became of work that raised."""
    lack = lack_of_memory(error)
    if lack is not None:
        return _own_fault(work, "out_of_memory", f"ran out of memory: {lack}")
    if _may_pass(error):
        return _not_now(work, error)
    if isinstance(error, SinglepointError):
        return _failed(error.without_data, "failed")
    # Otherwise it is the job's own fault, whatever it is; the log has the traceback.
    work.log.error("attempt_raised attempt=%d step=%d", work.attempt, work.step, exc_info=error)
    return _own_fault(work, "failed", f"{type(error).__name__}: {error}")


def _stopped(work: Work, stop: Stop) -> Outcome:
    if stop is Stop.TIME_LIMIT:
        return _own_fault(work, "time_limit", f"ran longer than its time limit, {work.spec.time_limit_s:g} s")
    if stop in (Stop.PREEMPT, Stop.DRAIN) and _is_drained(work):
        return Outcome(Event.HAND_BACK, {"end": "drained", "cause": "the home is being drained"})
    if stop is Stop.DRAIN:
        steps = max(0, work.step - work.first_step)
        return Outcome(*retry.after_drain(work.stops.job, steps=steps, at=work.place.clock()))
    return Outcome(*_ANSWERS[stop])


def _is_drained(work: Work) -> bool:
    at, plan = work.place.clock(), None
    with contextlib.suppress(OSError):  # then it is drained no more
        plan = planned_drain(work.place.home, at)
    return plan is not None and plan.holds(at)


_ANSWERS: dict[Stop, tuple[Event, dict[str, Any]]] = {
    Stop.CANCEL: (Event.CANCEL, {"end": "cancelled", "reason": "cancelled on request"}),
    Stop.PREEMPT: (Event.HAND_BACK, {"end": "preempted", "cause": "asked to hand its room back"}),
    Stop.PAUSE: (Event.HAND_BACK, {"end": "preempted", "cause": "paused"}),
}


def _failed(reason: str, end: str) -> Outcome:
    return Outcome(Event.FAIL, {"end": end, "reason": reason, "cause": reason})


def _may_pass(error: Exception) -> bool:
    """Whether it is the disk or the machine that failed the work, and may not the next time."""
    return isinstance(error, StorageFull) or (isinstance(error, OSError) and may_pass(error))


def _not_now(work: Work, error: Exception) -> Outcome:
    full = isinstance(error, StorageFull) or (isinstance(error, OSError) and is_full(error))
    end = "disk_full" if full else "io_error"
    return Outcome(*retry.for_now(work.stops.job, end, str(error), work.place.clock()))


def _own_fault(work: Work, end: str, cause: str) -> Outcome:
    """A failure of the job itself: again if it may, for good if it may not."""
    event, facts = retry.after_failure(
        work.stops.job,
        end=end,
        cause=cause,
        step=work.step,
        at=work.place.clock(),
        peak_bytes=work.meter.usage().peak_memory_bytes,
    )
    return Outcome(event, facts)


def settle(work: Work, outcome: Outcome) -> str:
    """Publish and record the end as one act under the history's lock; then tell Redis.

    The scheduler is woken by whoever sees this process end: not before is there room for others.

    If the process dies between publishing and recording, the next attempt publishes the same bits again. If the
    disk is full, or fails, that is recorded instead, and the next attempt publishes. Raises Superseded, NotFound;
    StorageFull or OSError when not even that can be recorded.
    """
    try:
        job = _record(work, outcome)
    except (Superseded, NotFound):
        raise
    except (SinglepointError, OSError) as error:
        # What will not pass: it cannot get its place, and will not by trying again.
        job = _record(work, _not_now(work, error) if _may_pass(error) else _failed(str(error), "failed"))
    _log_end(work, job)
    clear_away(work, job)
    work.place.index.tell(job, ring=False)
    return str(job.attempts[-1].end)


def _record(work: Work, outcome: Outcome) -> Job:
    ledger = {
        "attempt": work.attempt,
        "first_step": work.first_step,
        "steps": work.step - work.first_step,
        "usage": work.meter.usage().to_json(),
    }
    with work.place.store.locked_history(work.job.id) as history:
        history.require_newest(work.attempt)
        published = outcome.publish() if outcome.publish else {}
        reach("settle")
        event, facts = retry.as_asked(history.job, (outcome.event, dict(outcome.facts)))
        return history.append(event, work.place.clock(), {**ledger, **facts, **published})


def _log_end(work: Work, job: Job) -> None:
    newest = job.attempts[-1]
    work.log.info(
        "attempt_ended attempt=%d end=%s step=%d wall_s=%.3f%s",
        work.attempt,
        newest.end,
        work.step,
        newest.usage.wall_s if newest.usage else 0.0,
        f" cause={newest.cause!r}" if newest.cause else "",
    )
