"""A target whose cells have a type is read by its numbers, and is what it would be by its text."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.worker.data.formats import open_table, training
from singlepoint.worker.data.formats.tile import Wanted
from singlepoint.worker.data.preprocessing.identity import name_of
from singlepoint.worker.nn.arrays import Array

arrow = pytest.importorskip("pyarrow")
from pyarrow import feather, parquet  # noqa: E402

FLOATS = st.floats(width=32) | st.sampled_from(
    [0.0, -0.0, 1.0, 0.5, 1e-4, 9e-5, 1e16, 2.0**53, -(2.0**53), 2.0**53 - 1]
)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "int8": st.integers(0, 3),
    "int64": st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9),
    "uint64": st.integers(0, 2**64 - 1) | st.integers(0, 9),
    "float32": FLOATS,
    "float64": FLOATS | st.floats() | st.integers(-9, 9).map(float),
    "bool_": st.booleans(),
    "string": st.sampled_from(["1", "2.0", "007", "x", " "]),
}


def by_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_typed", lambda *_: False)


def target(path: Path, names: str | tuple[str, ...], most_cells: int | None = None, **said: Any) -> Array:
    data = DataSpec(path=str(path), target=names, features=("a",), **said)
    return training.read_training_data(data, PreprocessingSpec(), path.parent, most_cells=most_cells).y


def written(path: Path, **columns: Any) -> Path:
    rows = len(next(iter(columns.values())))
    table = arrow.table({"a": np.arange(float(rows)), **columns})
    if path.suffix == ".arrow":
        feather.write_feather(table, str(path))
    else:
        parquet.write_table(table, path, row_group_size=3)
    return path


def same(one: Array, other: Array) -> None:
    assert one.dtype == other.dtype
    if one.dtype.kind == "f":
        assert one.tobytes() == other.tobytes() or (np.isnan(one) == np.isnan(other)).all()
        one, other = (np.where(np.isnan(values), 0, values) for values in (one, other))
        assert one.tobytes() == other.tobytes(), "zeros have no sign"
    assert one.tolist() == other.tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_target_by_its_type_is_the_one_by_its_text(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(CELLS)))
    cells = data.draw(st.lists(CELLS[kind] | st.none(), min_size=1, max_size=8))
    missing = data.draw(st.sampled_from([("",), ("", "-1"), ("1e0",), ("nan", "x"), {"y": ("", "2")}]))
    path = written(tmp_path / "table.parquet", y=arrow.array(cells, getattr(arrow, kind)()))
    quick = target(path, "y", missing=missing)
    with pytest.MonkeyPatch.context() as patched:
        by_text(patched)
        same(quick, target(path, "y", missing=missing))


@pytest.mark.parametrize(("cells", "kind"), [
    ([2**53 + 1, 1], "i"),
    ([Decimal(2**63 + 5), Decimal(1)], "O"),
    ([1e16, 0.5], "O"),
    ([1e-5, 0.5], "O"),
    ([float("inf"), 1.0], "O"),
    ([None, None], "O"),
    ([Decimal("1.50"), Decimal("2.00")], "f"),
    ([True, False], "b"),
    ([1.0, -0.0], "i"),
    ([1.5, None], "f"),
])  # fmt: skip
def test_what_a_number_alone_does_not_tell_is_told_by_its_text(cells: list[Any], kind: str, tmp_path: Path) -> None:
    read = target(written(tmp_path / "table.parquet", y=arrow.array(cells)), "y")
    assert read.dtype.kind == kind and len(read) == 2


@pytest.mark.parametrize("least", [0.5, 1e-9])
def test_a_look_at_the_first_rows_sees_the_targets_of_those(
    least: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_CHUNK_ROWS", 4)
    path = written(tmp_path / "table.parquet", y=np.arange(20) + least)
    read = target(path, "y", 16)
    assert len(read) == 8
    by_text(monkeypatch)
    same(read, target(path, "y", 16))


def test_several_targets_are_values_however_they_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"y": np.array([-0.0, 1e-9, np.nan]), "z": np.array([2**53 + 1, 2**60 + 1, -3]), "w": ["1.5", "", "2"]}
    path = written(tmp_path / "table.parquet", **columns)
    read = target(path, ("y", "z", "w"))
    by_text(monkeypatch)
    same(read, target(path, ("y", "z", "w")))


def test_a_typed_target_is_not_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> Callable[..., None]:
        raise AssertionError("spelled")

    path = written(tmp_path / "table.parquet", y=np.array([0, 1, 1]))
    monkeypatch.setattr(training, "own_type", refuse)
    assert target(path, "y").tolist() == [0, 1, 1]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_no_value_is_told_in_the_columns_own_type(kind: str, tmp_path: Path) -> None:
    cells = np.array([-99.9, 1.5, np.nan], kind)
    path = written(tmp_path / "table.parquet", word=cells, y=cells)
    data = DataSpec(path=str(path), target="y", missing=("", "-99.9", "1e300", "0"))
    raw = training.read_training_data(data, PreprocessingSpec(categorical=("word",)), tmp_path)
    assert isinstance(raw.x, dict)
    assert raw.x["word"].tolist() == ["", "1.5", ""] and np.isnan(raw.x["a"]).tolist() == [True, False, False]
    assert np.isnan(raw.y).tolist() == [True, False, True]
    numbers = DataSpec(path=str(path), target="a", features=("y",), missing={"y": ("", "-99.9")})
    read = training.read_training_data(numbers, PreprocessingSpec(), tmp_path).x
    assert isinstance(read, dict) and np.isnan(read["y"]).tolist() == [True, False, True]


def extended(kind: Any, cells: list[Any]) -> Any:
    return arrow.ExtensionArray.from_storage(kind, arrow.array(cells, kind.storage_type))


@pytest.mark.parametrize(("make", "told"), [
    (lambda: extended(arrow.uuid(), [bytes(16), bytes(15) + b"\x01"]), [str(UUID(int=0)), str(UUID(int=1))]),
    (lambda: extended(arrow.json_(arrow.string()), ['{"a":1}', "2"]), ['{"a":1}', "2"]),
    (lambda: extended(arrow.bool8(), [1, 0]), ["True", "False"]),
    (lambda: arrow.array([Decimal("1.50"), Decimal("2.00")], arrow.decimal32(5, 2)), ["1.5", "2"]),
])  # fmt: skip
def test_types_that_arrow_has_no_dictionary_of_are_words_all_the_same(
    make: Callable[[], Any], told: list[str], tmp_path: Path
) -> None:
    try:
        column = make()
    except AttributeError:
        pytest.skip("this pyarrow has no such type")
    path = written(tmp_path / "table.parquet", word=column, y=column)
    data = DataSpec(path=str(path), target="y")
    raw = training.read_training_data(data, PreprocessingSpec(categorical=("word",)), tmp_path)
    assert isinstance(raw.x, dict) and raw.x["word"].tolist() == told
    assert [name_of(value) for value in raw.y.tolist()] == told


@pytest.mark.parametrize("kind", [arrow.date32(), arrow.timestamp("s"), arrow.duration("s")])
def test_dates_beyond_those_of_python_are_refused_with_their_column(kind: Any, tmp_path: Path) -> None:
    numbers = arrow.array([0, 2 ** (kind.bit_width - 10)], f"int{kind.bit_width}")
    path = written(tmp_path / "table.arrow", word=numbers.cast(kind), y=[0, 1])
    data = DataSpec(path=str(path), target="y")
    with pytest.raises(InvalidInput, match=r"data\.path: table\.arrow: column 'word' cannot be read: .*leave it out"):
        training.read_training_data(data, PreprocessingSpec(categorical=("word",)), tmp_path)
    with pytest.raises(InvalidInput, match="column 'word' cannot be read"):
        list(open_table(path).tiles(None, 8, Wanted(kept=("word",))))
