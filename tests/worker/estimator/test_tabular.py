"""Classifier and Regressor without scikit-learn: a function of data, parameters and seed."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from singlepoint.worker.estimator.model import Model
from singlepoint.worker.estimator.refusals import InvalidArgument
from singlepoint.worker.estimator.tabular import HELD_BACK_FROM_ROWS, Classifier, Regressor

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(300, 4))
LABELS = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
ROWS = {"n": X[:, 0], "m": X[:, 1], "c": np.array(["rgb"[i % 3] for i in range(300)], object)}


def test_the_same_seed_gives_the_same_model_and_another_one_another() -> None:
    one, again, other = (Classifier(epochs=3, random_state=seed).fit(ROWS, LABELS) for seed in (None, 0, 1))
    assert one.predict_proba(ROWS).tobytes() == again.predict_proba(ROWS).tobytes()
    assert one.predict_proba(ROWS).tobytes() != other.predict_proba(ROWS).tobytes()


def test_it_learns_untouched() -> None:
    assert Classifier().fit(X, LABELS).score(X, LABELS) > 0.95
    assert Regressor().fit(X, 1e6 * X[:, 0] * X[:, 1]).score(X, 1e6 * X[:, 0] * X[:, 1]) > 0.9
    several = Regressor().fit(X, X[:, :2])
    assert several.predict(X).shape == (300, 2) and several.score(X, X[:, :2]) > 0.95


def test_training_stops_early_and_few_rows_are_all_learned_from() -> None:
    noise = DRAW.integers(0, 2, 300)
    assert Classifier().fit(X, noise).n_iter_ < 200
    assert Classifier(early_stopping=False, epochs=30).fit(X, noise).n_iter_ == 30
    few = Classifier(epochs=2).fit(X[: HELD_BACK_FROM_ROWS - 1], LABELS[: HELD_BACK_FROM_ROWS - 1])
    assert few.history_[0].validation_loss is None


def test_missing_numbers_are_filled_and_words_are_categories() -> None:
    rows = {**ROWS, "n": np.where(np.arange(300) % 5 == 0, np.nan, X[:, 0])}
    model = Classifier(epochs=3).fit(rows, LABELS)
    kinds = {column.name: column.type for column in model.trained_.preprocessor.columns}  # type: ignore[union-attr]
    assert kinds == {"n": "numeric", "m": "numeric", "c": "categorical"}
    assert np.isfinite(model.predict_proba({"n": [np.nan], "m": [1.0], "c": ["new"]})).all()


def test_a_copy_answers_with_the_same_bits() -> None:
    model = Classifier(epochs=3).fit(ROWS, LABELS)
    assert copy.deepcopy(model).predict_proba(ROWS).tobytes() == model.predict_proba(ROWS).tobytes()


def test_what_is_saved_is_a_model_like_any_other(tmp_path: Path) -> None:
    model = Classifier(epochs=3).fit(ROWS, LABELS)
    model.save(tmp_path)
    again = Model.load(tmp_path)
    assert again.predict(ROWS).tolist() == model.predict(ROWS).tolist()
    assert again.provenance["spec"]["training"]["optimiser"]["learning_rate"] == model.learning_rate


def test_texts_are_rows_too() -> None:
    texts = [("a good film " if i % 2 else "a bad film ") + str(i % 7) for i in range(80)]
    y = [i % 2 == 1 for i in range(80)]
    assert Classifier(epochs=60).fit(texts, y).score(texts, y) == 1.0


def test_what_is_wrong_with_the_rows_is_told_by_the_name_of_their_argument() -> None:
    x, y = np.column_stack([np.arange(8.0), np.full(8, np.nan)]), [0, 1] * 4
    with pytest.raises(InvalidArgument, match=r"^X: column '1' has no value in any training row \(leave it out of X\)"):
        Classifier().fit(x, y)


def test_parameters_are_kept_as_given_and_checked_by_fit() -> None:
    odd = Classifier(hidden="x", epochs=-1)  # type: ignore[arg-type]
    assert odd.get_params()["epochs"] == -1 and repr(odd) == "Classifier(hidden='x', epochs=-1)"
    with pytest.raises(InvalidArgument, match=r"(?s)hidden|epochs"):
        odd.fit(X, LABELS)
    assert odd.set_params(hidden=(4,), epochs=np.int64(2)).fit(X, LABELS).n_iter_ == 2
