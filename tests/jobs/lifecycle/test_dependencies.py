"""What a job comes after: how it is written, when it is met, and when it never will be."""

from __future__ import annotations

import pytest

from singlepoint.jobs.lifecycle.dependencies import After, Condition, parse_after
from singlepoint.jobs.lifecycle.states import FINAL, State


@pytest.mark.parametrize("text", ["k3v", "k3v:any", "k3v:failed", "wdbc~2:any"])
def test_what_is_written_is_read_again(text: str) -> None:
    assert str(parse_after(text)) == text


def test_success_need_not_be_said() -> None:
    assert parse_after("k3v:ok") == parse_after("k3v") == After("k3v")


@pytest.mark.parametrize("text", ["k3v:done", "k3v:", ":any"])
def test_another_condition_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(ValueError, match="ID, ID:any or ID:failed"):
        parse_after(text)


@pytest.mark.parametrize(
    ("when", "met_by"),
    [
        (Condition.OK, {State.SUCCEEDED}),
        (Condition.FAILED, {State.FAILED, State.CANCELLED}),
        (Condition.ANY, {State.SUCCEEDED, State.FAILED, State.CANCELLED, None}),
    ],
)
def test_every_end_meets_a_condition_or_makes_it_impossible_and_nothing_else_does(
    when: Condition, met_by: set[State | None]
) -> None:
    one = After("k3v", when)
    for state in (*State, None):
        has_ended = state is None or state in FINAL
        assert one.is_met(state) is (state in met_by)
        assert (one.never(state) is not None) is (has_ended and state not in met_by)
