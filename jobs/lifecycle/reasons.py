"""Why a job is not running: one rule and one sentence for every row, so that `ps`, `show` and `explain` agree. Pure.

What a job's own row does not tell (who is in front; what there is no room for, in the words of
`scheduler.policy.shortage`) the scheduler says now and then: `Told`. Everything else follows from the row, the states
of the others and the budget, with or without a scheduler or Redis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from singlepoint.jobs import documents
from singlepoint.jobs.clock import iso, seconds

from .dependencies import After, parse_after
from .records import Resources, as_counted, granted_of
from .retry import LONGEST_BACKOFF_S
from .states import FINAL, State

Row = Mapping[str, Any]
"""A `summary.summary`; `dead` is added where nobody works on a job that counts as running."""


class Why(StrEnum):
    """What keeps a job where it is; the first that applies."""

    ENDED = "ended"
    ASKED = "asked"  # to stop, and it has not yet
    RESUMING = "resuming"  # paused, and goes on when it gets its cores
    PAUSED = "paused"
    DIED = "died"
    RUNNING = "running"
    NOTHING_RUNS = "nothing_runs"
    QUEUED = "queued"
    STANDSTILL = "standstill"
    ENDING = "ending"  # an earlier attempt may still live
    DOOMED = "doomed"
    HELD = "held"
    AFTER = "after"
    BEGINS = "begins"  # not before a time
    DELAYED = "delayed"
    OVERSIZED = "oversized"
    DRAINING = "draining"
    AWAY = "away"  # Redis
    LINE = "line"  # waits for room, as the scheduler says


Quantiles = tuple[float, float, float]
"""p10, p50, p90."""


@dataclass(frozen=True)
class Eta:
    """When a job should start, None for one that runs, and end; seconds since the epoch."""

    start: Quantiles | None
    end: Quantiles

    def to_json(self) -> dict[str, Any]:
        """As `ps` has it: {start, end: {p10, p50, p90}}, in UTC."""
        named = {"start": self.start, "end": self.end}
        return {
            name: None if times is None else dict(zip(("p10", "p50", "p90"), map(iso, times), strict=True))
            for name, times in named.items()
        }

    @classmethod
    def from_json(cls, document: documents.Document) -> Self:
        """The inverse of `to_json`; raises Malformed."""
        start = documents.mapping(document, "start", None)
        return cls(None if start is None else _quantiles(start), _quantiles(documents.mapping(document, "end")))


def _quantiles(document: documents.Document) -> Quantiles:
    return documents.time(document, "p10"), documents.time(document, "p50"), documents.time(document, "p90")


@dataclass(frozen=True)
class Told:
    """What the scheduler last said of those that wait. why: a sentence for each that it looked at.

    eta: when those that run, and the first of those that wait, should start and end.  in_time: the chance of each that
    has a deadline to meet it.

    first: who is first of those it could not start.  everybody: what holds for all that wait, `""` for nothing.
    ending: jobs whose earlier attempt may still live.
    """

    first: str = ""
    why: Mapping[str, str] = field(default_factory=dict)
    everybody: str = ""
    ending: frozenset[str] = frozenset()
    eta: Mapping[str, Eta] = field(default_factory=dict)
    in_time: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "why": dict(self.why),
            "everybody": self.everybody,
            "ending": sorted(self.ending),
            "eta": {job_id: eta.to_json() for job_id, eta in self.eta.items()},
            "in_time": dict(self.in_time),
        }

    @classmethod
    def from_json(cls, document: documents.Document) -> Self:
        """The inverse of `to_json`; raises Malformed."""
        why, eta, in_time = (documents.mapping(document, name, {}) for name in ("why", "eta", "in_time"))
        return cls(
            documents.text(document, "first", ""),
            {job_id: documents.text(why, job_id) for job_id in why},
            documents.text(document, "everybody", ""),
            frozenset(documents.texts(document, "ending", ())),
            {job_id: Eta.from_json(documents.mapping(eta, job_id)) for job_id in eta},
            {job_id: documents.number(in_time, job_id, most=1.0) for job_id in in_time},
        )


@dataclass(frozen=True)
class Surroundings:
    """What a reason depends on besides the row.

    at: the time, seconds since the epoch.  states: of every job there is, by id.  room: what there is in all, None when
    no scheduler runs.  told: what it said; None while Redis is away.  complaint: why the scheduler does nothing, if so.

    draining: whether the home is drained, and drained_until: when that ends by itself, if it does.
    """

    at: float
    states: Mapping[str, str]
    room: Resources | None
    told: Told | None
    draining: bool = False
    drained_until: float = math.inf
    complaint: str = ""


NOTHING_RUNS = "nothing is running: `singlepoint up --detach` starts it"
DIED = "its process died; `singlepoint up --detach` goes on with it"

_ASKED = {"cancel": "asked to stop", "preempt": "asked to make room", "pause": "asked to pause"}


def with_reason(row: Row, around: Surroundings) -> dict[str, Any]:
    """The row with the sentence for it as `reason`, None for a job that simply runs or succeeded; and its `eta`, with
    the chance to meet its deadline as `deadline_probability`."""
    told = around.told if around.told is not None and row["state"] not in FINAL else Told()
    eta = told.eta.get(row["id"])
    foreseen = {"eta": eta and eta.to_json(), "deadline_probability": told.in_time.get(row["id"])}
    return {**row, "reason": _SENTENCES[why(row, around)](row, around), **foreseen}


def why(row: Row, around: Surroundings) -> Why:
    """The rule."""
    if row["state"] in FINAL:
        return Why.ENDED
    if row["state"] == State.RUNNING:
        return _why_running(row)
    if row["state"] == State.QUEUED:
        return Why.ASKED if row["asks"] else Why.NOTHING_RUNS if around.room is None else Why.QUEUED
    return _why_pending(row, around)


def _why_running(row: Row) -> Why:
    if _open_asks(row):
        return Why.ASKED
    if row["paused"]:
        return Why.PAUSED if "pause" in row["asks"] and not row["gives_way"] else Why.RESUMING
    return Why.DIED if row.get("dead") else Why.RUNNING


def _why_pending(row: Row, around: Surroundings) -> Why:
    told, not_before = around.told, seconds(row["not_before"]) if row["not_before"] else 0.0
    begin_at = seconds(row["begin_at"]) if row["begin_at"] and not row["attempt"] else 0.0
    rules = (
        (Why.ENDING, told is not None and row["id"] in told.ending),
        (Why.DOOMED, _never(row, around) is not None),
        (Why.HELD, row["held"]),
        (Why.NOTHING_RUNS, around.room is None),
        (Why.STANDSTILL, bool(around.complaint)),
        (Why.AFTER, bool(_before(row, around))),
        (Why.BEGINS, around.at < begin_at),
        (Why.DELAYED, around.at < not_before <= around.at + LONGEST_BACKOFF_S),  # later: the clock was set back
        (Why.OVERSIZED, around.room is not None and not _need(row, around.room).fits_in(around.room)),
        (Why.DRAINING, around.draining),
        (Why.AWAY, told is None),
    )
    return next((reason for reason, holds in rules if holds), Why.LINE)


def _before(row: Row, around: Surroundings) -> list[tuple[After, State | None]]:
    """What it still has to come after, and where that stands; one that ran once has waited for all of it already."""
    after = [] if row["attempt"] else [parse_after(text) for text in row["after"]]
    stand = [(one, State(around.states[one.job]) if one.job in around.states else None) for one in after]
    return [(one, state) for one, state in stand if not one.is_met(state)]


def _never(row: Row, around: Surroundings) -> str | None:
    """The job for which it can never start, and why."""
    told = ((one.job, one.never(state)) for one, state in _before(row, around))
    return next((f"{job}, which it comes after, {why}" for job, why in told if why is not None), None)


def _need(row: Row, room: Resources) -> Resources:
    amounts = round(1000 * row["cpu"]), row["memory_bytes"], row["storage_bytes"], row["network_bytes_s"]
    asked = Resources.made_of(amounts, as_counted(row.get("counted") or {}))
    return granted_of(asked, row["grown"], room)


def _open_asks(row: Row) -> list[str]:
    return [ask for ask in row["asks"] if ask != "pause" or not row["paused"]]


def _asked(row: Row, _around: Surroundings) -> str:
    asks = _open_asks(row)
    if row["gives_way"] and asks in (["pause"], ["preempt"]):
        return "asked to make room for other work"
    return ", ".join(_ASKED.get(ask, ask) for ask in asks)


def _doomed(row: Row, around: Surroundings) -> str:
    return f"about to fail: {_never(row, around)}"


def _after(row: Row, around: Surroundings) -> str:
    return "after " + ", ".join(f"{one} ({state})" for one, state in _before(row, around))


def _line(row: Row, around: Surroundings) -> str:
    told = around.told or Told()
    if said := told.why.get(row["id"]) or told.everybody:
        return said
    return f"behind {told.first}" if told.first else "the scheduler is about to look at it"


def _end_of_drain(around: Surroundings) -> str:
    return iso(around.drained_until) if around.drained_until < math.inf else "`singlepoint drain --off`"


def _because(row: Row) -> str:
    return f" ({row['reason']})" if row["reason"] else ""


_SENTENCES: dict[Why, Callable[[Row, Surroundings], str | None]] = {
    Why.ENDED: lambda row, _: row["reason"],
    Why.ASKED: _asked,
    Why.RESUMING: lambda row, _: "goes on when it gets its cores",
    Why.PAUSED: lambda row, _: f"paused, holding its memory: `singlepoint resume {row['id']}`",
    Why.DIED: lambda _row, _: DIED,
    Why.RUNNING: lambda _row, _: None,
    Why.NOTHING_RUNS: lambda _row, _: NOTHING_RUNS,
    Why.QUEUED: lambda _row, _: "a worker is about to take it",
    Why.STANDSTILL: lambda _row, around: around.complaint,
    Why.ENDING: lambda row, _: f"attempt {row['attempt']} is still ending: a process of it holds the job's lock",
    Why.DOOMED: _doomed,
    Why.HELD: lambda row, _: f"paused: `singlepoint resume {row['id']}`",
    Why.AFTER: _after,
    Why.BEGINS: lambda row, _: f"begins at {row['begin_at']}, as was asked",
    Why.DELAYED: lambda row, _: f"waits until {row['not_before']}{_because(row)}",
    Why.OVERSIZED: lambda _row, _: "can never fit the budget as it is: `singlepoint doctor` shows it",
    Why.DRAINING: lambda _row, around: f"nothing is started: the home is being drained, until {_end_of_drain(around)}",
    Why.AWAY: lambda row, _: f"goes on when Redis is back{_because(row)}",
    Why.LINE: lambda row, around: _line(row, around) + _because(row),
}
