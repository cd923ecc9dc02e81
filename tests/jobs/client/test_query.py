"""What `ps` says of each job, and that it says it without Redis, too."""

from __future__ import annotations

from typing import Any

import pytest

from singlepoint.jobs.client.query import listing
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.errors import BrokerAway
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.reasons import DIED, NOTHING_RUNS, Surroundings, Told, with_reason
from singlepoint.jobs.lifecycle.records import Resources, Terms
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.lifecycle.summary import summary
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept, fill

ROOM = Resources(cpu_millis=2000, memory_bytes=2**32)
TOLD = Told(first="head", why={"head": "needs 2 cores (1 free)"})


def reasons(rows: list[dict[str, Any]], told: Told | None, room: Resources | None, at: float) -> list[str | None]:
    around = Surroundings(at, {row["id"]: row["state"] for row in rows}, room, told)
    return [with_reason(row, around)["reason"] for row in rows]


def a_row(**facts: Any) -> dict[str, Any]:
    usual = {
        "id": "job",
        "state": "pending",
        "reason": None,
        "cpu": 1.0,
        "memory_bytes": 2**20,
        "storage_bytes": 0,
        "network_bytes_s": 0,
        "grown": False,
        "attempt": 0,
        "asks": [],
        "gives_way": False,
        "after": [],
    }
    return {**usual, "held": False, "paused": False, "begin_at": None, "not_before": None, **facts}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (a_row(id="head"), TOLD.why["head"]),
        (a_row(), "behind head"),
        (a_row(reason="killed"), "behind head (killed)"),
        (a_row(held=True), "singlepoint resume job"),
        (a_row(state="running", paused=True, asks=["pause"]), "singlepoint resume job"),
        (a_row(state="running", paused=True), "goes on when it gets its cores"),
        (a_row(state="running", paused=True, asks=["cancel", "pause"]), "asked to stop"),
        (a_row(state="running", asks=["cancel"]), "asked to stop"),
        (a_row(state="queued"), "a worker"),
        (a_row(after=["head"]), "after head"),
        (a_row(cpu=64.0), "never fit"),
        (a_row(memory_bytes=2**40, grown=True), "behind head"),
        (a_row(not_before="1970-01-01T00:01:00.000000Z", reason="disk full"), "waits until 1970-01-01T00:01"),
        (a_row(not_before="1970-01-01T00:00:01.000000Z"), "behind head"),
        (a_row(state="failed", reason="it raised"), "it raised"),
    ],
)
def test_every_job_that_waits_has_a_reason(row: dict[str, Any], reason: str) -> None:
    rows = [a_row(id="head"), row] if row["id"] != "head" else [row]

    assert reason in (reasons(rows, TOLD, ROOM, at=30.0)[-1] or "")


def test_a_job_that_runs_needs_no_reason_and_without_a_scheduler_all_others_have_the_same() -> None:
    rows = [a_row(state="running"), a_row(), a_row(state="queued")]

    assert reasons(rows, Told(), None, at=0.0) == [None, NOTHING_RUNS, NOTHING_RUNS]


def test_while_redis_is_away_that_is_the_reason() -> None:
    assert reasons([a_row(reason="killed")], None, ROOM, at=0.0) == ["goes on when Redis is back (killed)"]


def test_the_index_and_the_directories_tell_the_same(session: Session, store: JobStore) -> None:
    first, second = accept(store, at=1.0), accept(store, at=2.0, name="second", priority=5)
    store.note(first.id, Note.HOLD, 3.0)
    from_disk = listing(session).rows

    fill(session.index, [store.load(second.id), store.load(first.id)])

    assert listing(session).rows == from_disk
    assert [row["id"] for row in from_disk] == [first.id, second.id]


def test_an_index_that_is_not_complete_is_not_believed(session: Session, store: JobStore) -> None:
    job = accept(store)
    session.index.connection.hset(session.index.key("jobs"), "ghost", "{}")

    assert [row["id"] for row in listing(session).rows] == [job.id]


def test_without_redis_the_directories_answer_and_the_absence_is_told(home: Home, store: JobStore) -> None:
    job = accept(store)
    store.move(job.id, Event.DISPATCH, 1.0, attempt=1, terms=Terms(Resources()).to_json())
    store.move(job.id, Event.CLAIM, 2.0, attempt=1)
    (home.job(job.id) / "progress.json").write_text('{"progress": 0.5, "step": 5, "total": 10}')

    found = listing(Session(home, store))

    assert isinstance(found.away, BrokerAway)
    assert found.rows[0]["progress"] == 0.5
    expected = {**summary(store.load(job.id)), "progress": 0.5, "dead": True, "reason": DIED}
    assert expected.items() <= found.rows[0].items(), "nobody holds its lock, and no scheduler runs to see that"
