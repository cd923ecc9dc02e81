"""What a person may ask of a job that exists: cancel, pause, resume, retry, another priority, removal.

Each is written into the job's history first and told to Redis after. All raise BrokerAway before anything is
written when Redis does not answer, NotFound for a job that is gone, and NotNow for what its state forbids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from singlepoint.jobs.errors import HistoryDamaged, ImpossibleMove, NotFound, NotNow
from singlepoint.jobs.ledger.catalogue import by_end, head_of
from singlepoint.jobs.lifecycle.dependencies import Condition, parse_after
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import FINAL, Ask, Author, Event, State
from singlepoint.jobs.spec.job import from_json, outputs
from singlepoint.jobs.store.durable import remove_if_possible
from singlepoint.jobs.store.job_files import staged_outputs
from singlepoint.jobs.store.unique import alone_with

from .follow import wait_for
from .query import listing
from .session import Session, redis_may_be_away
from .submit import announce

_WITH_A_WORKER = frozenset({State.QUEUED, State.RUNNING})


def cancel(session: Session, job_id: str, at: float, tell: Callable[[Job], object] | None = None) -> Job:
    """End a waiting job now; ask a running one to end at its next step. Again: no harm.

    tell: of the many that are cancelled together, to an index that was found to answer; see `Index.together`.
    """
    if tell is None:
        session.require_redis()
    with session.store.locked_history(job_id) as history:
        waiting = history.job
        if waiting.state is State.CANCELLED or Ask.CANCEL in waiting.asks:
            return waiting
        if waiting.is_final:
            raise ImpossibleMove(f"job {job_id} {_has_ended(waiting)}, so it cannot be cancelled", hint=_see(job_id))
        if waiting.state is State.RUNNING:
            job = history.append(Note.ASK, at, {"ask": Ask.CANCEL})
        else:
            job = history.append(Event.CANCEL, at, {"end": "cancelled", "reason": "cancelled on request"})
    (tell or session.index.tell)(job)  # the scheduler takes a waiting one out of rq's queues
    return job


def pause(session: Session, job_id: str, at: float) -> Job:
    """Keep a waiting job waiting; ask a running one to stop, with its memory kept."""
    session.require_redis()
    with session.store.locked_history(job_id) as history:
        job = history.job
        if job.held or job.is_asked(Ask.PAUSE, Author.USER):
            return job  # but not for being paused alone: told to go on, it only waits for its cores
        if job.state in FINAL:
            raise NotNow(f"job {job_id} {_has_ended(job)}, so it cannot be paused")
        asked = job.state in _WITH_A_WORKER
        job = history.append(Note.ASK, at, {"ask": Ask.PAUSE}) if asked else history.append(Note.HOLD, at, {})
    session.index.tell(job)
    return job


def resume(session: Session, job_id: str, at: float) -> Job:
    """Take a pause back."""
    session.require_redis()
    with session.store.locked_history(job_id) as history:
        job = history.job
        if job.is_asked(Ask.PAUSE, Author.SCHEDULER):
            raise NotNow(
                f"job {job_id} gives way to other work, and goes on by itself",
                hint=f"`singlepoint priority {job_id} N` makes it more important",
            )
        if not (job.held or job.paused or Ask.PAUSE in job.asks):
            raise NotNow(f"job {job_id} is not paused but {job.state.value}")
        job = history.append(Note.RESUME, at, {})
    session.index.tell(job)
    return job


def retry(session: Session, job_id: str, at: float, *, fresh: bool = False) -> Job:
    """Send a failed or cancelled job round again: from its checkpoint, or (fresh) from nothing.

    Raises NotNow for one that never began and would fail at once: a job that it comes after did not end as it was to;
    and for one whose unique key another living job bears.
    """
    session.require_writable()
    with (
        alone_with(session.store, session.store.load(job_id).unique) as living,
        session.store.locked_history(job_id) as history,
    ):
        if living is not None and living.id != job_id:
            raise NotNow(f"job {living.id}, with the same key {living.unique!r}, has not ended", hint=_see(living.id))
        if history.job.state not in (State.FAILED, State.CANCELLED):
            stands = f"job {job_id} is {history.job.state.value}"
            raise ImpossibleMove(f"{stands}: only a failed or cancelled one can be retried", hint=_see(job_id))
        _check_what_comes_first(session, history.job)
        job = history.append(Event.RETRY, at, {"fresh": fresh})
    announce(session, job)
    return job


def _check_what_comes_first(session: Session, job: Job) -> None:
    if job.attempts:
        return  # it has waited for them already
    for one in job.after:
        if (why := one.never(session.store.fate(one.job))) is None:
            continue
        what = f"job {one.job}, which {job.id} comes after, {why}"
        if not session.store.exists(one.job):
            raise NotNow(f"{what}; it was removed", hint=f"submit the job of {job.id} anew, without it")
        if one.when is Condition.OK:
            raise NotNow(f"{what}: retry that first", hint=f"`singlepoint retry {one.job} {job.id}` does both")
        raise NotNow(what, hint=f"submit the job of {job.id} anew, without it")


def prioritise(session: Session, job_id: str, priority: int, at: float) -> Job:
    """Give a job another priority; it counts from the next decision on."""
    session.require_redis()
    with session.store.locked_history(job_id) as history:
        if history.job.is_final:
            raise NotNow(f"job {job_id} {_has_ended(history.job)}, so its priority no longer matters")
        job = history.append(Note.PRIORITISE, at, {"priority": priority})
    session.index.tell(job)
    return job


def remove(session: Session, job_id: str, *, is_noted: bool = False) -> Job:
    """Delete a final job with all that lies in its directory, and return what it was. is_noted: see the store.

    Its model and its answers, which lie elsewhere, are kept.
    """
    session.require_redis()
    job = session.store.load(job_id)
    stages = _staged(session, job)  # the spec says where, and goes with the job
    session.store.remove(job_id, _check_final, is_noted=is_noted)
    for stage in stages:
        remove_if_possible(stage)
    with redis_may_be_away():
        session.index.forget(job_id)
    return job


def _check_final(job: Job) -> None:
    if not job.is_final:
        raise NotNow(
            f"job {job.id} is {job.state.value}, so it cannot be removed",
            hint=f"`singlepoint rm --force {job.id}` cancels it first",
        )


def remove_damaged(session: Session, job_id: str) -> None:
    """Delete a job whose history cannot be read, unless somebody works on it still."""
    session.require_redis()
    session.store.remove(job_id)
    with redis_may_be_away():
        session.index.forget(job_id)


def cancel_and_wait(session: Session, job_id: str, at: float, timeout_s: float) -> None:
    """Cancel a job that has not ended, and wait until it has; raises NotNow when it takes too long."""
    if session.store.load(job_id).is_final:
        return
    cancel(session, job_id, at)
    [job] = wait_for(session.store, [job_id], timeout_s)
    if not job.is_final:
        raise NotNow(f"job {job_id} was asked to stop and has not yet", hint="try again in a moment")


def dependents(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Jobs whose end others, not yet ended, still wait for: each with one that does."""
    return {needed: row["id"] for row in rows if row["state"] not in FINAL for needed in _needs(row)}


def _needs(row: Mapping[str, Any]) -> Iterable[str]:
    """One that ran once has waited for all of them already."""
    return () if row["attempt"] else (parse_after(text).job for text in row["after"])


def require_unneeded(job_id: str, needed: Mapping[str, str]) -> None:
    """Raises NotNow for a job that another one still needs; see `dependents`."""
    if job_id in needed:
        waits = needed[job_id]
        hint = f"remove that one first: `singlepoint rm --force {waits}`"
        raise NotNow(f"job {waits} waits for {job_id}", hint=hint)


def prunable(session: Session, at: float, older_than_s: float, keep: int) -> list[str]:
    """The jobs that ended longer ago than `older_than_s`, are not among the `keep` newest, and that no other needs
    still; the last to end first."""
    from singlepoint.jobs.store.retention import doomed  # settings bring their validators: not for every command
    from singlepoint.jobs.store.settings import Retention

    needed = dependents(listing(session).rows)
    rule = Retention(older_than=f"{older_than_s:.6f}s", keep=keep)
    ended = map(head_of, by_end(session.store.catalogue.lines()))
    return [head.id for head in doomed(ended, rule, at) if head.id not in needed]


def _staged(session: Session, job: Job) -> list[Path]:
    """What dead attempts left beside the job's output."""
    try:
        spec = from_json(session.store.accepted_spec(job))
    except (KeyError, ValueError, TypeError, HistoryDamaged, NotFound):
        return []
    return [stage for output in outputs(spec) for stage in staged_outputs(Path(output), job.id)]


def _has_ended(job: Job) -> str:
    return f"has ended ({job.state.value})"


def _see(job_id: str) -> str:
    return f"see `singlepoint show {job_id}`"
