"""One table, eight doors: whatever format or library it comes through, it trains the same weights and gets the same
answers, bit for bit: numbers, categories, truth values, gaps, and a column of text. And what a door does not let in."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.jobs.spec.network import ModelSpec
from singlepoint.jobs.spec.train import TrainSpec
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.data.formats import Wanted, open_rows, open_table
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.fitting.loading import load_training_set
from singlepoint.worker.fitting.training import new_network, new_trainer, trained_model
from singlepoint.worker.models.predictor import ModelPredictor
from singlepoint.worker.models.trained_model import TrainedModel

NAMES = ["height", "code", "colour", "seen", "note", "result"]
Cell = float | int | str | bool | None


def table() -> list[list[Cell]]:
    """Numbers with fractions and gaps, whole-number categories with gaps, words with separators, truth values."""
    draw = np.random.default_rng(3)
    rows: list[list[Cell]] = []
    for i in range(60):
        height = None if i % 9 == 0 else float(np.round(draw.normal() * 1e3, 3))
        code = None if i % 11 == 0 else int(draw.integers(1, 4))
        colour = ["red", "dark; or so", 'a "word", two', "blue"][int(draw.integers(0, 4))]
        words = ["tall", "small", "über", "a, b", "1.50"]
        note = None if i % 13 == 0 else " ".join(words[int(k)] for k in draw.integers(0, 5, 3))
        rows.append([height, code, colour, bool(draw.integers(0, 2)), note, int((height or 0) > 0)])
    return rows


def as_text(rows: list[list[Cell]], separator: str, decimal: str = ".") -> str:
    def shown(cell: Cell) -> str:
        if cell is None:
            return ""
        if isinstance(cell, float):
            return repr(cell).replace(".", decimal)
        word = str(cell)
        return '"' + word.replace('"', '""') + '"' if any(mark in word for mark in (separator, '"')) else word

    lines = [separator.join(NAMES), *(separator.join(map(shown, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def a_csv(path: Path, rows: list[list[Cell]]) -> None:
    path.write_text(as_text(rows, ","), encoding="utf-8")


def semicolons(path: Path, rows: list[list[Cell]]) -> None:
    path.write_text(as_text(rows, ";", ","), encoding="utf-8")


def tabs(path: Path, rows: list[list[Cell]]) -> None:
    path.write_bytes(as_text(rows, "\t").replace("\n", "\r\n").encode("utf-16"))


def packed(path: Path, rows: list[list[Cell]]) -> None:
    path.write_bytes(gzip.compress(as_text(rows, ",").encode()))


def json_lines(path: Path, rows: list[list[Cell]]) -> None:
    path.write_text("".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows))


def parquet(path: Path, rows: list[list[Cell]]) -> None:
    pytest.importorskip("pyarrow.parquet").write_table(arrow_table(rows), path, row_group_size=13)


def feather(path: Path, rows: list[list[Cell]]) -> None:
    pytest.importorskip("pyarrow.feather").write_feather(arrow_table(rows), str(path))


def arrow_table(rows: list[list[Cell]]) -> Any:
    return pytest.importorskip("pyarrow").table(dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True)))


def frame_of(rows: list[list[Cell]]) -> Any:
    """As pandas has it: whole numbers with a gap are floats."""
    frame = pytest.importorskip("pandas").DataFrame(rows, columns=NAMES)
    frame["code"] = frame["code"].astype("float64")
    return frame


def by_pandas(path: Path, rows: list[list[Cell]]) -> None:
    """As pandas writes it: whole numbers with a gap as 1.0, truth values as True."""
    frame_of(rows).to_csv(path, index=False)


DOORS: dict[str, tuple[str, Callable[[Path, list[list[Cell]]], None]]] = {
    "semicolons": ("t.csv", semicolons),
    "tabs": ("t.tsv", tabs),
    "gzip": ("t.csv.gz", packed),
    "json lines": ("t.jsonl", json_lines),
    "parquet": ("t.parquet", parquet),
    "arrow": ("t.arrow", feather),
    "pandas": ("t.csv", by_pandas),
}


PREPROCESSING = {
    "table": PreprocessingSpec(categorical=("code", "colour"), impute="median"),
    "text": PreprocessingSpec(),
}
Trained = tuple[bytes, bytes, tuple[str, ...] | None]
"""The weights, the answers to its own rows, and the classes."""


def through_a_file(path: Path, kind: str) -> Trained:
    """Read for training and, tile by tile, for prediction."""
    columns: dict[str, Any] = {"text": "note"} if kind == "text" else {"ignore": ("note",)}
    spec = TrainSpec(
        name="doors",
        data=DataSpec(path=str(path), target="result", **columns),
        preprocessing=PREPROCESSING[kind],
        model=ModelSpec(hidden=(4,)),
        training=TrainingSpec(epochs=3, batch_size=8),
    )
    data = load_training_set(spec, path.parent)
    trainer = new_trainer(new_network(spec, data), spec.training, data)
    list(trainer.reports())
    model = trained_model(trainer, data, {})
    assert model.preprocessor is not None
    tiles = [tile.whole().raw for tile in open_rows(path, model.preprocessor, []).tiles(None, 16)]
    return told(model, tiles)


def through_a_frame(frame: Any, kind: str) -> Trained:
    """Given to `Model` as it is, and its rows 16 at a time."""
    x = frame["note"].fillna("").to_numpy() if kind == "text" else frame.drop(columns=["note", "result"])
    model = Model(hidden=(4,), preprocessing=PREPROCESSING[kind])
    model.fit(x, frame["result"], epochs=3, batch_size=8, validation=0.2)
    parts = [x[start : start + 16] for start in range(0, len(x), 16)]
    answers = np.concatenate([model.predict_proba(part) for part in parts])
    return weights_of(model.trained), answers.tobytes(), model.classes


def told(model: TrainedModel, tiles: list[Any]) -> Trained:
    predictor = ModelPredictor(model)
    answers = [predictor.predict(raw).probabilities for raw in tiles]
    return weights_of(model), np.concatenate([one for one in answers if one is not None]).tobytes(), model.classes


def weights_of(model: TrainedModel) -> bytes:
    return b"".join(np.asarray(value).tobytes() for value in model.network.state_dict().values())


@pytest.fixture(scope="module", params=PREPROCESSING)
def first_door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Trained]:
    """What becomes of the table as plain CSV."""
    path = tmp_path_factory.mktemp("first") / "t.csv"
    a_csv(path, table())
    return request.param, through_a_file(path, request.param)


@pytest.mark.parametrize("door", DOORS)
def test_one_table_trains_the_same_weights_and_gets_the_same_answers_through_every_door(
    tmp_path: Path, door: str, first_door: tuple[str, Trained]
) -> None:
    kind, expected = first_door
    name, write = DOORS[door]
    write(tmp_path / name, table())
    assert through_a_file(tmp_path / name, kind) == expected


def test_a_frame_of_pandas_is_a_door_too(first_door: tuple[str, Trained]) -> None:
    kind, expected = first_door
    assert through_a_frame(frame_of(table()), kind) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": 1, "a": 2}', "row 301 has the key 'a' twice"),
        ('{"A": 1}', "row 301: has a key 'A' that is no column, and no 'a'"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "row 301 is nested too deep"),
        (r'{"a": "\ud83d"}', r"row 301 holds half of a character: '\\ud83d'"),
    ],
)
def test_a_line_of_json_that_says_two_things_or_none_is_refused_by_its_row(
    tmp_path: Path, line: str, reason: str
) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n' * 300 + line + "\n")
    with pytest.raises(InvalidInput, match=reason):
        [tile.whole() for tile in open_table(tmp_path / "t.jsonl").tiles(None, 64, Wanted(["a"]))]


def test_a_key_that_nothing_asks_for_may_come_late(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n' * 300 + '{"a": 2, "note": "late"}\n')
    tiles = open_table(tmp_path / "t.jsonl").tiles(None, 64, Wanted(["a"]))
    assert sum(tile.whole().rows for tile in tiles) == 301


def test_a_line_of_json_may_have_any_whole_character_and_number(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00", "b": -1' + b"0" * 400 + b"}\n")
    [tile] = open_table(tmp_path / "t.jsonl").tiles(None, 64, Wanted(["b"], ["a"]))
    assert isinstance(tile.raw, dict)
    assert tile.raw["a"].tolist() == ["\U0001f600"] and tile.raw["b"].tolist() == [-math.inf]
