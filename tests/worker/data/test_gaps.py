"""What a model's `missing` names means "no value" in typed rows as it does in files."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from singlepoint.jobs.spec.data import PreprocessingSpec
from singlepoint.worker.data.gaps import Gaps
from singlepoint.worker.data.preprocessing import TablePreprocessor, fit_table

RAW = {"a": np.array([1.0, 2.0, 3.0]), "c": np.array(["x", "y", ""], object)}
MISSING = ("", "?", "-999", "-99.9")


def table(missing: tuple[str, ...] | dict[str, tuple[str, ...]] = MISSING) -> TablePreprocessor:
    return fit_table(RAW, np.arange(3), PreprocessingSpec(impute="mean", categorical=("c",)), missing=missing)


def without(raw: Mapping[str, np.ndarray]) -> dict[str, list[object]]:
    taken = Gaps.of(table()).taken_out(raw)
    assert isinstance(taken, Mapping)
    return {name: column.tolist() for name, column in taken.items()}


def test_numbers_and_words_that_mean_no_value_are_gaps() -> None:
    found = without({"a": np.array([-999.0, 5.0]), "c": np.array(["?", "-999.0"], object)})
    assert math.isnan(found["a"][0]) and found["a"][1] == 5.0  # type: ignore[arg-type]
    assert found["c"] == ["", ""]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_number_means_it_in_the_precision_in_which_it_came(kind: type) -> None:
    assert math.isnan(without({"a": np.array([-99.9], kind), "c": np.array(["x"], object)})["a"][0])  # type: ignore[arg-type]


def test_codes_stay_apart_beside_one_that_means_it() -> None:
    found = without({"a": np.zeros(3), "c": np.array([2**60, 2**60 + 1, -999])})
    assert found["c"] == [str(2**60), str(2**60 + 1), ""]


def test_an_array_goes_by_its_places() -> None:
    numbers = fit_table({"a": RAW["a"]}, np.arange(3), PreprocessingSpec(impute="mean"), missing=MISSING)
    taken = Gaps.of(numbers).taken_out(np.array([[-999], [4]]))
    assert isinstance(taken, Mapping) and np.isnan(taken["a"][0]) and taken["a"][1] == 4


def test_where_nothing_can_mean_it_the_rows_are_the_same_object() -> None:
    assert Gaps.of(table(())).taken_out(RAW) is RAW
    assert Gaps.of(table({"a": (), "c": ()})).taken_out(RAW) is RAW
