"""What the watch over an attempt makes of what it sees, with real processes."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from singlepoint.jobs.errors import HistoryDamaged, Problem
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.worker.ground import disk
from singlepoint.worker.pool.watch import Watch
from tests.worker.making import Maker, reaped

LONG = {"training": {"epochs": 10**6}}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def raising(error: Exception) -> Callable[..., object]:
    def instead(*_: object) -> object:
        raise error

    return instead


def test_what_a_link_in_place_of_an_output_leads_to_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "file").write_bytes(bytes(2**20))
    (tmp_path / "link").symlink_to("large")
    assert disk.stored_bytes(tmp_path / "large") >= 2**20
    assert not disk.stored_bytes(tmp_path / "link")


def test_a_death_by_a_signal_without_a_name_is_written_down(maker: Maker) -> None:
    job_id = maker.submit(**LONG)
    pid = maker.begin(job_id)
    watch = Watch(maker.place, job_id, 1)
    os.kill(pid, 40)

    watch.ended(reaped(pid))

    job = maker.store.load(job_id)
    assert (job.state, job.attempts[-1].cause) == (State.PENDING, "signal 40")


@pytest.mark.parametrize(
    "error",
    [
        HistoryDamaged(Problem("jobs/x/history.jsonl", "is damaged")),
        OSError(errno.EIO, "EIO"),
        OSError(errno.EMFILE, "EMFILE"),
    ],
)
def test_a_history_that_cannot_be_read_ends_neither_the_watch_nor_the_attempt(
    maker: Maker, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    job_id = maker.submit(**LONG)
    pid = maker.begin(job_id)
    watch = Watch(maker.place, job_id, 1)
    with monkeypatch.context() as broken:
        broken.setattr(JobStore, "load", raising(error))
        broken.setattr(JobStore, "size", raising(error))
        assert not watch.must_die(pid)
        assert not watch.must_die(pid)
    os.kill(pid, signal.SIGKILL)
    status = reaped(pid)
    with monkeypatch.context() as broken:
        broken.setattr(JobStore, "load", raising(error))
        watch.ended(status)

    watch.ended(status)

    assert maker.store.load(job_id).attempts[-1].end == "killed"


def test_an_attempt_that_runs_longer_than_its_limit_saves_and_ends_by_its_own_fault(maker: Maker) -> None:
    job_id = maker.submit(**LONG, time_limit_s=500)
    epochs = maker.home.job_files(job_id).metrics
    # Over the limit from the first epoch on, and within the grace.
    clock = lambda: time.monotonic() + (520 if epochs.exists() else 0)  # noqa: E731
    maker.place = replace(maker.place, monotonic=clock)

    job = maker.make(job_id)

    assert (job.state, job.attempts[-1].end) == (State.FAILED, "time_limit")
    assert job.reason == "ran longer than its time limit, 500 s"
    assert list(maker.home.job_files(job_id).checkpoints.iterdir())


def test_one_that_does_not_hear_of_its_limit_is_killed(maker: Maker) -> None:
    maker.be_impatient()
    job_id = maker.submit(**LONG, time_limit_s=0.2)

    job = maker.make(job_id, "checkpoint.write@2:stop")

    assert (job.state, job.attempts[-1].end) == (State.FAILED, "time_limit")


def test_one_with_more_on_disk_than_it_was_granted_is_stopped(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = maker.submit(**LONG, resources={"storage": "4KiB"})

    job = maker.make(job_id)

    assert (job.state, job.attempts[-1].end) == (State.FAILED, "out_of_storage")


def test_one_that_takes_the_last_free_space_waits_until_there_is_some(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "FLOOR_BYTES", 2**62)
    monkeypatch.setattr(disk, "FLOOR_OWN_BYTES", -1)
    job_id = maker.submit(**LONG)

    job = maker.make(job_id)

    assert (job.state, job.attempts[-1].end) == (State.PENDING, "disk_full")
    assert job.not_before > job.attempts[-1].dispatched_at
