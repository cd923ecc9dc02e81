"""Time as values: seconds since the epoch inside, UTC ISO-8601 outside. Reads a clock only in `now`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Returns seconds since the epoch. Passed in wherever time matters, so that tests move it."""


def now() -> float:
    """The present, in seconds since the epoch."""
    return time.time()


def iso(at: float) -> str:
    """`2026-11-24T05:32:29.123456Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def local(at: float, now: float) -> str:
    """A time of day here, with the date where it is not today's."""
    moment, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now)
    return moment.strftime("%H:%M:%S" if moment.date() == today.date() else "%Y-%m-%d %H:%M")


def seconds(text: str) -> float:
    """The inverse of `iso`; raises ValueError for anything else."""
    return datetime.fromisoformat(text).timestamp()
