"""Whether a home is drained, now or from a time on: nothing is started, and running work saves and is handed back.

The truth is a file in the home, so it outlives every process. The scheduler looks at it each time it decides. A drain
lasts until it is taken back, or for as long as it was asked for. Before one that was planned begins, work that can be
put down is started as ever, and of the rest what should have ended by then.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from singlepoint.jobs import documents
from singlepoint.jobs.amounts import LAST_S
from singlepoint.jobs.clock import iso
from singlepoint.jobs.store.durable import explained, replace_file, sync_directory
from singlepoint.jobs.store.home import Home


@dataclass(frozen=True)
class Drain:
    """Seconds since the epoch. begins_at: from when on nothing runs.  ends_at: when all goes on by itself."""

    begins_at: float
    ends_at: float = math.inf

    def holds(self, now: float) -> bool:
        return self.begins_at <= now < self.ends_at

    def next_change(self, now: float) -> float:
        """When it begins or ends by itself; infinity when it has done so, or never will."""
        return next((at for at in (self.begins_at, self.ends_at) if now < at), math.inf)

    def to_json(self) -> dict[str, str | None]:
        ends_at = iso(self.ends_at) if self.ends_at < math.inf else None
        return {"begins_at": iso(self.begins_at), "ends_at": ends_at}


def lasting(begins_at: float, length_s: float | None) -> Drain:
    """One that begins then, and ends after so long or never by itself. Raises ValueError for what is beyond time."""
    ends_at = math.inf if length_s is None else begins_at + length_s
    if length_s is not None and ends_at > LAST_S:
        raise ValueError("would end after the year 9999; leave the length out for a drain that does not end by itself")
    return Drain(begins_at, ends_at)


def drain(home: Home, plan: Drain, at: float) -> None:
    """Drain as planned, in place of any plan before; one that holds already goes on from where it began.

    Raises StorageFull, NotPermitted.
    """
    known = planned_drain(home, at)
    if known is not None and known.holds(at) and plan.holds(at):
        plan = Drain(known.begins_at, plan.ends_at)
    replace_file(home.draining, json.dumps(plan.to_json()).encode(), point="drain")


def end_drain(home: Home, at: float) -> bool:
    """Start jobs again, or take the plan back; False when there was none."""
    was_planned = planned_drain(home, at) is not None
    with explained(home.draining):
        home.draining.unlink(missing_ok=True)
        sync_directory(home.path)
    return was_planned


def planned_drain(home: Home, at: float) -> Drain | None:
    """The drain that holds or is still to come, None for none."""
    try:
        plan = _read(home)
    except FileNotFoundError:
        return None
    except (ValueError, OSError):  # somebody made it by hand
        plan = Drain(home.draining.stat().st_mtime)
    return plan if at < plan.ends_at else None


def _read(home: Home) -> Drain:
    text = home.draining.read_text().strip()
    if not text.startswith("{"):  # of version 0.1: when it began
        return Drain(documents.time({"at": text}, "at"))
    document = documents.parse_object(text)
    return Drain(documents.time(document, "begins_at"), documents.time(document, "ends_at", math.inf))
