"""Requests to stop: seen through the history, the most urgent first, drained by a signal."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job, Resources, Terms
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.home import open_home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.worker.ground.stop_requests import LOOK_S, Stop, StopRequests


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(open_home(tmp_path))


def running(store: JobStore) -> Job:
    requests = Resources(1000, 2**28)
    job = store.create(b"{}", {"name": "a", "kind": "train", "requests": requests.to_json()}, 1.0)
    store.move(job.id, Event.DISPATCH, 2.0, attempt=1, terms=Terms(requests, (0,)).to_json())
    return store.move(job.id, Event.CLAIM, 3.0, attempt=1)


def test_an_ask_is_seen_at_the_next_look_and_not_looked_for_before(store: JobStore) -> None:
    clock = ManualClock()
    requests = StopRequests(store, running(store), clock)
    assert requests.due() is None
    store.note(requests.job.id, Note.ASK, 4.0, ask="preempt")
    assert requests.due() is None  # within LOOK_S nothing is read
    clock.now_s += LOOK_S
    assert requests.due() is Stop.PREEMPT


def test_the_most_urgent_of_several_is_answered(store: JobStore) -> None:
    job = running(store)
    for ask in ("pause", "preempt", "cancel"):
        store.note(job.id, Note.ASK, 4.0, ask=ask)
    requests = StopRequests(store, job, ManualClock())
    assert requests.due() is Stop.CANCEL


def test_new_terms_are_read_with_the_history(store: JobStore) -> None:
    job, clock = running(store), ManualClock()
    requests = StopRequests(store, job, clock)
    store.note(job.id, Note.REVISE, 4.0, terms=Terms(Resources(2000, 2**28), (0, 1), revision=1).to_json())
    clock.now_s += LOOK_S
    assert requests.due() is None
    assert requests.terms.cores == (0, 1) and requests.terms.revision == 1


def test_a_signal_means_drain_unless_somebody_wants_the_end(store: JobStore) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        clock = ManualClock()
        requests = StopRequests(store, running(store), clock)
        requests.catch_signals()
        os.kill(os.getpid(), signal.SIGTERM)
        assert requests.due() is Stop.DRAIN
        store.note(requests.job.id, Note.ASK, 4.0, ask="cancel")
        clock.now_s += LOOK_S
        assert requests.due() is Stop.CANCEL
    finally:
        signal.signal(signal.SIGTERM, before)
