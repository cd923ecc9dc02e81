"""Pieces of a file may be parsed anywhere: they say all it takes. Of a CSV they are the records that csv finds."""

from __future__ import annotations

import csv
import gzip
import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DialectFields
from singlepoint.worker.data.formats import Piece, open_array, streams
from singlepoint.worker.data.formats.delimited import CsvFile
from singlepoint.worker.data.formats.tile import Tile, Wanted

Read = tuple[list[tuple[int, list[tuple[str, ...]]]], str]
"""(first row, rows) of each tile, and the error that ended it."""

SNIPPETS = [
    "x,y\n",
    "1,2\r\n",
    '"a ""b"", c",d\n',
    '"over\nlines",z\n',
    "\n",
    "\r\n",
    "\r",
    '"',
    ",",
    "é",
    "x",
    'i"j,k\n',
]


@pytest.fixture(autouse=True)
def a_small_file_is_read_in_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_BLOCK_BYTES", 16)
    monkeypatch.setattr(streams, "_RUN_BYTES", 8)


def crossed(piece: Piece) -> Piece:
    """The piece, as it arrives in another process."""
    return replace(piece, content=bytes(piece.content), parsed=None)


def by_csv(content: bytes, tile_rows: int) -> Read:
    """Tile after tile read by the csv module alone."""
    reader = csv.reader(map(bytes.decode, io.BytesIO(content)), strict=True)
    found: list[tuple[int, list[tuple[str, ...]]]] = []
    row = 0
    try:
        next(reader)
        while records := list(islice(filter(None, reader), tile_rows)):
            records = [record if any(record[2:]) else record[:2] for record in records]  # a separator after the last
            if any(len(record) != 2 for record in records):
                return found, "cells"
            found.append((row, [tuple(record) for record in records]))
            row += len(records)
    except csv.Error as error:
        return found, str(error)
    return found, ""


def by_pieces(path: Path, tile_rows: int, on_the_way: Callable[[Piece], Piece]) -> Read:
    file = CsvFile(path, said=DialectFields(separator=",", decimal=".", comment="", encoding="utf-8"))
    parse = file.parser(Wanted(kept=["a", "b"]))
    found = []
    try:
        for piece in file.pieces(None, tile_rows):
            tile = parse(on_the_way(piece)).whole()
            found.append((tile.first_row, list(zip(tile.kept["a"], tile.kept["b"], strict=True))))
    except InvalidInput as error:
        return found, str(error)
    return found, ""


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(snippets=st.lists(st.sampled_from(SNIPPETS), max_size=20), tile_rows=st.integers(1, 5))
def test_records_are_those_the_csv_module_finds(tmp_path: Path, snippets: list[str], tile_rows: int) -> None:
    content = ("a,b\n" + "".join(snippets)).encode()
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    expected, trouble = by_csv(content, tile_rows)
    for on_the_way in (crossed, lambda piece: piece):
        found, message = by_pieces(path, tile_rows, on_the_way)
        assert found == expected
        assert trouble in message and bool(trouble) == bool(message)


def test_a_quote_after_inches_does_not_pair_with_one_that_begins_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'a,b\n5","over\nlines"\n6",7"\n')
    for on_the_way in (crossed, lambda piece: piece):
        assert by_pieces(path, 5, on_the_way) == ([(0, [('5"', "over\nlines"), ('6"', '7"')])], "")


def test_bytes_that_are_no_text_are_told_with_the_tile_they_are_in(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for line in (b"\xff,4\n", b'"\xff",4\n'):
        path.write_bytes(b"a,b\n1,2\n" + line)
        found, message = by_pieces(path, 1, crossed)
        assert len(found) == 1 and "after row 1: not UTF-8 text" in message


def an_idx(path: Path, values: np.ndarray) -> None:
    path.write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, *values.shape) + values.tobytes()))


@pytest.mark.parametrize(("name", "write"), [
    ("x.npy", np.save),
    ("x.npz", lambda path, x: np.savez_compressed(path, x=x)),
    ("x-idx3-ubyte.gz", an_idx),
])  # fmt: skip
def test_arrays_are_the_same_from_pieces_that_crossed_over(
    tmp_path: Path, name: str, write: Callable[[Path, np.ndarray], None]
) -> None:
    values = np.arange(10 * 3 * 2, dtype=np.uint8).reshape(10, 3, 2)
    write(tmp_path / name, values)
    file = open_array(tmp_path / name)
    tiles = [file.parse(crossed(piece)) for piece in file.pieces(None, 4)]
    assert [tile.first_row for tile in tiles] == [0, 4, 8]
    np.testing.assert_array_equal(np.concatenate([np.asarray(tile.raw) for tile in tiles]), values)


def test_a_parquet_file_is_the_same_from_pieces_that_crossed_over(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    from singlepoint.worker.data.formats.arrow import ParquetFile

    path = tmp_path / "t.parquet"
    columns = {"n": [1.5, None, *range(2, 23)], "w": [f"word {i}" for i in range(22)] + [None]}
    parquet.write_table(arrow.table(columns), path, row_group_size=7)
    file = ParquetFile(path)

    def told(tiles: Iterator[Tile]) -> list[Any]:
        return [(t.first_row, t.rows, t.cursor, str(t.raw), dict(t.kept)) for t in tiles]

    parse = file.parser(Wanted(numbers=["n"], words=["w"], kept=["w", "n"]))
    for cursor in (None, {"group": 1, "skip": 1, "row": 8}):
        there = map(parse, map(crossed, file.pieces(cursor, 4, ["n", "w"])))
        assert told(there) == told(file.tiles(cursor, 4, Wanted(numbers=["n"], words=["w"], kept=["w", "n"])))


def test_a_blank_line_is_no_row_in_whichever_block_of_a_tile_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for before in range(12):
        path.write_text("a,b\n" + "1,2\n" * before + "\n" + "3,4\n" * 5)
        assert by_pieces(path, 64, crossed) == ([(0, [("1", "2")] * before + [("3", "4")] * 5)], "")
