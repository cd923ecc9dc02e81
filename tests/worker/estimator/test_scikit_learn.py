"""Classifier and Regressor do what scikit-learn and its users expect, untouched and in its tools."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import numpy as np
import pytest

from singlepoint.worker.estimator.tabular import Classifier, Regressor

pytest.importorskip("sklearn", minversion="1.6")
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator


@pytest.mark.parametrize(
    ("estimator", "check"),
    [pair for one in (Classifier(), Regressor()) for pair in estimator_checks_generator(one)],
    ids=lambda value: getattr(getattr(value, "func", value), "__name__", type(value).__name__),
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_pass_without_an_excuse(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except SkipTest as error:  # scikit-learn's own: of arrays that are none of numpy's, where none are installed
        pytest.skip(f"this machine: {error}")


def mixed(rows: int = 200) -> tuple[Any, np.ndarray, np.ndarray]:
    """A frame as people have them: numbers with gaps, nullable ones, words, truth values, categories."""
    pd = pytest.importorskip("pandas")
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": draw.integers(18, 80, rows).astype(float),
            "income": pd.array(draw.integers(10, 99, rows), dtype="Int64"),
            "city": draw.choice(["Berlin", "Oslo", "Rome"], rows),
            "member": draw.random(rows) > 0.5,
            "grade": pd.Categorical(draw.choice(["a", "b", "c"], rows)),
        }
    )
    value = frame["age"] / 20 + 2.0 * (frame["city"] == "Oslo") - 2.0 * (frame["grade"] == "b") + 1.5 * frame["member"]
    frame.loc[::17, "age"] = np.nan
    frame.loc[::23, "income"] = pd.NA
    value = value.to_numpy() + draw.normal(size=rows) / 4
    return frame, np.where(value > np.median(value), "yes", "no"), value


def test_breast_cancer_is_told_apart_untouched() -> None:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    assert cross_val_score(Classifier(), x, y, cv=3).mean() >= 0.95


def test_a_mixed_frame_of_200_rows_is_learned_untouched() -> None:
    frame, classes, values = mixed()
    assert cross_val_score(Classifier(), frame, classes, cv=4).mean() > 0.8
    assert cross_val_score(Regressor(), frame, values, cv=4).mean() > 0.75


def test_values_far_from_0_are_learned_untouched() -> None:
    x, y = datasets.load_diabetes(return_X_y=True)
    assert cross_val_score(Regressor(), x, 1.7e9 + y, cv=3).mean() > 0.3


def test_they_go_into_the_usual_tools() -> None:
    x, y = datasets.load_iris(return_X_y=True)
    quick = Classifier(epochs=30, learning_rate=0.02)
    assert clone(quick).get_params() == quick.get_params()
    assert make_pipeline(StandardScaler(), quick).fit(x, y).score(x, y) > 0.9
    search = GridSearchCV(quick, {"hidden": [(4,), (16,)], "learning_rate": np.array([0.01, 0.03])}, cv=2).fit(x, y)
    assert search.best_score_ > 0.85 and search.best_params_["hidden"] in ((4,), (16,))
    calibrated = CalibratedClassifierCV(quick, cv=2).fit(x, y)
    np.testing.assert_allclose(calibrated.predict_proba(x).sum(axis=1), 1)
    importance = permutation_importance(quick.fit(x, y), x, y, n_repeats=2, random_state=0)
    assert importance.importances_mean[2:].max() > importance.importances_mean[:2].max()


def test_a_permuted_column_of_a_frame_matters_as_much_as_it_should() -> None:
    frame, _, values = mixed()
    importance = permutation_importance(Regressor().fit(frame, values), frame, values, n_repeats=2, random_state=0)
    by_name = dict(zip(frame.columns, importance.importances_mean, strict=True))
    assert min(by_name["age"], by_name["city"], by_name["grade"]) > by_name["income"]
