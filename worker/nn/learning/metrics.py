"""How good answers are: the figures kept with every trained model. Pure functions of arrays.

All of them agree with scikit-learn's functions of the same name. A figure that has no value for the data at
hand (an area under a curve when a class is absent, R² of a constant) is left out, never reported as 0 or NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from singlepoint.worker.nn.arrays import Array

NAMES = {
    "classification": ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss"),
    "regression": ("mse", "mae", "rmse", "r2"),
}
"""What is measured, by task."""

AREAS = ("roc_auc", "pr_auc")
"""Those that have no value unless every class occurs."""

LARGER_IS_BETTER = frozenset({"accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "r2"})
"""The scores; everything else (log_loss, mse, mae, rmse, and every loss) is an error, better when small."""


def classification(y_true: Array, probabilities: Array, n_classes: int) -> dict[str, float]:
    """Accuracy, precision, recall, f1, roc_auc, pr_auc and log_loss (nats).

    y_true: (n,) integers in [0, n_classes).  probabilities: (n, n_classes), or for two classes the chance of
    class 1 as (n,) or (n, 1).
    With two classes, class 1 is the positive one; with more, each figure is the plain mean over the classes (each
    against the rest), and the areas are left out when a class does not occur in `y_true`.
    Raises ValueError when there are no rows or the shapes do not fit.
    """
    p = _as_table(np.asarray(probabilities, dtype=np.float64), n_classes)
    y = np.asarray(y_true).astype(np.intp)
    if y.shape != (len(p),) or not len(y):
        raise ValueError(f"need one label a row and at least one row, got labels {y.shape}, probabilities {p.shape}")
    confusion = confusion_matrix(y, p.argmax(axis=1), n_classes)
    figures = {"accuracy": float(np.trace(confusion)) / len(y), **_precision_recall_f1(confusion)}
    for name, area in zip(AREAS, (roc_auc, average_precision), strict=True):
        value = _area(area, y, p, n_classes)
        if value is not None:
            figures[name] = value
    figures["log_loss"] = log_loss(y, p)
    return figures


def regression(y_true: Array, y_pred: Array) -> dict[str, float]:
    """mse, mae, rmse and r2 (mean over the outputs; left out when an output never varies).

    y_true, y_pred: (n,) or (n, outputs).  Raises ValueError when there are no rows or the shapes do not fit.
    """
    y, p = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    y, p = y.reshape(len(y), -1), p.reshape(len(p), -1)
    if y.shape != p.shape or not y.size:
        raise ValueError(f"need equal shapes and at least one row, got targets {y.shape}, predictions {p.shape}")
    squared = np.square(y - p)
    mse = float(squared.mean())
    figures = {"mse": mse, "mae": float(np.abs(y - p).mean()), "rmse": float(np.sqrt(squared.mean(axis=0)).mean())}
    spread = np.square(y - y.mean(axis=0)).sum(axis=0)
    if np.all(spread > 0):
        figures["r2"] = float(np.mean(1 - squared.sum(axis=0) / spread))
    return figures


def confusion_matrix(y_true: Array, y_pred: Array, n_classes: int) -> npt.NDArray[np.int64]:
    """(n_classes, n_classes) counts: row = true class, column = predicted class."""
    pairs = np.asarray(y_true).astype(np.int64) * n_classes + np.asarray(y_pred)
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def log_loss(y_true: Array, probabilities: Array) -> float:
    """Mean of -log of the probability given to the true class; a probability of 0 counts as the smallest step."""
    chosen = probabilities[np.arange(len(y_true)), y_true] / probabilities.sum(axis=1)
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).eps)).mean())


def roc_auc(positive: npt.NDArray[np.bool_], score: Array) -> float:
    """The chance that a positive row scores above a negative one, ties counting half.

    positive: (n,) with both kinds present.  score: (n,).
    """
    true_positives, false_positives = _curve(positive, score)
    area = np.trapezoid(true_positives, false_positives)
    return float(area / (true_positives[-1] * false_positives[-1]))


def average_precision(positive: npt.NDArray[np.bool_], score: Array) -> float:
    """Area under the precision-recall curve as a sum of steps (no interpolation); at least one positive row."""
    true_positives, false_positives = _curve(positive, score)
    gained = np.diff(true_positives)
    precision = true_positives[1:] / (true_positives[1:] + false_positives[1:])
    return float(np.sum(gained * precision) / true_positives[-1])


def _as_table(p: Array, n_classes: int) -> Array:
    """Probabilities as (n, n_classes)."""
    if n_classes == 2 and p.ndim == 1 + (p.shape[1:] == (1,)):
        p = p.reshape(-1)
        return np.stack([1 - p, p], axis=1)
    if p.ndim != 2 or p.shape[1] != n_classes:
        raise ValueError(f"need probabilities of shape (n, {n_classes}), got {p.shape}")
    return p


def _precision_recall_f1(confusion: npt.NDArray[np.int64]) -> dict[str, float]:
    """Of class 1 when there are two, without those that would be 0/0; else the mean over the classes, 0/0 being 0."""
    hits, predicted, actual = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    shown = slice(1, 2) if len(hits) == 2 else (predicted + actual) > 0
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(actual, 1)
    f1 = 2 * hits / np.maximum(predicted + actual, 1)
    figures = {"precision": (precision, predicted), "recall": (recall, actual), "f1": (f1, predicted + actual)}
    return {
        name: float(np.mean(values[shown])) for name, (values, over) in figures.items() if len(hits) != 2 or over[1]
    }


def _area(area: Callable[[Array, Array], float], y: Array, p: Array, n_classes: int) -> float | None:
    """One of the areas: of class 1, or the mean of each class against the rest; None when a class is absent."""
    if len(np.unique(y)) < n_classes or n_classes < 2:
        return None
    classes = (1,) if n_classes == 2 else range(n_classes)
    return float(np.mean([area(y == c, p[:, c]) for c in classes]))


def _curve(positive: npt.NDArray[np.bool_], score: Array) -> tuple[Array, Array]:
    """Positives and negatives above each distinct score, highest first, starting with (0, 0)."""
    order = np.argsort(-score, kind="stable")
    ranked = positive[order]
    # Rows of equal score enter together: only the last of each run is a point of the curve.
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(ranked) - 1)
    true_positives = np.cumsum(ranked)[ends]
    return np.append(0, true_positives), np.append(0, ends + 1 - true_positives)
