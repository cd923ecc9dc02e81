"""When in the week something holds: `nights`, `mon-fri 9:00-18:00`, `wed weekends`. Pure; local time is passed in.

A span that ends before it begins goes over midnight, and belongs to the day it begins on: `fri 22:00-6:00` ends on
Saturday morning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN = 24 * 60
WORDS = {
    "nights": "22:00-6:00",
    "days": "6:00-22:00",
    "weekdays": "mon-fri",
    "weekends": "sat-sun",
    "always": "mon-sun",
}
"""Short for what people mean most."""

_DAYS = re.compile(r"([a-z]{3})(?:-([a-z]{3}))?")
_TIMES = re.compile(r"(\d{1,2})(?::(\d{2}))?-(\d{1,2})(?::(\d{2}))?")


@dataclass(frozen=True)
class Span:
    """days: of the week, Monday is 0.  begin_min, end_min: minutes after midnight; the end is not part of it."""

    days: frozenset[int]
    begin_min: int = 0
    end_min: int = DAY_MIN

    def holds(self, day: int, minute: int) -> bool:
        """Whether this minute of that day lies in it."""
        if self.begin_min < self.end_min:
            return day in self.days and self.begin_min <= minute < self.end_min
        began_today = day in self.days and minute >= self.begin_min
        return began_today or ((day - 1) % 7 in self.days and minute < self.end_min)


def parse_span(text: str) -> Span:
    """The span that `text` means; raises ValueError saying how to write one."""
    days: set[int] = set()
    times: tuple[int, int] | None = None
    words = [part for word in text.lower().split() for part in WORDS.get(word, word).split()]
    if not words:
        raise ValueError(f"{text!r} is no part of a week; {_HOW}")
    for word in words:
        if match := _TIMES.fullmatch(word):
            if times is not None:
                raise ValueError(f"{text!r} has times twice; give each a line of its own; {_HOW}")
            times = (_minute(match[1], match[2], text), _minute(match[3], match[4], text))
        elif (match := _DAYS.fullmatch(word)) and {match[1], match[2] or match[1]} <= set(DAYS):
            first, last = DAYS.index(match[1]), DAYS.index(match[2] or match[1])
            days |= {(first + offset) % 7 for offset in range((last - first) % 7 + 1)}
        else:
            raise ValueError(f"{text!r}: {word!r} is neither days nor times; {_HOW}")
    if times is not None and times[0] == times[1]:
        raise ValueError(f"{text!r} begins when it ends; {_HOW}")
    return Span(frozenset(days or range(7)), *(times or (0, DAY_MIN)))


_HOW = "write it like 'nights', 'mon-fri 9:00-18:00' or 'weekends'"


def _minute(hour: str, minute: str | None, text: str) -> int:
    found = int(hour) * 60 + int(minute or 0)
    if found > DAY_MIN or int(minute or 0) > 59:
        raise ValueError(f"{text!r}: there is no such time of day; {_HOW}")
    return found
