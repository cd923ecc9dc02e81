"""Numbers found in many cells at once are those that `float` gives, to the last bit, or are left to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singlepoint.worker.data.preprocessing.decimals import PADDING, decimals

Parsed = tuple[list[bytes], list[bool]]


def parsed(cells: list[str]) -> Parsed:
    """The bytes of each number, and which cells were left."""
    text, starts = b" " * PADDING, []
    for cell in cells:
        starts.append(len(text))
        text += cell.encode() + b","
    first = np.array(starts)
    last = first + [len(cell) for cell in cells]
    values, left = decimals(np.frombuffer(text + b" " * PADDING, np.uint8), first, last, ord("."))
    return [value.tobytes() for value in values], left.tolist()


floats = st.floats(allow_nan=False, allow_infinity=False).map(repr)
fixed = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=9).map(str)
digits = st.from_regex(r"-?[0-9]{0,26}(\.[0-9]{0,26})?", fullmatch=True)
anything = st.text("0123456789.-+e, x", max_size=30)


@given(st.lists(floats | fixed | digits | anything, min_size=1))
def test_a_number_is_the_one_that_float_gives_or_is_left(cells: list[str]) -> None:
    for cell, value, left in zip(cells, *parsed(cells), strict=True):
        if not left:
            assert value == np.float64(float(cell)).tobytes(), cell


@pytest.mark.parametrize("cell", ["0", "-0", "12", "-12.5", ".5", "5.", "0.1", "123456789.25", "-0.000001", "9" * 15])
def test_what_is_like_any_number_of_a_table_is_not_left(cell: str) -> None:
    assert parsed([cell]) == ([np.float64(float(cell)).tobytes()], [False])


def test_a_mark_of_the_next_cell_is_not_taken_for_ones_own() -> None:
    assert parsed(["5", "1.5", "-7", ".5", "0", "2.25"])[1] == [False] * 6


NOT_PLAIN = ["", "-", ".", "-.", "1e5", "1_0", "+1", " 1", "1 ", "1.2.3", "--1", "1-", "\x001", "1" * 25]


@pytest.mark.parametrize("cell", NOT_PLAIN)
def test_what_is_no_plain_number_is_left(cell: str) -> None:
    assert parsed(["1.5", cell, "2"])[1] == [False, True, False]


def test_whole_numbers_are_read_up_to_the_largest_of_64_bits() -> None:
    cells = [str(2**64 - 6 * 10**4), "99999999999999999999", "0" * 5 + "1" * 19, "12345678901234567890123", "0.5"]
    numbers, left = parsed(cells)
    assert left == [False, True, False, True, False]
    assert [numbers[place] for place in (0, 2, 4)] == [np.float64(float(cells[place])).tobytes() for place in (0, 2, 4)]


def test_marks_after_any_number_of_digits_are_read_side_by_side() -> None:
    cells = ["1" * n + "." + "7" * (18 - n) for n in range(19)]
    numbers, left = parsed(cells)
    assert sum(left) <= 1  # one may lie just between two float64
    assert [x for x, no in zip(numbers, left, strict=True) if not no] == [
        np.float64(float(cell)).tobytes() for cell, no in zip(cells, left, strict=True) if not no
    ]


def test_of_many_numbers_only_few_are_left() -> None:
    draw = np.random.default_rng(0)
    assert sum(parsed([repr(float(value)) for value in draw.normal(size=5000)])[1]) < 10
