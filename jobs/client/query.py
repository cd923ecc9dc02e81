"""The jobs that have not ended as `ps` shows them: from the index, or from the directories when Redis is away or not
yet filled. See `listing` for those that have.

Every waiting job gets a reason: `lifecycle.reasons` is the rule.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from singlepoint.jobs.clock import now
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import BrokerAway, BrokerRefuses, HistoryDamaged, InvalidInput, NotFound
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.standstill import scheduler_complaint
from singlepoint.jobs.lifecycle.dependencies import parse_after
from singlepoint.jobs.lifecycle.reasons import Surroundings, Told, with_reason
from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.jobs.lifecycle.summary import read_progress, summary
from singlepoint.jobs.services.draining import planned_drain

from .session import Session, asked

if TYPE_CHECKING:
    from singlepoint.jobs.broker.index import Index

Row = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """rows: oldest first.  away: why Redis was not asked, when it should have been."""

    rows: list[Row]
    away: BrokerAway | None = None


def listing(session: Session) -> Listing:
    """Every job that has not ended, with its progress and, where it waits, the reason."""
    told, away = _told(session)
    rows = None
    if away is None:
        rows, away = asked(session, lambda index: _complete(index.summaries(), index))
    if rows is None:
        rows = from_disk(session)
    around = surroundings(session, states_of(session, rows), told, away)
    if around.room is None:
        rows = [{**row, "dead": is_dead(session, row)} for row in rows]
    return Listing([with_reason(row, around) for row in rows], away)


def _complete(rows: list[Row], index: Index) -> list[Row] | None:
    """The rows, or None when they are not all: nobody filled the index yet, or something in it made no sense."""
    return rows if index.is_complete() else None


def _told(session: Session) -> tuple[Told | None, BrokerAway | None]:
    """What the scheduler last said of those that wait, or None and why Redis was not asked.

    An index that takes nothing any more is behind, and not asked either.
    """
    from singlepoint.jobs.broker.refusals import require_writable

    def ask(index: Index) -> Told:
        require_writable(index.connection)
        return index.told()

    return asked(session, ask)


def states_of(session: Session, rows: Sequence[Row]) -> dict[str, str]:
    """Where the jobs of these rows stand, and those that they come after, which may have ended."""
    states = {row["id"]: str(row["state"]) for row in rows}
    needed = {parse_after(text).job for row in rows for text in row["after"]}
    return states | _fates(session, needed - states.keys())


def _fates(session: Session, job_ids: Iterable[str]) -> dict[str, str]:
    """Where these jobs stand, or how they had ended that were removed since; without those nobody knows of."""
    fates = {}
    for job_id in job_ids:
        with contextlib.suppress(HistoryDamaged):
            fates[job_id] = session.store.fate(job_id)
    return {job_id: fate.value for job_id, fate in fates.items() if fate is not None}


def live(session: Session, job: Job) -> tuple[Row, BrokerAway | None]:
    """What the history does not tell of a job: the reason for which it waits, and its progress while it runs.

    The same that a listing says of it; with why Redis was not asked, when it should have been.
    """
    if job.is_final:
        return {}, None
    told, away = _told(session)
    around = surroundings(session, _fates(session, {one.job for one in job.after}), told, away)
    row = {**summary(job), **({"dead": is_dead(session, summary(job))} if around.room is None else {})}
    told_of = with_reason(row, around)
    found: Row = {name: told_of[name] for name in ("reason", "eta", "deadline_probability")}
    if job.state == "running":
        found.update(progress(session, job.id))
    return found, away


def is_dead(session: Session, row: Row) -> bool:
    """Whether a job that counts as running has nobody who works on it: no scheduler has noticed yet."""
    return bool(row["state"] == "running" and not session.store.is_being_worked_on(row["id"]))


def from_disk(session: Session) -> list[Row]:
    """Every job that has not ended as its directory tells it, oldest first."""
    rows = []
    for job_id in session.store.unlisted_ids():
        try:
            job = session.store.load(job_id)
        except (NotFound, HistoryDamaged):
            continue  # removed while we looked, or nothing can be told of it
        if not job.is_final:
            rows.append({**summary(job), **(progress(session, job_id) if job.state == "running" else {})})
    return sorted(rows, key=lambda row: (row["submitted_at"], row["id"]))


def progress(session: Session, job_id: str) -> Row:
    """How far the newest attempt is, as it last wrote it down; empty before the first report."""
    try:
        return read_progress(session.home.job_files(job_id).progress.read_bytes())
    except (OSError, Malformed):
        return {}


def room(session: Session) -> Resources | None:
    """What jobs may have of the machine, all together; None when no scheduler runs in this home."""
    try:
        capacity = read_capacity(session.home)
    except InvalidInput:
        return None  # a damaged record says nothing, and is nothing to stop a list for
    return capacity.room if capacity is not None and capacity.is_live() else None


def surroundings(
    session: Session, states: Mapping[str, str], told: Told | None, away: BrokerAway | None
) -> Surroundings:
    """What the reasons of jobs depend on besides their rows. told: by the scheduler; None while Redis is away."""
    at = now()
    plan = planned_drain(session.home, at)
    return Surroundings(
        at=at,
        states=states,
        room=room(session),
        told=told,
        draining=plan is not None and plan.holds(at),
        drained_until=plan.ends_at if plan is not None else math.inf,
        complaint=away.message if isinstance(away, BrokerRefuses) else scheduler_complaint(session.home),
    )
