"""What a training as a job publishes, and what it does not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.lifecycle.states import State
from tests.worker.making import TRAINING, Maker


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_a_training_that_diverges_in_its_last_step_fails_and_publishes_nothing(
    tmp_path: Path, validation: float
) -> None:
    maker = Maker(tmp_path)
    job = maker.make(
        maker.submit(
            data={"target": "mean_radius", "ignore": ["diagnosis"], "validation": validation},
            training={"epochs": 1, "optimiser": {"type": "gd", "learning_rate": 1e38}},
        )
    )
    assert job.state is State.FAILED and "lower training.optimiser.learning_rate" in str(job.reason)
    assert not maker.model().exists()


def test_an_array_of_one_axis_is_a_column_for_training_and_prediction_alike(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    x = np.random.default_rng(0).normal(size=40)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", (x > 0).astype(int))
    learned = {**TRAINING, "data": {"path": "x.npy", "target_path": "y.npy"}, "training": {"epochs": 2}}
    assert maker.make(maker.submit(learned)).state is State.SUCCEEDED
    asked = {"kind": "predict", "name": "p", "model": str(maker.model()), "input": "x.npy", "output": "p.npy"}
    assert maker.make(maker.submit(asked)).state is State.SUCCEEDED
    assert np.load(tmp_path / "p.npy").shape == (40, 2)


def test_what_a_training_leaves_in_the_home_is_private_whatever_the_umask(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    job_id = maker.submit()
    assert maker.oversee(job_id, maker.begin(job_id, spoil=lambda: os.umask(0) and None)).state is State.SUCCEEDED
    left = [path for path in maker.home.path.rglob("*") if path.stat().st_mode & 0o077]
    assert maker.model().exists() and not left
