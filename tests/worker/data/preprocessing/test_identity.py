"""When two cells are one value, whatever spelled them."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singlepoint.jobs.spec.data import PreprocessingSpec
from singlepoint.worker.data.preprocessing import TablePreprocessor, fit_table
from singlepoint.worker.data.preprocessing.identity import name_of, own_numbers, own_type, value_name


@pytest.mark.parametrize(("cells", "name"), [
    (("2", "2.0", " 2 ", "2.000", 2, 2.0, np.int64(2), np.float32(2)), "2"),
    (("0.5", "0.50", 0.5), "0.5"),
    (("0", "-0", "-0.0", 0, -0.0), "0"),
    (("True", "true", "TRUE", True, np.bool_(True)), "True"),
    (("", None, float("nan"), np.float32("nan")), ""),
    (("-3", "-3.0", -3), "-3"),
    (("0.1", "0.100000000000000000000", "0.10000000000000000555", "0.10000000000000000001", 0.1), "0.1"),
    (("1234567890123456.01", "1234567890123456.010"), "1234567890123456.01"),
])  # fmt: skip
def test_one_value_has_one_name_however_it_is_spelled(cells: tuple[object, ...], name: str) -> None:
    assert {name_of(cell) for cell in cells} == {name}


@pytest.mark.parametrize(
    "code", ["007", "+49", "1e3", "1_000", "0x10", "1.", ".5", "2.0.1", "TrUe", "１２", "-", "a 2"]
)
def test_what_is_no_plain_decimal_number_goes_by_its_text(code: str) -> None:
    assert value_name(f" {code} ") == code


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18))
def test_a_number_and_its_text_are_one_value(number: float | int) -> None:
    assert name_of(number) == name_of(repr(number))
    assert value_name(name_of(number)) == name_of(number)


@pytest.mark.parametrize(("words", "kind", "values"), [
    (["1", "2.0", "1"], "i", [1, 2, 1]),
    (["1.5", "2"], "f", [1.5, 2.0]),
    (["true", "False"], "b", [True, False]),
    (["007", "7"], "O", ["007", "7"]),
    (["1", "x"], "O", ["1", "x"]),
    (["1e3", "2"], "O", ["1e3", "2"]),
    (["1.0", "x"], "O", ["1", "x"]),
    (["9007199254740992", "9007199254740993.0"], "i", [2**53, 2**53 + 1]),
    (["-9223372036854775808", "1"], "i", [-(2**63), 1]),
    (["9223372036854775813", "1.0"], "O", ["9223372036854775813", "1"]),
    (["1234567890123456.01", "1234567890123456.020"], "O", ["1234567890123456.01", "1234567890123456.02"]),
    (["1234567890123456.25", "1"], "f", [1234567890123456.25, 1.0]),
    (["2.00000000000000000001", "2"], "O", ["2.00000000000000000001", "2"]),
    (["2.00000000000000000000", "1"], "i", [2, 1]),
])  # fmt: skip
def test_a_column_of_text_gets_the_type_that_all_of_it_has(words: list[str], kind: str, values: list[object]) -> None:
    column = own_type(words)
    assert (column.dtype.kind, column.tolist()) == (kind, values)
    assert math.isnan(own_type(["1", "", "2"])[1]) and own_type(["x", ""])[1] == ""


def test_a_run_of_empty_cells_is_looked_at_once() -> None:
    words = [str(i) for i in range(20_000)]
    before = time.process_time()
    column = own_type([*words, *[""] * 20_000])
    assert time.process_time() - before < 4  # each of them from every other took 18 s
    assert column[:20_000].tolist() == list(range(20_000)) and np.isnan(column[20_000:]).all()


SOME = st.sampled_from([0.0, -0.0, 0.5, 1e-4, 2.0**53 - 1, math.nan]) | st.integers(-9, 9).map(float)


@given(st.lists(SOME | st.floats(), min_size=1) | st.lists(SOME, min_size=1))
def test_numbers_that_need_no_spelling_are_what_their_names_come_to(values: list[float]) -> None:
    found, spelled = own_numbers(np.array(values)), own_type([name_of(value) for value in values])
    assert found is not None or not all(value in (0, 0.5, 1) for value in values)
    if found is not None:
        assert found.dtype == spelled.dtype
        assert found.tobytes() == np.where(np.isnan(spelled), found, spelled).astype(found.dtype).tobytes()


def test_categories_meet_by_value_in_a_new_model_and_by_spelling_in_one_of_the_first_format() -> None:
    trained = {"c": np.array(["1", "2", "2.0"], object)}
    fitted = fit_table(trained, np.arange(3), PreprocessingSpec(categorical=("c",)))
    assert fitted.columns[0].values == ("1", "2")  # type: ignore[union-attr]
    asked = {"c": np.array(["2", "2.0", "02"], object)}
    for rows in (fitted.transform(asked), fitted.transform({"c": np.array([2.0, 2.0, 3.0])})):
        assert rows[0].tolist() == rows[1].tolist() != rows[2].tolist()
    document = {"columns": [{"type": "categorical", "name": "c", "values": ["2", "2.0"]}]}
    first = TablePreprocessor.model_validate(document)
    assert first.transform(asked).argmax(axis=1).tolist() == [0, 1, 2]
