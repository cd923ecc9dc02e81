"""Tables of pandas, polars and Arrow are one table, by the names their columns carry."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.data.frames import is_table, named_columns
from singlepoint.worker.data.preprocessing.identity import names_of

CELLS: dict[str, list[Any]] = {
    "n": [1, 2, None],
    "x": [0.5, None, -1.0],
    "b": [True, False, None],
    "w": ["red", None, " blue "],
}


def of_pandas() -> Any:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(CELLS)
    return frame.astype({"n": "Int64", "b": "boolean", "w": "category"})


def of_polars() -> Any:
    polars = pytest.importorskip("polars")
    return polars.DataFrame(CELLS).with_columns(polars.col("w").cast(polars.Categorical))


def of_arrow() -> Any:
    return pytest.importorskip("pyarrow").table(CELLS)


@pytest.mark.parametrize("make", [of_pandas, of_polars, of_arrow, lambda: CELLS])
def test_every_library_gives_the_same_columns(make: Callable[[], Any]) -> None:
    table = make()
    assert is_table(table)
    columns = named_columns(table)
    assert list(columns) == ["n", "x", "b", "w"]
    np.testing.assert_equal(columns["n"], [1.0, 2.0, np.nan])
    np.testing.assert_equal(columns["x"], [0.5, np.nan, -1.0])
    np.testing.assert_equal(columns["b"], [1.0, 0.0, np.nan])
    assert columns["w"].tolist() == ["red", "", "blue"]


def test_codes_too_large_for_a_float_stay_apart_as_categories() -> None:
    codes = {"c": np.array([2**60, 2**60 + 1])}
    assert named_columns(codes, categorical=["c"])["c"].tolist() == [2**60, 2**60 + 1]


def test_dates_are_words_where_they_are_named_and_refused_elsewhere() -> None:
    dates = {"d": [datetime.date(2026, 1, 5), None]}
    assert named_columns(dates, categorical=["d"])["d"].tolist() == ["2026-01-05", ""]
    with pytest.raises(InvalidInput, match=r"x: column 'd' holds dates .name it as categorical"):
        named_columns(dates)


@pytest.mark.parametrize(("table", "message"), [
    ({"a": [1, 2], "b": [1]}, "unequal length"),
    ({"a": [[1], [2]]}, "column 'a' has shape|holds a list"),
    ({"a": [1 + 2j]}, "column 'a' holds a complex"),
    ({"a": np.arange(2).astype("M8[D]")}, "column 'a' holds dates"),
])  # fmt: skip
def test_what_has_no_place_in_a_table_is_refused_by_its_column(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        named_columns(table)


def test_two_columns_of_one_name_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InvalidInput, match="two columns are named 'a'"):
        named_columns(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_masked_values_are_missing_ones(kind: type) -> None:
    masked: Any = np.ma.array([-999, 2], kind, mask=[True, False])
    assert repr(named_columns({"a": masked})["a"].tolist()) == "[nan, 2.0]"
    assert names_of(named_columns({"a": masked}, categorical=["a"])["a"].tolist()) == ["", "2"]


@pytest.mark.parametrize("column", [{0: 1, 1: 2}, {1, 2}, 5, "xyz"])
def test_what_is_no_column_is_refused_by_its_type(column: Any) -> None:
    with pytest.raises(InvalidInput, match=f"column 'a' is of type {type(column).__name__}.*give a list"):
        named_columns({"a": column})


@pytest.mark.parametrize("library", ["mapping", "polars", "pandas", "pyarrow"])
def test_decimals_are_numbers_unless_they_are_named_as_categories(library: str) -> None:
    cells: Any = {"a": [Decimal("1.50"), None, Decimal("2")]}
    if library != "mapping":
        module = pytest.importorskip(library)
        cells = (module.table if library == "pyarrow" else module.DataFrame)(cells)
    assert repr(named_columns(cells)["a"].tolist()) == "[1.5, nan, 2.0]"
    assert names_of(named_columns(cells, categorical=["a"])["a"].tolist()) == ["1.5", "", "2"]


def test_a_whole_number_beyond_every_float_is_infinite_and_so_refused_by_its_row() -> None:
    assert named_columns({"a": [10**400, -(10**400)]})["a"].tolist() == [np.inf, -np.inf]


def test_a_table_that_is_yet_to_be_computed_is_refused() -> None:
    polars = pytest.importorskip("polars")
    with pytest.raises(InvalidInput, match=r"X: is a LazyFrame.*X.collect\(\)"):
        named_columns(polars.LazyFrame({"a": [1]}), argument="X")
