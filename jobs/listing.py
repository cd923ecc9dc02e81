"""All jobs as `ps` shows them: from the index, or from the directories when Redis is away or not yet filled.

Every waiting job gets a reason: `with_reasons` is the rule, and pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .capacity import read_capacity
from .errors import BrokerAway, NotFound
from .lifecycle import FINAL
from .session import Session, redis_error
from .summary import summary

Row = dict[str, Any]

NOTHING_RUNS = "nothing is running: `singlepoint up --detach` starts it"

_ASKED = {"cancel": "asked to stop", "preempt": "asked to make room", "pause": "asked to pause"}


@dataclass(frozen=True)
class Listing:
    """rows: oldest first.  away: why Redis was not asked, when it should have been."""

    rows: list[Row]
    away: BrokerAway | None = None


def listing(session: Session) -> Listing:
    """Every job, with its progress and, where it waits, the reason."""
    away = None
    head: Row = {}
    rows: list[Row] | None = None
    try:
        if session.index.is_complete():
            rows = session.index.summaries()
        head = session.index.head()
    except Exception as error:
        away = error if isinstance(error, BrokerAway) else redis_error(error)
        if away is None:
            raise
    return Listing(with_reasons(from_disk(session) if rows is None else rows, head, is_scheduled(session)), away)


def from_disk(session: Session) -> list[Row]:
    """Every job as its directory tells it, oldest first."""
    rows = []
    for job_id in session.store.ids():
        try:
            job = session.store.load(job_id)
        except NotFound:
            continue  # removed while we looked
        rows.append({**summary(job), **(progress(session, job_id) if job.state == "running" else {})})
    return sorted(rows, key=lambda row: (row["submitted_at"], row["id"]))


def progress(session: Session, job_id: str) -> Row:
    """How far the newest attempt is, as it last wrote it down; empty before the first report."""
    try:
        return dict(json.loads((session.home.job(job_id) / "progress.json").read_bytes()))
    except (OSError, ValueError):
        return {}


def is_scheduled(session: Session) -> bool:
    """Whether a scheduler runs in this home."""
    capacity = read_capacity(session.home)
    return capacity is not None and capacity.is_live()


def with_reasons(rows: Sequence[Row], head: Row, scheduled: bool) -> list[Row]:
    """The rows, each one that waits with what it waits for.

    head: what the first waiting job lacks, as the scheduler last said (`job`, `reason`); it may be empty.
    """
    states = {row["id"]: row["state"] for row in rows}
    return [{**row, "reason": _reason(row, head, states, scheduled)} for row in rows]


def _reason(row: Row, head: Row, states: dict[str, str], scheduled: bool) -> str | None:
    if row["state"] in FINAL:
        return _text(row["reason"])
    if row["asks"]:
        return ", ".join(_ASKED.get(ask, ask) for ask in row["asks"])
    if row["paused"] or row["held"]:
        return f"paused: `singlepoint resume {row['id']}`"
    if row["state"] == "running":
        return None
    if not scheduled:
        return NOTHING_RUNS
    if row["state"] == "queued":
        return "a worker is about to take it"
    if before := [job_id for job_id in row["after"] if states.get(job_id) != "succeeded"]:
        return f"after {', '.join(before)}"
    if head.get("job") == row["id"]:
        return _text(head.get("reason"))
    if head.get("job") in states:
        return f"behind {head['job']}"
    return _text(row["reason"]) or "the scheduler is about to look at it"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
