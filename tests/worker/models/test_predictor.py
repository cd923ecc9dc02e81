"""Answers are finite or refused by their row, in the units of the targets, and tell what training never saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from singlepoint.worker.data.preprocessing import BadRow
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.models import files
from singlepoint.worker.models.predictor import ModelPredictor
from singlepoint.worker.nn.inference import InferenceSession

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(80, 2))
LABELS = np.where(X[:, 0] > 0, "yes", "no")


def fitted(y: np.ndarray, **options: object) -> ModelPredictor:
    return ModelPredictor(Model(hidden=[8], **options).fit(X, y, epochs=3).trained)  # type: ignore[arg-type]


@pytest.mark.parametrize("y", [X[:, 0], LABELS])
@pytest.mark.parametrize("rows", [10, 9000])
def test_an_answer_that_is_not_finite_names_its_row(y: np.ndarray, rows: int) -> None:
    predictor = fitted(y)
    raw = np.zeros((rows, 2))
    raw[rows - 3] = 3e38, -3e38
    predictor.model.network.parameters[:] *= 10
    with pytest.raises(BadRow, match="the answer is not a finite number") as caught:
        predictor.predict(raw)
    assert caught.value.row == rows - 3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_target_far_from_0_is_learned(seed: int) -> None:
    a = np.arange(80.0) % 7
    y = 1.7e9 + 10 * a + DRAW.random(80)
    model = Model(hidden=[8], seed=seed, preprocessing={}, learning_rate=0.02).fit(a[:, None], y, epochs=100)
    answers = model.predict(a[:, None])
    assert answers.dtype == np.float64
    assert np.abs(answers - y).mean() < 2
    assert model.score(a[:, None], y) > 0.98


def test_metrics_of_a_regression_are_in_the_units_of_its_target() -> None:
    y = 5000 + 1000 * X[:, 0]
    model = Model(hidden=[8], learning_rate=0.01).fit(X, y, epochs=40, validation=(X, y))
    assert model.metrics["mae"] == pytest.approx(np.abs(model.predict(X) - y).mean(), rel=1e-4)
    assert model.metrics["r2"] == pytest.approx(model.score(X, y), rel=1e-4)


@pytest.mark.parametrize("options", [
    {"preprocessing": {"normalise_target": "none"}},
    {"output_activation": "sigmoid"},
])  # fmt: skip
def test_values_are_learned_as_they_are_when_asked_or_when_the_last_layer_bounds_them(options: dict) -> None:
    y = 0.25 + 0.5 * (X[:, 0] > 0)
    predictor = fitted(y, task="regression", **options)
    values = predictor.predict(X).values
    assert predictor.model.target_scale is None
    assert values is not None and values.dtype == np.float32


def test_answers_survive_the_files_and_a_model_of_the_first_format_keeps_its_own(tmp_path: Path) -> None:
    model = fitted(1e6 * X[:, 0]).model
    files.save(model, tmp_path)
    again = files.load(tmp_path)
    assert again.target_scale == model.target_scale
    one, other = (ModelPredictor(m).predict(X).values for m in (model, again))
    assert one is not None and other is not None and one.tobytes() == other.tobytes()

    first = replace(again, target_scale=None)  # as it was in format 1
    outputs = ModelPredictor(first).predict(X).values
    assert outputs is not None and np.array_equal(outputs, InferenceSession(first.network).predict(X))


def test_what_training_never_saw_is_counted_over_all_rows() -> None:
    raw = {"c": np.array(["a", "b"] * 40, object), "k": np.full(80, 3.0), "x": X[:, 0]}
    model = Model(hidden=[4], preprocessing={"categorical": ["c"]}).fit(raw, LABELS, epochs=1)
    many = {"c": np.array(["a", "z", ""] * 3000, object), "k": np.full(9000, 3.0), "x": np.zeros(9000)}
    many["k"][:5] = 4.0
    assert model.predict_table(many).unseen == {"c": 6000, "k": 5}


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_an_unseen_category_is_answered_like_the_average_row_whatever_the_seed(seed: int) -> None:
    raw = {"c": np.array(["a", "b", "c"] * 30, object)}
    y = 10 + DRAW.normal(size=90) / 10
    model = Model(hidden=[8], seed=seed, learning_rate=0.02, preprocessing={"categorical": ["c"]})
    answers = model.fit(raw, y, epochs=60).predict({"c": np.array(["a", "z", ""], object)})
    assert np.abs(answers - 10).max() < 0.5


@pytest.mark.parametrize("seed", [1, 2])
def test_a_column_that_never_varied_changes_no_answer(seed: int) -> None:
    raw = {"k": np.array([0.3, 0.1 + 0.2] * 40), "x": X[:, 0]}
    model = Model(hidden=[8], seed=seed, preprocessing={}).fit(raw, 2 * X[:, 0], epochs=5)
    one, other = (model.predict({"k": np.full(80, k), "x": X[:, 0]}) for k in (0.3, 1e6))
    assert one.tobytes() == other.tobytes()
