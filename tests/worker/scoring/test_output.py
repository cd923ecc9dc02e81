"""Answers have names that say what they are, and never those of columns that are copied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.data.formats.delimited import CsvFile
from singlepoint.worker.data.formats.tile import Wanted
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.models.predictor import ModelPredictor, Scores
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


@pytest.mark.parametrize(("text", "as_lines"), [
    ("a,b\n1,x\n2,\n", True),
    ("a,b\r\n1,x\r\n2, y \r\n", True),
    ("a,b\n1,\xe9\n2,\u2028\n", True),
    ("a,b\n1,x\n2,y", True),
    ('a,b\n1,"x"\n2,y\n', False),
    ('a,b\n1,"x,y"\n2,"a ""b"""\n', False),
    ("a,b,\n1,x,\n2,y,\n", False),
    ("a;b\n1;x,y\n2;z\n", False),
    ("a,b\n1,x\n\n2,y\n", False),
])  # fmt: skip
def test_columns_are_copied_alike_whether_their_lines_can_be_taken_as_they_stand_or_not(
    tmp_path: Path, text: str, as_lines: bool
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(text, newline="")
    (tile,) = CsvFile(path).tiles(None, 16, Wanted(kept=["a", "b"]))
    assert (tile.lines is not None) == as_lines
    for labels in (["yes", "no"], ["a,b", 'say "no"'], ["two\nlines", "one\r"]):
        scores = Scores(np.array([[0.25, 0.75], [1, 0]], np.float32), np.array(labels, object))
        form = output_format(PurePath("o.csv"), predictor(np.where(X[:, 0] > 0, "yes", "no"), "bought"), ["a", "b"])
        assert form.rows(tile, scores) == form.rows(replace(tile, lines=None), scores)


def test_lines_of_some_columns_or_of_another_order_are_made(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    for names in (["b", "a"], ["a"]):
        (tile,) = CsvFile(tmp_path / "in.csv").tiles(None, 16, Wanted(kept=names))
        assert tile.lines is None and list(tile.kept) == names
