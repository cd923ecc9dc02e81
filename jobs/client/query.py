"""All jobs as `ps` shows them: from the index, or from the directories when Redis is away or not yet filled.

Every waiting job gets a reason: `with_reasons` is the rule, and pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from singlepoint.jobs.clock import now, seconds
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import BrokerAway, BrokerRefuses, HistoryDamaged, InvalidInput, NotFound
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.standstill import scheduler_complaint
from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.jobs.lifecycle.states import FINAL
from singlepoint.jobs.lifecycle.summary import read_progress, summary

from .session import Session, asked

if TYPE_CHECKING:
    from singlepoint.jobs.broker.index import Index

Row = dict[str, Any]

NOTHING_RUNS = "nothing is running: `singlepoint up --detach` starts it"

DIED = "its process died; `singlepoint up --detach` goes on with it"

_ASKED = {"cancel": "asked to stop", "preempt": "asked to make room", "pause": "asked to pause"}


@dataclass(frozen=True)
class Listing:
    """rows: oldest first.  away: why Redis was not asked, when it should have been."""

    rows: list[Row]
    away: BrokerAway | None = None


def listing(session: Session) -> Listing:
    """Every job, with its progress and, where it waits, the reason."""
    head, away = asked(session, lambda index: index.head())
    rows = None
    if away is None:
        rows, away = asked(session, _told)
    if rows is None:
        rows = from_disk(session)
    there = room(session)
    if there is None:
        rows = [{**row, "dead": is_dead(session, row)} for row in rows]
    complaint = away.message if isinstance(away, BrokerRefuses) else scheduler_complaint(session.home)
    return Listing(with_reasons(rows, head, there, now(), complaint), away)


def _told(index: Index) -> list[Row] | None:
    """What the index says, or None when that is not all: nobody filled it yet, or something in it made no sense.

    Raises BrokerRefuses: an index that takes nothing any more is behind.
    """
    from singlepoint.jobs.broker.connection import require_writable

    require_writable(index.connection)
    rows = index.summaries()
    return rows if index.is_complete() else None


def live(session: Session, job: Job) -> tuple[Row, BrokerAway | None]:
    """What the history does not tell of a job that has not ended: progress, and the reason for which it waits."""
    if job.is_final:
        return {}, None
    head, away = asked(session, lambda index: index.head())
    needed = [summary(session.store.load(job_id)) for job_id in job.after if session.store.size(job_id)]
    there, row = room(session), summary(job)
    if there is None:
        row["dead"] = is_dead(session, row)
    rows = with_reasons([row, *needed], head, there, now(), scheduler_complaint(session.home))
    found: Row = {"reason": rows[0]["reason"]}
    if job.state == "running":
        found.update(progress(session, job.id))
    return found, away


def is_dead(session: Session, row: Row) -> bool:
    """Whether a job that counts as running has nobody who works on it: no scheduler has noticed yet."""
    return bool(row["state"] == "running" and not session.store.is_being_worked_on(row["id"]))


def from_disk(session: Session) -> list[Row]:
    """Every job as its directory tells it, oldest first."""
    rows = []
    for job_id in session.store.ids():
        try:
            job = session.store.load(job_id)
        except (NotFound, HistoryDamaged):
            continue  # removed while we looked, or nothing can be told of it
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


def with_reasons(
    rows: Sequence[Row], head: Row | None, room: Resources | None, at: float, complaint: str = ""
) -> list[Row]:
    """The rows, each one that waits with what it waits for.

    head: the first of those that wait for room and what it lacks, as the scheduler last said (`id`, `reason`);
    None when Redis is away.  room: what there is in all, or None when no scheduler runs.  complaint: why the
    scheduler does nothing, if so.
    """
    states = {row["id"]: row["state"] for row in rows}
    return [{**row, "reason": _reason(row, head, states, room, at, complaint)} for row in rows]


def _reason(
    row: Row, head: Row | None, states: Mapping[str, str], room: Resources | None, at: float, complaint: str
) -> str | None:
    if row["state"] in FINAL:
        return None if row["reason"] is None else str(row["reason"])
    if asks := [ask for ask in row["asks"] if ask != "pause" or not row["paused"]]:
        return ", ".join(_ASKED.get(ask, ask) for ask in asks)
    if row["paused"] and "pause" not in row["asks"]:
        return "goes on when it gets its cores"
    if row["paused"] or row["held"]:
        return f"paused: `singlepoint resume {row['id']}`"
    if row["state"] == "running":
        return DIED if row.get("dead") else None
    if room is None:
        return NOTHING_RUNS
    if row["state"] == "queued":
        return "a worker is about to take it"
    return complaint or _waits_for(row, head, states, room, at)


def _waits_for(row: Row, head: Row | None, states: Mapping[str, str], room: Resources, at: float) -> str:
    """Why a pending job that nobody holds back is not dispatched."""
    because = f" ({row['reason']})" if row["reason"] else ""
    if before := [job_id for job_id in row["after"] if states.get(job_id) != "succeeded"]:
        return f"after {', '.join(before)}"
    if row["not_before"] and seconds(row["not_before"]) > at:
        return f"waits until {row['not_before']}{because}"
    if not Resources(round(1000 * row["cpu"]), row["memory_bytes"]).fits_in(room):
        return "can never fit the budget as it is: `singlepoint doctor` shows it"
    if head is None:
        return f"goes on when Redis is back{because}"
    if head.get("id") == row["id"]:
        return str(head["reason"])
    return f"behind {head['id']}{because}" if "id" in head else f"the scheduler is about to look at it{because}"
