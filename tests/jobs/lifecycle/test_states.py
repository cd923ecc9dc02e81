"""The life cycle is the table: nothing moves that the table does not move."""

from __future__ import annotations

import itertools

import pytest

from singlepoint.jobs.errors import ImpossibleMove
from singlepoint.jobs.lifecycle.states import FINAL, TRANSITIONS, Event, State, advance, diagram


@pytest.mark.parametrize(("state", "event"), list(itertools.product([None, *State], Event)))
def test_a_move_is_in_the_table_or_an_error_that_names_state_and_event(state: State | None, event: Event) -> None:
    if event in TRANSITIONS[state]:
        assert advance(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(ImpossibleMove, match=event.value):
            advance(state, event)


def test_nothing_but_a_retry_leaves_a_final_state() -> None:
    assert {event for state in FINAL for event in TRANSITIONS[state]} == {Event.RETRY}


def test_every_state_can_be_reached_and_can_end() -> None:
    reached, frontier = set(), {State.PENDING}
    while frontier:
        reached |= frontier
        frontier = {target for state in frontier for target in TRANSITIONS[state].values()} - reached
    assert reached == set(State)


def test_the_diagram_has_every_move_once() -> None:
    lines = diagram().splitlines()
    assert len(lines) == len(set(lines)) == sum(len(moves) for moves in TRANSITIONS.values())
    assert "running --hand_back--> pending" in lines
