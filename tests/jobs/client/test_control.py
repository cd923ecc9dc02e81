"""What a person may ask of a job, state by state; on a fake Redis and on a real one."""

from __future__ import annotations

import pytest

from singlepoint.jobs.broker.rq_queues import DispatchQueue
from singlepoint.jobs.client import control
from singlepoint.jobs.client.query import listing
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.client.submit import announce
from singlepoint.jobs.errors import BrokerAway, HistoryDamaged, ImpossibleMove, NotNow
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Asked, Job, Resources, Terms
from singlepoint.jobs.lifecycle.states import Ask, Author, Event, State
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept

TERMS = Terms(Resources()).to_json()


def dispatched(session: Session) -> Job:
    job = accept(session.store)
    announce(session, job)
    job = session.store.move(job.id, Event.DISPATCH, 1.0, attempt=1, terms=TERMS)
    queue = DispatchQueue(session.connection, session.home.uuid)
    with queue.transaction() as pipe:
        queue.push(job.id, 1, pipe)
    return job


def running(session: Session) -> Job:
    return session.store.move(dispatched(session).id, Event.CLAIM, 2.0, attempt=1)


def failed(session: Session) -> Job:
    return session.store.move(running(session).id, Event.FAIL, 3.0, attempt=1, reason="it raised")


def bell(session: Session) -> list[str]:
    return session.index.wait_for_bell(0.01)


def test_a_waiting_job_is_cancelled_at_once_and_the_scheduler_woken_which_has_it_in_rqs_queue(session: Session) -> None:
    job = accept(session.store)

    assert control.cancel(session, job.id, 5.0).state is State.CANCELLED
    assert bell(session) == [job.id]


def test_a_queued_job_is_cancelled_at_once_and_its_attempt_says_so(session: Session) -> None:
    job = control.cancel(session, dispatched(session).id, 5.0)

    assert (job.state, job.attempts[0].end) == (State.CANCELLED, "cancelled")
    assert job.id in bell(session)


def test_a_running_job_is_asked_to_stop_once_and_the_history_keeps_the_wish(session: Session) -> None:
    job = running(session)

    control.cancel(session, job.id, 5.0)
    again = control.cancel(session, job.id, 6.0)

    assert again.state is State.RUNNING
    assert session.store.load(job.id).asks == {Ask.CANCEL: Asked(5.0)}


def test_cancelling_twice_does_no_harm_and_what_succeeded_stays(session: Session) -> None:
    job = accept(session.store)
    control.cancel(session, job.id, 5.0)
    assert control.cancel(session, job.id, 6.0).ended_at == 5.0

    done = session.store.move(running(session).id, Event.SUCCEED, 3.0, attempt=1)
    with pytest.raises(ImpossibleMove):
        control.cancel(session, done.id, 6.0)


def test_pause_holds_a_waiting_job_and_asks_a_running_one_and_resume_takes_both_back(session: Session) -> None:
    waiting, at_work = accept(session.store), running(session)

    assert control.pause(session, waiting.id, 5.0).held
    assert Ask.PAUSE in control.pause(session, at_work.id, 5.0).asks
    assert not control.resume(session, waiting.id, 6.0).held
    assert control.resume(session, at_work.id, 6.0).asks == {}
    assert {waiting.id, at_work.id} <= set(bell(session))


def test_what_gives_way_to_other_work_is_not_paused_by_the_user_and_may_be_besides(session: Session) -> None:
    job = running(session)
    session.store.note(job.id, Note.ASK, 4.0, ask="pause", by="scheduler")

    with pytest.raises(NotNow, match="goes on by itself"):
        control.resume(session, job.id, 5.0)
    assert control.pause(session, job.id, 5.0).is_asked(Ask.PAUSE, Author.USER)
    assert control.resume(session, job.id, 6.0).asks == {}


def test_a_paused_attempt_is_resumed_and_a_job_that_is_not_paused_is_not(session: Session) -> None:
    job = running(session)
    session.store.note(job.id, Note.PAUSE, 4.0)

    assert control.pause(session, job.id, 5.0).paused, "again does no harm"
    control.resume(session, job.id, 5.5)
    assert Ask.PAUSE in control.pause(session, job.id, 5.6).asks, "it was only waiting for its cores, and now is not"
    control.resume(session, job.id, 6.0)
    with pytest.raises(NotNow, match="not paused"):
        control.resume(session, accept(session.store).id, 7.0)
    with pytest.raises(NotNow, match="has ended"):
        control.pause(session, failed(session).id, 7.0)


@pytest.mark.parametrize("fresh", [False, True])
def test_retry_sends_a_failed_job_round_again_under_its_id(session: Session, fresh: bool) -> None:
    job = failed(session)

    again = control.retry(session, job.id, 5.0, fresh=fresh)

    assert (again.id, again.state, again.reason) == (job.id, State.PENDING, None)
    assert again.fresh_after == (1 if fresh else 0), "whether the first attempt's checkpoints still count"
    assert bell(session) == [job.id], "the scheduler shows it as waiting"
    with pytest.raises(ImpossibleMove):
        control.retry(session, job.id, 6.0)


def test_a_job_that_never_began_is_retried_only_after_what_comes_first(session: Session) -> None:
    first = failed(session)
    job = accept(session.store, after=[first.id])
    session.store.move(job.id, Event.FAIL, 4.0, reason=f"comes after {first.id}, which failed")

    with pytest.raises(NotNow, match=f"{first.id}.*failed: retry that first") as caught:
        control.retry(session, job.id, 5.0)
    assert f"retry {first.id} {job.id}" in str(caught.value.hint)
    assert session.store.load(job.id).state is State.FAILED
    control.retry(session, first.id, 6.0)
    assert control.retry(session, job.id, 7.0).state is State.PENDING


def test_a_job_whose_predecessor_is_gone_says_that_it_must_be_submitted_anew(session: Session) -> None:
    first = failed(session)
    job = accept(session.store, after=[first.id])
    session.store.move(job.id, Event.FAIL, 4.0, reason="comes after one that failed")
    control.remove(session, first.id)

    with pytest.raises(NotNow, match="was removed") as caught:
        control.retry(session, job.id, 5.0)
    assert "anew" in str(caught.value.hint)


def test_a_priority_counts_until_the_end(session: Session) -> None:
    assert control.prioritise(session, accept(session.store).id, 7, 5.0).priority == 7
    with pytest.raises(NotNow):
        control.prioritise(session, failed(session).id, 7, 5.0)


def test_a_job_that_has_ended_is_removed_from_disk_and_redis_and_no_other(session: Session) -> None:
    job, other = failed(session), running(session)
    session.index.tell(job)

    control.remove(session, job.id)

    assert session.store.ids() == [other.id]
    assert [row["id"] for row in session.index.summaries()] == [other.id]
    with pytest.raises(NotNow, match="running"):
        control.remove(session, other.id)


def test_a_job_whose_attempt_still_holds_the_lock_is_not_removed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = failed(session)
    monkeypatch.setattr(JobStore, "is_being_worked_on", lambda _store, job_id: job_id == job.id)

    with pytest.raises(NotNow, match="still ending"):
        control.remove(session, job.id)
    assert session.store.ids() == [job.id]


def test_without_redis_nothing_is_written(home: Home, store: JobStore) -> None:
    job = accept(store)
    away = Session(home, store)

    for act in (control.cancel, control.pause, control.retry, control.resume):
        with pytest.raises(BrokerAway):
            act(away, job.id, 5.0)
    with pytest.raises(BrokerAway):
        control.remove(away, job.id)
    assert store.load(job.id) == job


HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("older_than_s", "keep", "doomed"),
    [
        (0.0, 0, ["new", "old", "older"]),
        (0.0, 1, ["old", "older"]),
        (24 * HOUR_S, 0, ["old", "older"]),
        (24 * HOUR_S, 2, ["older"]),
        (26 * HOUR_S, 0, []),
    ],
)
def test_pruning_takes_what_is_old_and_beyond_what_is_kept(
    session: Session, older_than_s: float, keep: int, doomed: list[str]
) -> None:
    accept(session.store)
    ids = {name: accept(session.store).id for name in ("older", "old", "new")}
    for name, hour in (("older", 0), ("old", 1), ("new", 2)):
        session.store.move(ids[name], Event.CANCEL, 1e9 + hour * HOUR_S, end="cancelled", reason="r")
    assert control.prunable(session, 1e9 + 25.5 * HOUR_S, older_than_s, keep) == [ids[name] for name in doomed]


def test_pruning_leaves_what_a_waiting_job_needs(session: Session) -> None:
    needed, other = accept(session.store), accept(session.store)
    waiting = accept(session.store, after=[needed.id])
    for job in (needed, other):
        session.store.move(job.id, Event.CANCEL, 1e9, end="cancelled", reason="r")

    assert control.prunable(session, 2e9, 0.0, 0) == [other.id]
    assert control.dependents(listing(session).rows) == {needed.id: waiting.id}


def test_a_job_whose_history_is_damaged_can_still_be_deleted(session: Session) -> None:
    job = accept(session.store)
    (session.home.job(job.id) / "history.jsonl").write_bytes(b"garbage{\n")
    with pytest.raises(HistoryDamaged):
        control.remove(session, job.id)
    control.remove_damaged(session, job.id)
    assert session.store.ids() == []
