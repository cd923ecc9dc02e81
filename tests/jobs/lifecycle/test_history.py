"""A job is the fold of its history, and a torn last line never happened."""

from __future__ import annotations

from typing import Any

import pytest

from singlepoint.jobs.errors import HistoryDamaged
from singlepoint.jobs.lifecycle.history import Note, fold, line
from singlepoint.jobs.lifecycle.records import Asked, Resources, Terms, Usage
from singlepoint.jobs.lifecycle.states import Ask, Author, Event, State

REQUESTS = Resources(cpu_millis=1000, memory_bytes=2**28)
TERMS = Terms(REQUESTS, cores=(0,)).to_json()
ACCEPT = {"name": "a", "kind": "train", "requests": REQUESTS.to_json(), "retries": 2, "priority": 3}


def history(*entries: tuple[Event | Note, float, dict[str, Any]]) -> bytes:
    return b"".join(line(event, at, facts) for event, at, facts in [(Event.ACCEPT, 1.0, ACCEPT), *entries])


RUNNING = ((Event.DISPATCH, 2.0, {"attempt": 1, "terms": TERMS}), (Event.CLAIM, 3.0, {"attempt": 1, "worker": "w"}))
KILLED = (Event.LOSE, 7.0, {"attempt": 1, "end": "killed", "cause": "SIGKILL", "steps": 40, "lost_s": 1.5})


def test_a_whole_life_becomes_one_job_with_a_ledger_of_attempts() -> None:
    usage = Usage(wall_s=2.0, cpu_s=1.9, peak_memory_bytes=2**20, saves=1, save_s=0.01, overhead_s=0.01)
    end = {"attempt": 2, "end": "succeeded", "steps": 60, "result": {"path": "m"}, "usage": usage.to_json()}
    job = fold(
        "j",
        history(
            *RUNNING,
            KILLED,
            (Event.DISPATCH, 7.5, {"attempt": 2, "terms": TERMS}),
            (Event.CLAIM, 8.0, {"attempt": 2}),
            (Event.SUCCEED, 10.0, end),
        ),
    )
    assert job.state is State.SUCCEEDED and job.priority == 3 and job.result == {"path": "m"}
    first, second = job.attempts
    assert (first.end, first.cause, first.steps, first.lost_s) == ("killed", "SIGKILL", 40, 1.5)
    assert first.recovery_s == pytest.approx(1.0) and second.recovery_s is None
    assert second.usage == usage and job.started_at == 3.0 and job.ended_at == 10.0


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_torn_last_line_never_happened(cut: int) -> None:
    whole = history(*RUNNING)
    torn = whole + line(*KILLED)[:-cut]
    job = fold("j", torn)
    assert job.state is State.RUNNING and job.size == len(whole)


def test_an_impossible_line_is_an_error() -> None:
    with pytest.raises(HistoryDamaged, match="line 2 is damaged: a job that is pending cannot claim"):
        fold("j", history((Event.CLAIM, 2.0, {"attempt": 1})))


def test_only_the_newest_attempt_may_move() -> None:
    lost = (*RUNNING, KILLED, (Event.DISPATCH, 8.0, {"attempt": 2, "terms": TERMS}))
    with pytest.raises(HistoryDamaged, match="attempt 2 is the newest"):
        fold("j", history(*lost, (Event.CLAIM, 9.0, {"attempt": 1})))
    with pytest.raises(HistoryDamaged, match="was dispatched already"):
        fold("j", history((Event.DISPATCH, 2.0, {"attempt": 5, "terms": TERMS})))


def test_an_ask_is_a_field_and_ends_with_the_attempt() -> None:
    asked = (*RUNNING, (Note.ASK, 4.0, {"ask": "preempt"}))
    assert fold("j", history(*asked)).asks == {Ask.PREEMPT: Asked(4.0)}
    back = (Event.HAND_BACK, 5.0, {"attempt": 1, "end": "preempted"})
    job = fold("j", history(*asked, back))
    assert job.state is State.PENDING and not job.asks and not job.held


def test_a_pause_keeps_memory_and_no_cores_and_holds_a_job_that_is_handed_back() -> None:
    paused = (*RUNNING, (Note.ASK, 4.0, {"ask": "pause"}), (Note.PAUSE, 5.0, {"attempt": 1}))
    job = fold("j", history(*paused))
    assert job.paused and job.terms is not None
    assert job.terms.cores == () and job.terms.resources == Resources(memory_bytes=2**28)
    drained = fold("j", history(*paused, (Event.HAND_BACK, 6.0, {"attempt": 1, "end": "drained"})))
    assert drained.held and not drained.paused
    revised = Terms(REQUESTS, (1,), revision=1)
    going = (Note.RESUME, 6.0, {}), (Note.REVISE, 7.0, {"attempt": 1, "terms": revised.to_json()})
    again = fold("j", history(*paused, *going, (Note.GO_ON, 8.0, {"attempt": 1})))
    assert not again.paused and not again.asks and again.terms == revised


BY_SCHEDULER = {"by": "scheduler"}


def test_a_pause_by_the_scheduler_is_no_hold_and_ends_with_the_cores_it_grants() -> None:
    paused = (*RUNNING, (Note.ASK, 4.0, {"ask": "pause", **BY_SCHEDULER}), (Note.PAUSE, 5.0, {"attempt": 1}))
    assert not fold("j", history(*paused, (Event.HAND_BACK, 6.0, {"attempt": 1, "end": "drained"}))).held
    revised = (Note.REVISE, 7.0, {"attempt": 1, "terms": Terms(REQUESTS, (1,), revision=1).to_json()})
    again = fold("j", history(*paused, revised))
    assert again.asks == {} and again.terms is not None and again.terms.cores == (1,)


def test_the_scheduler_does_not_take_a_pause_of_the_users_back() -> None:
    by_scheduler = (Note.ASK, 4.5, {"ask": "pause", **BY_SCHEDULER})
    both = (*RUNNING, (Note.ASK, 4.0, {"ask": "pause"}), by_scheduler, (Note.PAUSE, 5.0, {"attempt": 1}))
    revised = (Note.REVISE, 7.0, {"attempt": 1, "terms": Terms(REQUESTS, (1,), revision=1).to_json()})
    assert fold("j", history(*both, revised)).asks == {Ask.PAUSE: Asked(4.0, Author.USER)}
    over = (*RUNNING, by_scheduler, (Note.ASK, 5.0, {"ask": "pause"}))
    assert fold("j", history(*over)).asks == {Ask.PAUSE: Asked(5.0, Author.USER)}


def test_failures_are_counted_only_when_the_line_says_so() -> None:
    once = (*RUNNING, (Event.LOSE, 4.0, {"attempt": 1, "end": "failed", "counts": True, "not_before": 9.0}))
    job = fold("j", history(*once))
    assert job.failures == 1 and job.not_before == 9.0
    assert fold("j", history(*RUNNING, KILLED)).failures == 0


def test_a_retry_starts_from_the_checkpoint_unless_it_is_fresh() -> None:
    failed = (*RUNNING, (Event.FAIL, 4.0, {"attempt": 1, "end": "failed", "reason": "no"}))
    assert fold("j", history(*failed)).reason == "no"
    plain = fold("j", history(*failed, (Event.RETRY, 5.0, {"fresh": False})))
    fresh = fold("j", history(*failed, (Event.RETRY, 5.0, {"fresh": True})))
    assert plain.state is fresh.state is State.PENDING and plain.reason is None
    assert (plain.fresh_after, fresh.fresh_after) == (0, 1)


@pytest.mark.parametrize(
    "junk", [b"garbage{\n", b"null\n", b"[]\n", b'{"event": "claim"}\n', b"\xff\xfe\n", b'{"at": 3}\n']
)
def test_a_damaged_line_is_named_and_says_what_can_be_done(junk: bytes) -> None:
    with pytest.raises(HistoryDamaged, match=r"jobs/j/history.jsonl: line 2 is damaged.*rm --force j"):
        fold("j", history() + junk)
    with pytest.raises(HistoryDamaged, match="it is empty"):
        fold("j", junk.rstrip(b"\n"))
