"""One table, eight doors: whatever format or library it comes through, it trains the same weights, bit for bit."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.jobs.spec.network import ModelSpec
from singlepoint.jobs.spec.train import TrainSpec
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.data.formats import open_rows
from singlepoint.worker.fitting.loading import load_training_set
from singlepoint.worker.fitting.training import new_network, new_trainer

NAMES = ["height", "code", "colour", "seen", "result"]
Cell = float | int | str | bool | None


def table() -> list[list[Cell]]:
    """Numbers with fractions and gaps, whole-number categories with gaps, words with separators, truth values."""
    draw = np.random.default_rng(3)
    rows: list[list[Cell]] = []
    for i in range(60):
        height = None if i % 9 == 0 else float(np.round(draw.normal() * 1e3, 3))
        code = None if i % 11 == 0 else int(draw.integers(1, 4))
        colour = ["red", "dark; or so", 'a "word", two', "blue"][int(draw.integers(0, 4))]
        rows.append([height, code, colour, bool(draw.integers(0, 2)), int((height or 0) > 0)])
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
    path.write_text(as_text(rows, ","))


def semicolons(path: Path, rows: list[list[Cell]]) -> None:
    path.write_text(as_text(rows, ";", ","))


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


def by_pandas(path: Path, rows: list[list[Cell]]) -> None:
    """As pandas writes it: whole numbers with a gap as 1.0, truth values as True."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows, columns=NAMES)
    frame["code"] = frame["code"].astype("float64")
    frame.to_csv(path, index=False)


DOORS: dict[str, tuple[str, Callable[[Path, list[list[Cell]]], None]]] = {
    "semicolons": ("t.csv", semicolons),
    "tabs": ("t.tsv", tabs),
    "gzip": ("t.csv.gz", packed),
    "json lines": ("t.jsonl", json_lines),
    "parquet": ("t.parquet", parquet),
    "arrow": ("t.arrow", feather),
    "pandas": ("t.csv", by_pandas),
}


def trained(path: Path) -> tuple[bytes, bytes, tuple[str, ...] | None]:
    """The weights, the prepared rows that are scored, and the classes."""
    spec = TrainSpec(
        name="doors",
        data=DataSpec(path=str(path), target="result"),
        preprocessing=PreprocessingSpec(categorical=("code", "colour"), impute="median"),
        model=ModelSpec(hidden=(4,)),
        training=TrainingSpec(epochs=3, batch_size=8),
    )
    data = load_training_set(spec, path.parent)
    trainer = new_trainer(new_network(spec, data), spec.training, data)
    list(trainer.reports())
    assert data.preprocessor is not None
    tiles = [tile.whole().raw for tile in open_rows(path, data.preprocessor, []).tiles(None, 16)]
    rows = np.concatenate([np.asarray(data.preprocessor.transform(raw)) for raw in tiles])  # type: ignore[arg-type]
    weights = b"".join(np.asarray(value).tobytes() for value in trainer.network.state_dict().values())
    return weights, rows.tobytes(), data.classes


@pytest.mark.parametrize("door", DOORS)
def test_one_table_trains_the_same_weights_through_every_door(tmp_path: Path, door: str) -> None:
    (tmp_path / "first").mkdir()
    a_csv(tmp_path / "first" / "t.csv", table())
    name, write = DOORS[door]
    write(tmp_path / name, table())
    assert trained(tmp_path / name) == trained(tmp_path / "first" / "t.csv")
