"""An input that changes under the work is noticed, and a request to stop is heard in every phase of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.worker.checkpoints import checkpoint
from singlepoint.worker.data.preprocessing import rows
from singlepoint.worker.kinds import train
from singlepoint.worker.scoring.parts import Shards
from tests.conftest import LONGEST_S
from tests.worker.making import Maker, stopped, woken

ARRAYS = {
    "kind": "train",
    "data": {"path": "x.npy", "target_path": "y.npy", "validation": 0.2},
    "preprocessing": {"normalise": "standard"},
    "model": {"hidden": [4]},
    "training": {"epochs": 3, "batch_size": 32},
    "checkpoint_interval_s": 1000.0,
}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    x = np.random.default_rng(0).integers(0, 255, (200, 6), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", (x[:, 0] > 127).astype(np.int64))
    return Maker(tmp_path)


def map_everything() -> None:
    rows.LAZY_BYTES = 0


def overwrite(path: Path) -> None:
    """In place, as a program does that has the file mapped."""
    with open(path, "r+b") as file:
        file.seek(200)
        file.write(bytes(300))
    os.utime(path, ns=(1, time.time_ns() + 10**9))  # whatever the clock of the file system is worth


def begun_and_changed(maker: Maker, job_id: str, failpoint: str, changed: Path) -> Job:
    pid = maker.begin(job_id, f"{failpoint}:stop", spoil=map_everything)
    stopped(pid)
    overwrite(changed)
    woken(pid)
    return maker.store.load(job_id)


def test_a_mapped_file_that_changes_under_a_training_ends_it_and_nothing_is_published(maker: Maker) -> None:
    job_id = maker.submit(ARRAYS, name="arrays")
    job = begun_and_changed(maker, job_id, "metrics.write@1", maker.directory / "x.npy")
    assert job.state is State.FAILED and "x.npy was changed while the job read it" in (job.reason or "")
    assert not maker.model("arrays").exists()
    assert not list(maker.home.job_files(job_id).checkpoints.glob("0*"))


def test_a_file_that_was_read_into_memory_may_change(maker: Maker) -> None:
    job_id = maker.submit()
    assert begun_and_changed(maker, job_id, "metrics.write@1", maker.directory / "wdbc.csv").state is State.SUCCEEDED


def scoring(maker: Maker, **changes: object) -> dict[str, object]:
    """A prediction of a table of ten thousand rows."""
    header, *lines = (maker.directory / "wdbc.csv").read_text().splitlines(keepends=True)
    (maker.directory / "many.csv").write_text(header + "".join(lines * 20))
    spec = {"kind": "predict", "name": "scored", "model": str(maker.model()), "input": "many.csv"}
    return {**spec, "output": "scored.csv", "checkpoint_interval_s": 0.001, **changes}


def test_an_input_that_changes_under_a_prediction_ends_it_and_there_is_no_output(maker: Maker) -> None:
    assert maker.make(maker.submit(training={"epochs": 2})).state is State.SUCCEEDED
    job_id = maker.submit(scoring(maker))
    job = begun_and_changed(maker, job_id, "shard.write@2", maker.directory / "many.csv")
    assert job.state is State.FAILED and "many.csv was changed while the job read it" in (job.reason or "")
    assert not (maker.directory / "scored.csv").exists()


def stuck(*_arguments: Any, **_options: Any) -> None:
    """Works on and on, in code that knows nothing of jobs."""
    Path("stuck").touch()
    while True:
        time.sleep(0.001)


PHASES: dict[str, tuple[Any, str]] = {
    "loading": (train, "load_training_set"),
    "building": (train, "new_network"),
    "resuming": (checkpoint, "newest_sound"),
    "restoring": (checkpoint.Checkpoint, "read_into"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_request_to_stop_is_heard_while_a_training_is(maker: Maker, phase: str) -> None:
    job_id = maker.submit()
    assert maker.make(job_id, "checkpoint.write@3:kill").attempts[-1].end == "killed"
    drained_while(maker, job_id, *PHASES[phase])


def test_a_request_to_stop_is_heard_while_the_output_is_put_together(maker: Maker) -> None:
    assert maker.make(maker.submit(training={"epochs": 2})).state is State.SUCCEEDED
    drained_while(maker, maker.submit(scoring(maker)), Shards, "assemble")


def drained_while(maker: Maker, job_id: str, owner: Any, name: str) -> None:
    here = maker.directory / job_id
    here.mkdir()
    maker.place = replace(maker.place, grace_s=20.0)

    def spoil() -> None:
        os.chdir(here)
        setattr(owner, name, stuck)

    pid = maker.begin(job_id, spoil=spoil)
    wait_until((here / "stuck").exists)
    os.kill(pid, signal.SIGTERM)
    began_s = time.monotonic()
    job = maker.oversee(job_id, pid)
    assert (job.state, job.attempts[-1].end) == (State.PENDING, "drained")
    assert time.monotonic() - began_s < maker.place.grace_s, "it was deaf"


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
