"""Cells found in many records at once: the same whether all records are alike or none is."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singlepoint.worker.data.formats import fields
from singlepoint.worker.data.formats.dialect import Dialect
from singlepoint.worker.data.preprocessing.decimals import PADDING

cells = st.sampled_from(["", "1", "-12", "1.5", ".5", "5.", "a.b.c", "w", ".", "..", "1e5", "a long word" * 3])
records = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1))


def found(rows: list[list[str]], line_end: str) -> list[str]:
    """The text of each cell."""
    content = "".join(",".join(row) + line_end for row in rows).encode()
    there = fields.find(content, len(rows), len(rows[0]), Dialect())
    assert there is not None
    places = [zip(block.starts.ravel().tolist(), block.ends.ravel().tolist(), strict=True) for block in there.blocks]
    return [there.text[start:end].decode() for start, end in chain(*places)]


@given(records, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_cells_are_where_they_stand(rows: list[list[str]], line_end: str, alike: bool) -> None:
    rows = [rows[0]] * len(rows) if alike else rows
    assert found(rows, line_end) == [cell for row in rows for cell in row]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=200), st.integers(0, 9))
def test_what_is_true_is_found_however_rare_it_is(gaps: list[int], rest: int) -> None:
    seen = np.zeros(sum(gaps) + rest, np.bool_)
    seen[np.cumsum(gaps) - 1] = True
    assert fields._true(seen).tolist() == (np.cumsum(gaps) - 1).tolist()


@pytest.mark.parametrize(
    "rows",
    ["1.5,2\n3,4.5\n", "1,2,3\n4\n", "1\n2,3\n", "1,2\n3,4,5\n6,7\n", "1.2\n3.4\n", "1,2\r\r\n3,4\r\r\n"],
)
def test_what_only_looks_alike_is_no_grid(rows: str) -> None:
    text = b" " * (PADDING - 1) + b"\n" + rows.encode() + b" " * PADDING
    block = fields._found(text, PADDING, len(text) - PADDING, 2, Dialect())
    assert (block is None) == (rows != "1.5,2\n3,4.5\n")
