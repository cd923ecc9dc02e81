"""Where a job stands, and how it may move: the whole life cycle is the table below.

Nothing here reads a clock, a file or Redis: given a state and an event, `advance` returns the next state
or raises. Asking a job to stop is not a state; it is a field of the job (`Ask`), and the attempt answers
it with one of the moves.
"""

from __future__ import annotations

from enum import StrEnum

from singlepoint.jobs.errors import ImpossibleMove


class State(StrEnum):
    """Where a job stands.

    pending: accepted, waiting for room.  queued: dispatched, waiting for a worker.
    running: a worker holds the job's lock.  The other three are final.
    """

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Event(StrEnum):
    """What may happen to a job.

    accept: its directory was put in place.  dispatch: the scheduler granted room to a new attempt.
    claim: a worker began it.  hand_back: the attempt stopped on request and may go on later.
    lose: the attempt died, or never began.  succeed, fail: it ended.  cancel: somebody stopped it.
    retry: asked to run again after a final state.
    """

    ACCEPT = "accept"
    DISPATCH = "dispatch"
    CLAIM = "claim"
    HAND_BACK = "hand_back"
    LOSE = "lose"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"


TRANSITIONS: dict[State | None, dict[Event, State]] = {
    None: {Event.ACCEPT: State.PENDING},
    State.PENDING: {Event.DISPATCH: State.QUEUED, Event.FAIL: State.FAILED, Event.CANCEL: State.CANCELLED},
    State.QUEUED: {
        Event.CLAIM: State.RUNNING,
        Event.LOSE: State.PENDING,
        Event.FAIL: State.FAILED,
        Event.CANCEL: State.CANCELLED,
    },
    State.RUNNING: {
        Event.SUCCEED: State.SUCCEEDED,
        Event.FAIL: State.FAILED,
        Event.CANCEL: State.CANCELLED,
        Event.HAND_BACK: State.PENDING,
        Event.LOSE: State.PENDING,
    },
    State.SUCCEEDED: {},
    State.FAILED: {Event.RETRY: State.PENDING},
    State.CANCELLED: {Event.RETRY: State.PENDING},
}


class Ask(StrEnum):
    """A request that a running attempt answers at its next step.

    cancel: end for good.  preempt: make room; go on later.  pause: stop using cores, keep the memory.
    A drain of the worker reaches the attempt as a signal, not as an ask.
    """

    CANCEL = "cancel"
    PREEMPT = "preempt"
    PAUSE = "pause"


class Author(StrEnum):
    """Who asked. What the user asks stands until the user takes it back; the scheduler takes back only its own."""

    USER = "user"
    SCHEDULER = "scheduler"


def advance(state: State | None, event: Event) -> State:
    """The state after `event`; raises ImpossibleMove if the table has no such move."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        stands = state.value if state is not None else "nonexistent"
        possible = ", ".join(TRANSITIONS[state]) or "nothing"
        raise ImpossibleMove(f"a job that is {stands} cannot {event.value}; possible: {possible}") from None


def diagram() -> str:
    """The table as lines `state --event--> state`, for the documentation (a test keeps it true)."""
    return "\n".join(
        f"{state.value if state else 'new'} --{event.value}--> {target.value}"
        for state, moves in TRANSITIONS.items()
        for event, target in moves.items()
    )
