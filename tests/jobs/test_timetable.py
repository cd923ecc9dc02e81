"""When in the week something holds."""

from __future__ import annotations

import pytest

from singlepoint.jobs.timetable import DAYS, parse_span


def holds(span: str, day: str, time: str) -> bool:
    hour, minute = map(int, time.split(":"))
    return parse_span(span).holds(DAYS.index(day), 60 * hour + minute)


@pytest.mark.parametrize(
    ("span", "day", "time", "expected"),
    [
        ("mon-fri 9:00-18:00", "mon", "9:00", True),
        ("mon-fri 9:00-18:00", "mon", "18:00", False),
        ("mon-fri 9-18", "sat", "12:00", False),
        ("fri 22:00-6:00", "sat", "5:59", True),  # it belongs to the day it begins on
        ("fri 22:00-6:00", "fri", "5:59", False),
        ("sat-mon", "sun", "0:00", True),
        ("sat-mon", "tue", "0:00", False),
        ("nights", "wed", "23:30", True),
        ("nights", "wed", "12:00", False),
        ("weekends", "sun", "23:59", True),
        ("weekdays 8:00-12:00", "fri", "11:59", True),
        ("sat sun", "sat", "12:00", True),  # several days are all meant
        ("mon-tue thu 9-18", "tue", "12:00", True),
        ("mon-tue thu 9-18", "wed", "12:00", False),
        ("wed weekends", "wed", "12:00", True),
        ("0:00-24:00", "thu", "23:59", True),
    ],
)
def test_a_span_holds_from_its_beginning_until_before_its_end(span: str, day: str, time: str, expected: bool) -> None:
    assert holds(span, day, time) is expected


@pytest.mark.parametrize("text", ["", "noon", "mon-fri 9:00-9:00", "25:00-26:00", "9:75-10:00", "nights days", "xyz"])
def test_what_is_no_span_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        parse_span(text)
