"""Lists of jobs: those that go on, from the index, and those that have ended, from the ledger, newest first.

What a list costs depends on what it shows: of jobs that have ended only their line in the ledger is looked at, and the
histories of those that are shown are read. Sorted by anything but the time of submission, all that match are read.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from singlepoint.jobs.errors import BrokerAway, HistoryDamaged, NotFound, UsageError
from singlepoint.jobs.ledger.catalogue import Head, Line, beginning_of, head_of, id_of, states_of
from singlepoint.jobs.lifecycle.states import FINAL, State
from singlepoint.jobs.lifecycle.summary import summary
from singlepoint.jobs.store.ledger import run

from .query import Row, listing
from .session import Session

Key = tuple[str, str]
"""(submitted_at, id): a list's order, last first."""

WAITING, ENDED, PAUSED = "waiting", "ended", "paused"
STATUSES = (*(state.value for state in State), WAITING, PAUSED, ENDED)
"""What may be asked for: a state; pending or queued; running but stopped, or held; any final state."""


def _by(name: str, nothing: Any) -> Callable[[Row], Any]:
    return lambda row: nothing if row[name] is None else row[name]


SORTS: Mapping[str, Callable[[Row], Any]] = {
    **{name: _by(name, "") for name in ("id", "name", "kind", "project", "state", "reason")},
    **{name: _by(name, 0) for name in ("progress", "attempt", "priority", "cpu")},
    "memory": _by("memory_bytes", 0),
    "submitted": _by("submitted_at", ""),
    "running": _by("started_at", ""),
    "ended": _by("ended_at", ""),
}
"""The columns of `ps`, and what they are sorted by."""


@dataclass(frozen=True)
class Wanted:
    """Which jobs a list is of. ended: those that have ended too; asked for by status they are in any case.

    name: a pattern such as `wdbc-*`.  limit: at most so many.  sort: a column of `ps`, or `-` and one for the largest
    first; None: newest first.  before: only jobs that stand behind that one in a list of newest first.
    """

    ended: bool = False
    statuses: frozenset[str] = frozenset()
    name: str | None = None
    kind: str | None = None
    project: str | None = None
    limit: int | None = None
    sort: str | None = None
    before: Key | None = None

    def __post_init__(self) -> None:
        for status in self.statuses - set(STATUSES):
            raise UsageError(f"no status {status!r}", hint=f"one of {', '.join(STATUSES)}")
        if self.sort is not None and self.sort.removeprefix("-") not in SORTS:
            raise UsageError(f"cannot sort by {self.sort!r}", hint=f"one of {', '.join(SORTS)}; -cpu: largest first")

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return re.compile(fnmatch.translate(self.name)) if self.name is not None else None

    @property
    def takes_ended(self) -> bool:
        return bool(self.statuses & {ENDED, *FINAL}) if self.statuses else self.ended

    def takes(self, job: Row) -> bool:
        """Whether a job matches, wherever it stands in the list. job: a row, or as much of one as a `Head` knows."""
        return (
            self.takes_status(job)
            and (self._pattern is None or self._pattern.match(job["name"]) is not None)
            and (self.kind is None or job["kind"] == self.kind)
            and (self.project is None or job["project"] == self.project)
        )

    @property
    def is_of_status(self) -> bool:
        """Whether the status alone decides."""
        return self.name is None and self.kind is None and self.project is None

    def takes_status(self, job: Row) -> bool:
        """Whether a job's status is one of those wanted; of one that has ended, its state is all there is to it."""
        state = job["state"]
        if not self.statuses:
            return self.ended or state not in FINAL
        if job.get("paused") or job.get("held"):
            return not self.statuses.isdisjoint({state, PAUSED})
        return not self.statuses.isdisjoint({state, WAITING if state in _WAITS else ENDED if state in FINAL else ""})


_WAITS = frozenset({State.PENDING, State.QUEUED})


@dataclass(frozen=True)
class Selection:
    """rows: in the order that was asked for.  matched: how many there would be without a limit, a whole list of them;
    behind: how many of them stand behind the last row.

    counts: of all jobs that go on, and, where such were asked for, of all that have ended, by state.
    away: why Redis was not asked, when it should have been.
    """

    rows: list[Row]
    matched: int
    behind: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    away: BrokerAway | None = None


def select(session: Session, wanted: Wanted) -> Selection:
    """The jobs that are wanted."""
    found = listing(session)
    going_on = {row["id"]: row for row in found.rows}
    taken, counts = _taken(session, found.rows, wanted)
    before = wanted.before and beginning_of(*wanted.before)
    page = taken if before is None else [line for line in taken if line < before]
    first = sorted(page, reverse=True)[: None if wanted.sort else wanted.limit]
    rows = list(_rows(session, map(id_of, first), going_on))
    if wanted.sort is not None:
        rows.sort(key=SORTS[wanted.sort.removeprefix("-")], reverse=wanted.sort.startswith("-"))
    return Selection(rows[: wanted.limit], len(taken), len(page) - len(first), counts, found.away)


def ids_of(session: Session, *wanted: Wanted) -> list[str]:
    """The ids of the jobs that all of these take, oldest first: the order in which to do something with each."""
    taken, _ = _taken(session, listing(session).rows, *wanted)
    return [id_of(line) for line in sorted(taken)]


def _taken(session: Session, going_on: Sequence[Row], *wanted: Wanted) -> tuple[list[Line], Counter[str]]:
    """The jobs that all of these take: of those that go on and, if any takes such, of those that have ended, the
    ledger's list and those whose end is not noted yet. Each as its line, or as much of one as sorts it; and how many of
    each state were looked at.
    """
    rows, ended = list(going_on), []
    if any(one.takes_ended for one in wanted):
        known = {row["id"] for row in going_on}
        unlisted, listed = session.store.unlisted_and_listed()
        ended = run(listed.lines_but(known))
        late = (row_of(session, job_id) for job_id in unlisted if job_id not in known)
        rows += [row for row in late if row is not None and row["state"] in FINAL]
    states = states_of(ended)
    counts = Counter([row["state"] for row in rows])
    counts.update(states)
    taken = [beginning_of(row["submitted_at"], row["id"]) for row in rows if all(one.takes(row) for one in wanted)]
    return taken + _taken_of(ended, states, wanted), counts


def _taken_of(lines: Sequence[Line], states: Sequence[str], wanted: Sequence[Wanted]) -> list[Line]:
    """Those of the jobs that have ended; of 100,000 lines few are taken apart."""
    taking = {state for state in FINAL if all(one.takes_status({"state": state}) for one in wanted)}
    in_doubt = [one for one in wanted if not one.is_of_status]
    taken = [line for line, state in zip(lines, states, strict=True) if state in taking]
    return [line for line in taken if all(one.takes(_row(line)) for one in in_doubt)] if in_doubt else taken


def _row(line: Line) -> Row:
    """As much of a row as the ledger knows."""
    head = head_of(line)
    return {name: getattr(head, name) for name in Head.__slots__}


def _rows(session: Session, ids: Iterable[str], going_on: Mapping[str, Row]) -> Iterator[Row]:
    for job_id in ids:
        row = going_on.get(job_id) or row_of(session, job_id)
        if row is not None:
            yield row


def row_of(session: Session, job_id: str) -> Row | None:
    """One job by its history; None when it was removed while we looked, or cannot be read."""
    try:
        return summary(session.store.load(job_id))
    except (NotFound, HistoryDamaged):
        return None
