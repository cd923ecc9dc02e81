"""The figures agree with scikit-learn's, and those without a value are left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from singlepoint.worker.nn.learning import metrics


def rows(n: int, classes: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    y = draw.integers(0, classes, n)
    p = draw.dirichlet(np.ones(classes), n)
    if ties:
        p = np.round(p, 1) + 1e-3
        p /= p.sum(axis=1, keepdims=True)
    return y, p


@pytest.mark.parametrize("ties", [False, True])
def test_two_classes_agree_with_scikit_learn(ties: bool) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    y, p = rows(301, 2, ties=ties)
    predicted = p.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(y, predicted),
        "precision": sk.precision_score(y, predicted),
        "recall": sk.recall_score(y, predicted),
        "f1": sk.f1_score(y, predicted),
        "roc_auc": sk.roc_auc_score(y, p[:, 1]),
        "pr_auc": sk.average_precision_score(y, p[:, 1]),
        "log_loss": sk.log_loss(y, p),
    }
    assert metrics.classification(y, p, 2) == pytest.approx(expected, rel=1e-12)
    assert metrics.classification(y, p[:, 1:], 2) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_many_classes_agree_with_scikit_learns_macro_means(ties: bool) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    y, p = rows(500, 5, seed=1, ties=ties)
    predicted = p.argmax(axis=1)
    one_hot = np.eye(5)[y]
    expected = {
        "accuracy": sk.accuracy_score(y, predicted),
        "precision": sk.precision_score(y, predicted, average="macro"),
        "recall": sk.recall_score(y, predicted, average="macro"),
        "f1": sk.f1_score(y, predicted, average="macro"),
        "roc_auc": sk.roc_auc_score(y, p, multi_class="ovr"),
        "pr_auc": sk.average_precision_score(one_hot, p, average="macro"),
        "log_loss": sk.log_loss(y, p),
    }
    assert metrics.classification(y, p, 5) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(50,), (50, 3)])
def test_regression_agrees_with_scikit_learn(shape: tuple[int, ...]) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(2)
    y, p = draw.normal(size=shape), draw.normal(size=shape)
    expected = {
        "mse": sk.mean_squared_error(y, p),
        "mae": sk.mean_absolute_error(y, p),
        "rmse": sk.root_mean_squared_error(y, p),
        "r2": sk.r2_score(y, p),
    }
    assert metrics.regression(y, p) == pytest.approx(expected, rel=1e-12)


def test_areas_are_left_out_when_a_class_does_not_occur() -> None:
    y, p = rows(40, 3)
    figures = metrics.classification(np.minimum(y, 1), p, 3)
    assert "roc_auc" not in figures
    assert "pr_auc" not in figures
    assert figures["log_loss"] > 0


def test_a_class_never_predicted_and_a_certain_mistake_give_finite_figures() -> None:
    figures = metrics.classification(np.array([1, 1, 0]), np.array([[1.0, 0.0]] * 3), 2)
    assert figures["recall"] == figures["f1"] == 0.0 and "precision" not in figures  # 0 of 0
    assert np.isfinite(list(figures.values())).all()


def test_figures_of_a_class_that_neither_occurs_nor_is_predicted_are_left_out() -> None:
    figures = metrics.classification(np.zeros(3, int), np.array([[0.9, 0.1]] * 3), 2)
    assert figures.keys() == {"accuracy", "log_loss"}


def test_r2_is_left_out_when_the_target_never_varies() -> None:
    assert "r2" not in metrics.regression(np.ones(5), np.zeros(5))


@pytest.mark.parametrize("call", [
    lambda: metrics.classification(np.zeros(0, int), np.zeros((0, 2)), 2),
    lambda: metrics.classification(np.zeros(3, int), np.zeros((3, 4)), 3),
    lambda: metrics.regression(np.zeros((3, 2)), np.zeros((3, 1))),
])  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="got"):
        call()
