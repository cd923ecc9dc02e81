"""Answers have names that say what they are, and never those of columns that are copied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.models.predictor import ModelPredictor
from singlepoint.worker.scoring.output import output_format

X = np.random.default_rng(0).normal(size=(30, 2))


def predictor(y: Any, *names: str) -> ModelPredictor:
    return ModelPredictor(replace(Model(hidden=[2]).fit(X, y, epochs=1).trained, target_names=names))


@pytest.mark.parametrize(("y", "names", "expected"), [
    (np.where(X[:, 0] > 0, "yes", "no"), ("bought",), ["predicted_bought", "p_no", "p_yes"]),
    (np.where(X[:, 0] > 0, "yes", "no"), (), ["predicted", "p_no", "p_yes"]),
    (np.arange(30) % 3, ("digit",), ["predicted_digit", "p_0", "p_1", "p_2"]),
    (X[:, 0], ("price",), ["predicted_price"]),
    (X[:, 0], (), ["predicted"]),
    (X, ("width", "height"), ["predicted_width", "predicted_height"]),
    (X, (), ["predicted_1", "predicted_2"]),
])  # fmt: skip
def test_answers_are_named_for_target_and_classes(y: np.ndarray, names: tuple[str, ...], expected: list[str]) -> None:
    assert list(predictor(y, *names).names) == expected
    written = output_format(PurePath("o.csv"), predictor(y, *names), ["a"], "new_").header(1)
    assert written.decode() == ",".join(["a", *(f"new_{name}" for name in expected)]) + "\n"


def test_a_copied_column_with_the_name_of_an_answer_is_refused_with_the_ways_out() -> None:
    fitted = predictor(np.where(X[:, 0] > 0, "yes", "no"), "bought")
    with pytest.raises(InvalidInput) as caught:
        output_format(PurePath("o.csv"), fitted, ["a", "p_yes", "predicted_bought"])
    told = str(caught.value)
    assert all(word in told for word in ("'p_yes'", "'predicted_bought'", "answer_prefix", "pass_through"))
    output_format(PurePath("o.csv"), fitted, ["a", "p_yes"], "new_")
    output_format(PurePath("o.csv"), fitted, ["a", "p_maybe", "label"])
    output_format(PurePath("o.npy"), fitted, ["p_yes"])
