"""A file to be scored must have what the model needs; everything that differs is said before a row is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput, NotFound, NotPermitted
from singlepoint.jobs.spec.data import DialectFields, Missing, PreprocessingSpec
from singlepoint.worker.data.formats import open_rows
from singlepoint.worker.data.preprocessing import Preprocessor, fit_array, fit_table, fit_text

TABLE = fit_table(
    {"age": np.arange(3.0), "job": np.array(["a", "b", "a"], object)},
    np.arange(3),
    PreprocessingSpec(categorical=("job",)),
    missing=("?",),
)
GRID = fit_array(np.zeros((3, 4, 4)), np.arange(3), PreprocessingSpec(), image=True)
TEXT = fit_text({"review": np.array(["good good", "good"], object)}, np.arange(2), PreprocessingSpec(), column="review")
MATRIX = fit_table(np.zeros((3, 2)), np.arange(3), PreprocessingSpec(), header=False)


def a_csv(folder: Path, content: str) -> Path:
    path = folder / "in.csv"
    path.write_text(content)
    return path


def an_array(folder: Path, values: np.ndarray) -> Path:
    np.save(folder / "in.npy", values)
    return folder / "in.npy"


def test_the_models_columns_are_found_by_name_in_any_order_among_others(tmp_path: Path) -> None:
    path = a_csv(tmp_path, "id,job,note,age\n7,a,x,1\n8,?,y,2\n")
    (tile,) = open_rows(path, TABLE).tiles(None, 10)
    assert TABLE.transform(tile.raw).shape == (2, 3)
    assert list(tile.kept) == ["id", "job", "note", "age"]
    (tile,) = open_rows(path, TABLE, keep=["id"]).tiles(None, 10)
    assert tile.kept == {"id": ("7", "8")}


def test_text_is_read_from_its_column(tmp_path: Path) -> None:
    (tile,) = open_rows(a_csv(tmp_path, 'x,review\n1,"good, very good"\n'), TEXT, keep=[]).tiles(None, 10)
    assert TEXT.transform(tile.raw)[:].tolist() == [[1.0]]


def test_a_headerless_file_fits_a_model_of_an_array(tmp_path: Path) -> None:
    (tile,) = open_rows(a_csv(tmp_path, "1,2\n3,4\n"), MATRIX).tiles(None, 10)
    assert MATRIX.transform(tile.raw).shape == (2, 2)


@pytest.mark.parametrize("missing", [("", "-999"), {"1": ("-999",)}])
def test_a_number_that_meant_no_value_in_the_models_table_does_so_in_an_array(tmp_path: Path, missing: Missing) -> None:
    model = fit_table(np.eye(2), np.arange(2), PreprocessingSpec(impute="mean"), header=False, missing=missing)
    for values in (np.array([[1, -999], [3, 4]]), np.array([[1.0, -999.0], [3.0, 4.0]], np.float32)):
        path = an_array(tmp_path, values)
        again = tmp_path / "again.npy"
        np.save(again, values)
        for tile in (*open_rows(path, model).tiles(None, 10), *open_rows([path, again], model).tiles(None, 10)):
            assert np.array_equal(tile.raw, [[1, np.nan], [3, 4]], equal_nan=True)


@pytest.mark.parametrize(("content", "model", "keep", "messages"), [
    ("Age,work\n1,a\n", TABLE, None, ["no column 'age'", "no column 'job'", "it has: Age, work"]),
    ("age,job\n1,a\n", TABLE, ["jib"], ["pass_through: has no column 'jib'", "did you mean 'job'"]),
    ("1\n2\n", MATRIX, None, ["no column '1'"]),
    ("a,b\n1,2\n", GRID, None, ["is a table, but the model takes arrays (n, 4, 4)"]),
])  # fmt: skip
def test_missing_columns_are_all_named(
    tmp_path: Path, content: str, model: Preprocessor, keep: list[str] | None, messages: list[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_rows(a_csv(tmp_path, content), model, keep)
    assert all(message in str(caught.value) for message in messages), str(caught.value)


@pytest.mark.parametrize(("values", "model", "takes"), [
    (np.zeros((5, 4, 5)), GRID, r"numbers of shape \(n, 4, 4\)"),
    (np.zeros((5, 3)), MATRIX, r"numbers of shape \(n, 2\)"),
    (np.zeros((5, 2)), TEXT, "text of shape"),
    (np.array(["a", "b"]), MATRIX, r"numbers of shape \(n, 2\)"),
])  # fmt: skip
def test_an_array_of_another_shape_or_kind_is_refused(
    tmp_path: Path, values: np.ndarray, model: Preprocessor, takes: str
) -> None:
    with pytest.raises(InvalidInput, match=takes):
        open_rows(an_array(tmp_path, values), model)


def test_a_missing_file_and_an_unknown_format_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        open_rows(tmp_path / "none.csv", TABLE)
    (tmp_path / "in.xls").write_bytes(b"")
    with pytest.raises(InvalidInput, match="cannot tell the format"):
        open_rows(tmp_path / "in.xls", TABLE)


def test_a_file_that_may_not_be_read_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.csv").write_text("age,job\n1,a\n")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(NotPermitted, match=r"input: .*in.csv may not be read"):
        open_rows(tmp_path / "in.csv", TABLE)


def test_parquet_tiles_do_not_end_with_their_row_groups(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"age": np.arange(50), "job": ["a", None] * 25, "id": list(map(str, range(50)))})
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=7)
    source = open_rows(tmp_path / "in.parquet", TABLE, keep=["id"])
    tiles = list(source.tiles(None, 16))
    assert [tile.rows for tile in tiles] == [16, 16, 16, 2]
    for i, tile in enumerate(tiles):
        rest = [row for again in source.tiles(tile.cursor, 16) for row in again.kept["id"]]
        assert rest == [row for later in tiles[i + 1 :] for row in later.kept["id"]]


def test_many_missing_columns_are_one_problem_not_one_each(tmp_path: Path) -> None:
    wide = fit_table({f"c{n}": np.arange(3.0) for n in range(20)}, np.arange(3), PreprocessingSpec())
    with pytest.raises(InvalidInput, match="lacks 19 of the 20 columns") as caught:
        open_rows(a_csv(tmp_path, "c0,other\n1,2\n"), wide)
    assert len(caught.value.problems) == 1 and "it has: c0, other" in str(caught.value)


EUROPEAN = {"decimal": ",", "thousands": "."}


def test_where_no_comma_tells_numbers_are_written_as_in_the_training(tmp_path: Path) -> None:
    path = a_csv(tmp_path, "age;job\n1.010;a\n1.020;b\n")
    with pytest.raises(InvalidInput, match=r"decimal: '1\.010' may be thousands.*thousands = '\.' or decimal = '\.'"):
        open_rows(path, TABLE, learned=EUROPEAN)
    for said, value in (({"thousands": "."}, 1010.0), ({"decimal": "."}, 1.01), ({"thousands": ""}, 1.01)):
        (tile,) = open_rows(path, TABLE, said=DialectFields.model_validate(said), learned=EUROPEAN).tiles(None, 10)
        assert tile.raw["age"][0] == value  # type: ignore[call-overload]
    a_csv(tmp_path, "age;job\n" + "1;a\n" * 1000 + "1.010,5;b\n")
    *_, tile = open_rows(path, TABLE, learned=EUROPEAN).tiles(None, 1000)
    assert tile.raw["age"].tolist() == [1010.5]  # type: ignore[call-overload]


def test_marks_that_stand_in_the_truth_alone_are_found(tmp_path: Path) -> None:
    path = a_csv(tmp_path, "age;job;y\n1;a;900,0\n2;b;1.699,5\n")
    (tile,) = open_rows(path, TABLE, beside=["y"]).tiles(None, 10)
    assert (tile.decimal, tile.thousands) == (",", ".")


@pytest.mark.parametrize("content", ["age;job\n1.5;a\n1.010;b\n", "age,job\n1.5,a\n"])
def test_a_point_that_is_no_mark_of_thousands_is_the_decimal_one(tmp_path: Path, content: str) -> None:
    (tile,) = open_rows(a_csv(tmp_path, content), TABLE, learned=EUROPEAN).tiles(None, 10)
    assert tile.raw["age"][0] == 1.5  # type: ignore[call-overload]


def test_a_column_that_the_model_does_not_take_does_not_turn_the_decimal_mark(tmp_path: Path) -> None:
    path = a_csv(tmp_path, "note;job;age\n1.5;1,2;3\n2.5;1,3;4\n")
    (tile,) = open_rows(path, TABLE).tiles(None, 10)
    assert list(tile.raw["job"]) == ["1.2", "1.3"]  # type: ignore[call-overload]
