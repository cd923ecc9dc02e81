"""Streams: what changes is told as it changes, and whoever was away goes on where they were."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from singlepoint.jobs.client import control
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.clock import now
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.page import events
from singlepoint.jobs.page.events import Feed
from singlepoint.jobs.page.security import Limits
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept, fill
from tests.jobs.page.client import Client, Serve

Told = tuple[str, str, Any]
"""id, kind, document"""


@contextmanager
def listening(client: Client, path: str = "/api/v1/events", last: str = "") -> Iterator[Iterator[Told]]:
    """What a stream tells, one after another."""
    with closing(http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)) as connection:
        connection.request("GET", path, headers={**client.headers, **({"Last-Event-ID": last} if last else {})})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        def told() -> Iterator[Told]:
            facts: dict[str, str] = {}
            for line in iter(answer.readline, b""):
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    facts[name] = value
                elif "data" in facts:
                    yield facts["id"], facts["event"], json.loads(facts["data"])
                    facts = {}

        yield told()


def until(told: Iterator[Told], kind: str, **facts: Any) -> Told:
    """The next event of a kind in which these facts stand."""
    return next(one for one in told if one[1] == kind and all(one[2].get(k) == v for k, v in facts.items()))


@pytest.fixture
def fresh(session: Session, store: JobStore) -> Session:
    """With an index that is filled, so that rows come from it."""
    fill(session.index, [])
    return session


def test_a_job_is_told_as_it_moves_and_goes(client: Client, fresh: Session, store: JobStore) -> None:
    with listening(client) as told:
        assert next(told)[1] == "reset"
        job = accept(store)
        fresh.index.tell(job)
        assert until(told, "job", id=job.id)[2]["state"] == "pending"
        control.cancel(fresh, job.id, now())
        until(told, "job", id=job.id, state="cancelled")
        control.remove(fresh, job.id)
        until(told, "removed", id=job.id)


def test_who_was_away_is_told_what_they_missed_and_nothing_twice(
    client: Client, fresh: Session, store: JobStore
) -> None:
    first, second = accept(store), accept(store)
    for job in (first, second):
        fresh.index.tell(job)
    with listening(client) as told:
        until(told, "machine")  # the first look is over
        control.prioritise(fresh, second.id, 1, now())
        last = until(told, "job", id=second.id, priority=1)[0]
    control.cancel(fresh, first.id, now())
    with listening(client, last=last) as told:
        missed = next(told)

    assert (missed[1], missed[2]["id"], missed[2]["state"]) == ("job", first.id, "cancelled")


@pytest.mark.parametrize("last", ["other:5", "rubbish", ":", "-1", "9" * 40])
def test_an_id_of_another_start_begins_anew(client: Client, last: str) -> None:
    with listening(client, last=last) as told:
        assert next(told)[1] == "reset"


def test_who_missed_too_much_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 3)
    feed = Feed("i")
    for number in range(10):
        feed.tell("job", {"n": number})

    assert feed.since(6) is None
    assert [event.document["n"] for event in feed.since(8) or []] == [8, 9]
    assert feed.since(10) == []
    assert feed.since(11) is None


def test_nobody_is_looked_after_while_nobody_listens(
    client: Client, fresh: Session, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = threading.Event()
    monkeypatch.setattr(events.Watch, "look", lambda _self: looks.set())
    fresh.index.tell(accept(store))

    assert not looks.wait(0.5)


def test_streams_are_counted(serve: Serve) -> None:
    client = serve(limits=Limits(streams=1))
    with listening(client) as told:
        next(told)
        assert client("GET", "/api/v1/events").status == 503


def test_a_log_is_followed_to_its_end(client: Client, store: JobStore, home: Home) -> None:
    job = accept(store)
    log = home.job(job.id) / "log.txt"
    log.write_text("one\n")
    with listening(client, f"/api/v1/jobs/{job.id}/log/events") as told:
        assert next(told) == ("4", "log", {"text": "one\n"})
        with open(log, "a") as file:
            file.write("two ü\n")
        assert next(told)[2] == {"text": "two ü\n"}
        store.move(job.id, Event.CANCEL, now())
        assert until(told, "end", state="cancelled")[2]["id"] == job.id
    with listening(client, f"/api/v1/jobs/{job.id}/log/events", last="4") as told:
        assert [one[1] for one in told] == ["log", "end"]


def test_open_streams_do_not_hold_up_the_end(client: Client) -> None:
    with listening(client) as told:
        next(told)
        client.stop()  # fails when the thread of the service does not end
        assert not [one for one in told if one[1] == "job"]
