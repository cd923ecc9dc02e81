"""How good answers are, as one figure, for those who know the truth."""

from __future__ import annotations

import numpy as np

from singlepoint.worker.data import targets
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.learning import metrics

from .refusals import refused


def accuracy(given: Array, answers: Array) -> float:
    """The share of the rows (n,) whose class is as given: told apart by value, so 2 and 2.0 are one."""
    _same_length(given, answers)
    names = (targets.class_names(values.reshape(len(values))) for values in (given, answers))
    return float(np.mean([one == other for one, other in zip(*names, strict=True)]))


def r2(given: Array, answers: Array) -> float:
    """The share of the targets' variance, (n,) or (n, k), that is explained: mean over the k.

    Raises InvalidArgument where it has no value.
    """
    _same_length(given, answers)
    numbers = targets.as_numbers(given)
    if numbers is None:
        raise refused("y", "holds words", "R² needs values")
    figures = metrics.regression(numbers, answers)
    if "r2" not in figures:
        raise refused("y", "never varies, so R² has no value", "score rows whose targets differ")
    return figures["r2"]


def _same_length(given: Array, answers: Array) -> None:
    if len(given) != len(answers):
        raise refused("y", f"has {len(given)} rows, but there are {len(answers)} answers")
