"""Waiting for jobs, and reading logs as they grow; time is moved by the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from singlepoint.jobs.client.follow import Log, wait_for
from singlepoint.jobs.errors import NotFound
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept


def test_waiting_ends_when_the_last_job_has_ended(store: JobStore) -> None:
    ids = [accept(store).id, accept(store).id]
    left = list(ids)

    def cancel_one() -> None:
        store.move(left.pop(), Event.CANCEL, 1.0)

    ended = wait_for(store, ids, between=cancel_one)

    assert [job.state for job in ended] == [State.CANCELLED, State.CANCELLED]
    assert left == []


def test_waiting_ends_when_the_time_is_up(store: JobStore) -> None:
    clock = iter(range(100))

    [job] = wait_for(store, [accept(store).id], 5.0, between=lambda: None, clock=lambda: float(next(clock)))

    assert job.state is State.PENDING and next(clock) == 6


def test_waiting_for_a_job_that_is_removed_meanwhile_does_not_go_on_for_ever(store: JobStore) -> None:
    job = accept(store)

    with pytest.raises(NotFound):
        wait_for(store, [job.id], between=lambda: store.remove(job.id))


def test_a_log_is_read_on_from_where_it_ended_and_anew_when_it_was_cut(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.txt")

    assert log.rest() == ""
    log.path.write_text("one\n")
    assert log.rest() == "one\n"
    with open(log.path, "a") as file:
        file.write("two\n")
    assert (log.rest(), log.rest()) == ("two\n", "")
    log.path.write_text("cut\n")
    assert log.rest() == "cut\n"


def test_a_character_that_is_half_written_waits_for_its_other_half(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.txt")
    whole = "é…x".encode()

    text = ""
    for end in range(len(whole) + 1):
        log.path.write_bytes(whole[:end])
        text += log.rest()
    assert text == "é…x"
    log.path.write_bytes(whole + b"\xc3")
    assert (log.rest(), log.rest(last=True)) == ("", "\ufffd")
