"""How values look to a person."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from singlepoint.jobs.commands.options import each, length_s
from singlepoint.jobs.commands.ps import watch_over
from singlepoint.jobs.commands.text import age, complaint, duration, fields, table
from singlepoint.jobs.errors import InvalidInput, NotFound, Problem


@pytest.mark.parametrize(
    ("length", "text"),
    [(None, ""), (0.0331, "0.033 s"), (9.96, "10 s"), (59.4, "59 s"), (61, "1m 1s"), (3600, "1h 0m"), (90000, "1d 1h")],
)
def test_a_duration_shows_the_two_units_that_matter(length: float | None, text: str) -> None:
    assert duration(length) == text


@pytest.mark.parametrize(("past", "text"), [(0.4, "just now"), (-3, "just now"), (59, "59s ago"), (7300, "2h ago")])
def test_an_age_shows_one_unit(past: float, text: str) -> None:
    assert age(1000.0, 1000.0 + past) == text


def test_a_table_lines_up_and_leaves_out_empty_columns() -> None:
    rows = [{"id": "a", "state": "running", "reason": ""}, {"id": "long", "state": "failed"}]

    text = click.unstyle(table(rows, ("id", "state", "reason")))

    assert text.splitlines() == ["ID    STATE", "a     running", "long  failed"]
    assert fields({"id": "a", "ended": "", "state": "b"}) == "id     a\nstate  b"


def test_a_complaint_says_what_happened_and_then_what_to_do() -> None:
    problems = InvalidInput([Problem("a.b", "is wrong", "write c"), Problem("d", "is missing")], hint="see the docs")

    assert complaint(problems) == (
        "singlepoint: a.b: is wrong (write c)\n             d: is missing\n  hint: see the docs"
    )


@pytest.mark.parametrize(("text", "expected"), [("90", 90.0), ("1.5m", 90.0), ("2 h", 7200.0), ("30d", 2592000.0)])
def test_a_length_of_time_may_carry_a_unit(text: str, expected: float) -> None:
    assert length_s(text) == expected
    with pytest.raises(click.BadParameter, match="30d"):
        length_s("soon")


def test_the_first_failure_of_several_gives_the_code_and_the_others_are_still_done() -> None:
    done = []

    def act(word: str) -> None:
        done.append(word)
        if word == "b":
            raise NotFound("no b")

    with pytest.raises(click.exceptions.Exit) as ended:
        each(["a", "b", "c"], act)
    assert (ended.value.exit_code, done) == (66, ["a", "b", "c"])


def drawings(*news: tuple[float, str], moving_at: float | None = None) -> list[float]:
    """When a watched table is drawn, given what was heard when."""
    now = 0.0
    drawn: list[float] = []

    def heard() -> Iterator[str]:
        nonlocal now
        for at, job_id in news:
            now = at
            yield job_id

    def draw() -> bool:
        drawn.append(now)
        return now == moving_at

    watch_over(heard(), draw, lambda: now)
    return drawn


def test_a_watched_table_is_drawn_once_for_many_news_and_at_rest_not_at_all() -> None:
    burst = [(0.1, "a"), (0.2, "b"), (0.3, "a"), (1.3, "a")]

    assert drawings((0.0, ""), *burst, (2.4, ""), (3.4, "")) == [0.0, 1.3]


def test_news_within_the_second_is_drawn_when_it_is_over() -> None:
    assert drawings((0.0, ""), (0.5, "a"), (1.5, "")) == [0.0, 1.5]


def test_a_table_in_which_something_moves_is_drawn_every_second() -> None:
    assert drawings((0.0, ""), (1.0, ""), (2.0, ""), moving_at=0.0) == [0.0, 1.0]
