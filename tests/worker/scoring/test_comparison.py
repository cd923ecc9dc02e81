"""Answers beside the truth give the figures that a training would give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.spec.data import DialectFields
from singlepoint.worker.data.formats import CsvFile, Tile, Wanted
from singlepoint.worker.models.predictor import Scores
from singlepoint.worker.nn.learning import metrics
from singlepoint.worker.scoring import comparison as module
from singlepoint.worker.scoring.comparison import Comparison, comparison


def a_tile(first_row: int = 0, **kept: list[str]) -> Tile:
    return Tile({}, len(next(iter(kept.values()))), first_row, {}, kept)


def test_classes_meet_by_value_and_others_are_left_out() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]], np.float32)
    compared = Comparison(("y",), ("1", "2"))
    block = compared.rows(a_tile(y=["1.0", "2", "2", "3"]), Scores(probabilities=p))
    expected = metrics.classification(np.array([0, 1, 1]), p[:3], 2)
    assert compared.figures(block) == {"compared_rows": 3, **expected}


def test_values_are_compared_target_by_target() -> None:
    compared = Comparison(("a", "b"), None)
    answers = np.array([[1.7e9, 2.0], [1.7e9 + 1, 3.0], [0.0, 0.0]])
    tiles = [a_tile(a=["1700000001", "1700000003"], b=["2", "5"]), a_tile(a=["?"], b=["1"])]
    blocks = [compared.rows(tiles[0], Scores(values=answers[:2])), compared.rows(tiles[1], Scores(values=answers[2:]))]
    truth = np.array([[1700000001, 2.0], [1700000003, 5.0]])
    assert compared.figures(b"".join(blocks)) == {"compared_rows": 2, **metrics.regression(truth, answers[:2])}


def test_the_truth_is_read_as_a_training_reads_it(tmp_path: Path) -> None:
    """With the file's own marks, and without what means "no value" in it, be it values or classes."""
    path = tmp_path / "a.csv"
    path.write_text("y;k\n1.000;1,50\n1.003,5;2,5\n-999,0;2,5\n")
    said = DialectFields(separator=";", decimal=",", thousands=".")
    [tile] = CsvFile(path, said=said).tiles(None, 64, Wanted(kept=("y", "k")))
    answers = np.array([[999.0], [1003.0], [0.0]])
    truth = np.array([[1000.0], [1003.5]])
    values = Comparison(("y",), None, {"y": ("-999",)})
    figures = values.figures(values.rows(tile, Scores(values=answers)))
    assert figures == {"compared_rows": 2, **metrics.regression(truth, answers[:2])}
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]], np.float32)
    for missing, rows in (((), 3), (("2,5",), 1)):
        classes = Comparison(("k",), ("1.5", "2.5"), missing)
        assert classes.figures(classes.rows(tile, Scores(probabilities=p)))["compared_rows"] == rows


def test_only_the_first_rows_of_a_long_input_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VALUES", 8)
    compared, scores = Comparison(("y",), None), Scores(values=np.ones((2, 1)))
    blocks = b"".join(compared.rows(a_tile(row, y=["1", "2"]), scores) for row in range(0, 10, 2))
    assert compared.figures(blocks)["compared_rows"] == 4


def test_there_is_no_comparison_without_the_whole_truth() -> None:
    assert comparison(("y",), None, ("a", "y"), ("a",)) == Comparison(("y",), None)
    assert comparison((), None, ("a",), ("a",)) is None
    assert comparison(("y", "z"), None, ("a", "y"), ("a",)) is None
    assert comparison(("y",), None, ("a", "y"), ("a", "y")) is None
    assert Comparison(("y",), None).figures(b"") == {}
