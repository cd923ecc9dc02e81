"""The public model: raw rows in, answers out, the same in bits whatever stands between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.data.preprocessing import select
from singlepoint.worker.estimator.model import Model, NotTrained
from singlepoint.worker.models.predictor import ModelPredictor

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(300, 4))
LABELS = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
VALUES = X @ DRAW.normal(size=(4, 2)) + 5


def fitted(x: Any = X, y: Any = LABELS, **options: Any) -> Model:
    return Model(hidden=[8], seed=1, learning_rate=0.02, **options).fit(x, y, epochs=8)


def test_the_signature_of_the_worked_example_learns() -> None:
    x, y = DRAW.normal(size=(200, 10)), DRAW.normal(size=(200, 5))
    model = Model(input_shape=(10,), output_shape=(5,), activation="relu")
    before = model.fit(x, y, epochs=1, batch_size=32).history[-1].loss
    assert model.fit(x, y, epochs=40, batch_size=32).history[-1].loss < before
    assert model.predict(x).shape == (200, 5)


def test_classes_come_back_as_they_were_given() -> None:
    assert fitted().score(X, LABELS) > 0.9
    assert set(fitted().predict(X)) == {"yes", "no"}
    numbers = fitted(y=np.where(LABELS == "yes", 7, 3))
    assert numbers.classes_.tolist() == [3, 7]
    assert set(numbers.predict(X).tolist()) == {3, 7}


def test_probabilities_belong_to_the_classes_in_order() -> None:
    model = fitted()
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert model.classes_[probabilities.argmax(axis=1)].tolist() == model.predict(X).tolist()


def test_one_sigmoid_unit_gives_both_probabilities() -> None:
    model = fitted(loss="binary_cross_entropy")
    assert model.network.output_shape == (1,)
    assert model.predict_proba(X).shape == (300, 2)
    assert model.score(X, LABELS) > 0.9


def test_values_are_scored_by_r2() -> None:
    model = fitted(y=VALUES, preprocessing={})
    assert model.predict(X).shape == (300, 2)
    assert Model(hidden=[8]).fit(X, VALUES[:, 0], epochs=2).predict(X).shape == (300,)
    assert model.score(X, VALUES) > -10


def test_a_validation_share_gives_metrics() -> None:
    model = Model(hidden=[8]).fit(X, LABELS, epochs=2, validation=0.2)
    assert {"validation_loss", "accuracy", "roc_auc"} <= model.metrics.keys()
    given = Model(hidden=[8]).fit(X, LABELS, epochs=2, validation=(X[:50], LABELS[:50]))
    assert given.metrics["accuracy"] == given.score(X[:50], LABELS[:50])


def tables() -> tuple[dict[str, Any], np.ndarray]:
    raw = {"a": X[:, 0], "b": X[:, 1], "c": np.where(X[:, 2] > 0, "u", "v").astype(object)}
    return raw, LABELS


def images() -> tuple[np.ndarray, np.ndarray]:
    return DRAW.integers(0, 256, (300, 6, 6)).astype(np.uint8), LABELS


def texts() -> tuple[np.ndarray, np.ndarray]:
    words = np.where(LABELS == "yes", "a good film", "a bad film")
    return np.array([f"{text} {i % 7}" for i, text in enumerate(words)]), LABELS


RAW = [
    (tables, {"preprocessing": {"categorical": ["c"], "impute": "mean"}}),
    (images, {"preprocessing": {"rescale": 255, "denoise": {"type": "median"}}}),
    (images, {"preprocessing": {"denoise": {"type": "gaussian"}, "normalise": "min_max"}}),
    (texts, {"preprocessing": {"text": {"type": "tfidf"}}}),
]


@pytest.mark.parametrize(("data", "options"), RAW)
def test_raw_rows_and_prepared_rows_give_the_same_bits(data: Any, options: dict[str, Any], tmp_path: Path) -> None:
    x, y = data()
    model = fitted(x, y, **options)
    assert model.preprocessor is not None
    raw = x if isinstance(x, dict) or x.dtype.kind != "U" else x.astype(object)
    prepared = model.preprocessor.transform(raw)
    bare = Model.of(replace(model.trained, preprocessor=None))
    assert model.predict_proba(x).tobytes() == bare.predict_proba(prepared[:]).tobytes()


@pytest.mark.parametrize(("data", "options"), RAW)
def test_a_saved_model_answers_with_the_same_bits(data: Any, options: dict[str, Any], tmp_path: Path) -> None:
    x, y = data()
    model = fitted(x, y, **options)
    model.save(tmp_path / "model.json")
    again = Model.load(tmp_path / "model.json")
    assert again.predict_proba(x).tobytes() == model.predict_proba(x).tobytes()
    assert again.predict(x).tolist() == model.predict(x).tolist()
    assert again.preprocessor == model.preprocessor


@pytest.mark.parametrize(("data", "options"), RAW)
def test_a_rows_answer_does_not_depend_on_the_rows_it_comes_with(data: Any, options: dict[str, Any]) -> None:
    x, y = data()
    model = fitted(x, y, **options)
    whole = model.predict_proba(x)
    for rows in (1, 7, 64, 100):
        parts = [
            model.predict_proba(select(x, slice(start, start + rows)))
            for start in range(0, len(y) if rows > 1 else 9, rows)
        ]
        answers = np.concatenate(parts)
        assert answers.tobytes() == whole[: len(answers)].tobytes(), rows


def test_the_same_seed_gives_the_same_bits() -> None:
    assert fitted().network.parameters.tobytes() == fitted().network.parameters.tobytes()
    assert (
        fitted().network.parameters.tobytes() != Model(hidden=[8], seed=2).fit(X, LABELS).network.parameters.tobytes()
    )


def test_scikit_learn_can_clone_it() -> None:
    base = pytest.importorskip("sklearn.base")
    model = Model(hidden=[8], learning_rate=0.02, preprocessing={"normalise": "standard"})
    assert base.clone(model).get_params() == model.get_params()
    assert base.clone(model).fit(X, LABELS).score(X, LABELS) > 0.8


def test_layers_may_be_given_in_full() -> None:
    layers = [
        {"type": "dense", "units": 6, "activation": "tanh"},
        {"type": "dense", "units": 2, "activation": "softmax"},
    ]
    assert Model(layers=layers).fit(X, LABELS, epochs=1).network.plan.parameter_count == 4 * 6 + 6 + 6 * 2 + 2


@pytest.mark.parametrize(("options", "x", "y", "message"), [
    ({"input_shape": (5,)}, X, LABELS, "input_shape is"),
    ({"output_shape": (3,)}, X, LABELS, "output_shape is"),
    ({}, X, LABELS[:-1], "has 299 rows, but x has 300"),
    ({}, np.where(X > 2, np.nan, X), LABELS, "the number is missing"),
    ({"layers": [{"type": "embedding", "dimension": 2}], "preprocessing": {}}, X, LABELS, "an embedding needs text"),
])  # fmt: skip
def test_what_does_not_fit_says_why(options: dict[str, Any], x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Model(**options).fit(x, y, epochs=1)


def test_a_class_may_be_absent_when_the_width_is_given() -> None:
    model = Model(output_shape=(5,)).fit(X, np.where(LABELS == "yes", 4, 0), epochs=1)
    assert model.classes_.tolist() == [0, 1, 2, 3, 4]


def test_a_model_without_weights_says_so() -> None:
    with pytest.raises(NotTrained, match="call fit"):
        Model(input_shape=(4,)).predict(X)


def test_a_network_whose_weights_somebody_wrote_to_answers_by_them() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6, 3)).astype(np.float32), np.arange(40) % 2
    model = Model(layers=[{"type": "lstm", "units": 8}, {"type": "dense", "units": 2, "activation": "softmax"}])
    model.fit(x, y, epochs=1)
    model.predict_proba(x[:1])
    model.network.parameters[...] *= -2
    np.testing.assert_array_equal(
        model.predict_proba(x[:1]), ModelPredictor(model.trained).predict(x[:1]).probabilities
    )
