"""Whether rows may be multiplied together is tried out once, recorded, and decides how predictions are made."""

from __future__ import annotations

import json

import numpy as np
import pytest

from singlepoint.jobs.store.home import Home
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.ground import numeric_environment
from singlepoint.worker.models import predictor, row_independence
from singlepoint.worker.models.predictor import ModelPredictor
from singlepoint.worker.nn.layers.products import in_lanes, one_by_one

X = np.random.default_rng(0).normal(size=(40, 4))


def test_it_is_recorded_once_for_a_blas_and_processor(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    found = row_independence.record(home)
    assert found == row_independence.recorded(home)
    assert {"blas", "blas_architecture", "cpu_features"} <= found["environment"].keys()

    def again() -> bool:
        raise AssertionError("it stands in the home")

    monkeypatch.setattr(row_independence, "lanes_hold", again)
    assert row_independence.record(home) == found


@pytest.mark.parametrize("content", ["", "[]", "{", json.dumps({"environment": {"blas": "another"}})])
def test_what_is_damaged_or_of_another_blas_is_tried_again(home: Home, content: str) -> None:
    home.blas_record.write_text(content)
    assert row_independence.record(home)["lanes_are_equal"] == row_independence.lanes_hold()


def test_where_it_fails_predictions_go_one_by_one_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Model(hidden=[8]).fit(X, X[:, 0], epochs=1).trained
    quick = ModelPredictor(trained).predict(X).values
    usual = row_independence.environment(1)
    monkeypatch.setattr(row_independence, "lanes_hold", lambda: False)
    assert row_independence.product_here() is one_by_one
    assert "product was None" in numeric_environment.differences(usual, row_independence.environment(1))
    assert "product was one by one" in numeric_environment.differences(row_independence.environment(1), usual)
    slow = ModelPredictor(trained).predict(X).values
    assert quick is not None and slow is not None
    np.testing.assert_allclose(slow, quick, rtol=1e-5, atol=1e-6)


def test_an_environment_recorded_by_an_earlier_version_is_the_same_where_rows_are_equal_together() -> None:
    if predictor.product_here() is in_lanes:
        assert row_independence.environment(1) == numeric_environment.fingerprint(1)
