"""What a path means: one file, several, a pattern (`parts/*.csv`), or a folder; and several tables or arrays as one.

A cursor of several files says in which of them it is (`file`), the rest of it is that file's own. Tiles end where a
file ends, so where a row stands in its tile does not depend on the files before it.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from singlepoint.jobs.errors import InvalidInput, NotFound, Problem
from singlepoint.worker.nn.arrays import Array

from .arrays import ArrayFile
from .cells import NoValue
from .tile import Cursor, Piece, Table, Tile, Wanted

Paths = str | tuple[str, ...]


def files_of(paths: Paths, base: Path, field: str) -> list[Path]:
    """Every file meant, each pattern and folder in the order of names. A folder of folders is left as it is: its
    parts are classes.

    Raises NotFound for what is not there; InvalidInput for an empty folder, or a file that is named twice.
    """
    found: list[Path] = []
    for word in (paths,) if isinstance(paths, str) else paths:
        found += _meant_by(word, base, field)
    twice = next((path for place, path in enumerate(found) if path in found[:place]), None) if len(found) > 1 else None
    if twice is not None:
        raise InvalidInput(Problem(field, f"names {twice.name} twice", "name each file once"))
    return found


def _meant_by(word: str, base: Path, field: str) -> list[Path]:
    path = base / word
    if path.is_dir():
        entries = sorted(one for one in path.iterdir() if not one.name.startswith((".", "_")))
        if any(one.is_dir() for one in entries):
            return [path]
        if not entries:
            raise InvalidInput(Problem(field, f"{path} is an empty folder", "name a file"))
        return entries
    if path.exists() or not glob.has_magic(word) or word.endswith(".npz]"):
        return [path]
    matching = [Path(one) for one in sorted(glob.glob(str(path))) if Path(one).is_file()]
    if not matching and not word.endswith("]"):
        raise NotFound(f"{field}: no file matches {word}", hint="paths in a spec are relative to the spec file")
    return matching or [path]


class Tables(Table):
    """Several tables with the same columns, in any order, read one after another."""

    def __init__(self, first: Table, others: Sequence[Table], field: str) -> None:
        self._tables = [first, *others]
        self.path, self.names, self.said, self.cells_at_once = first.path, first.names, first.said, first.cells_at_once
        rows = [table.rows for table in self._tables if table.rows is not None]
        self.rows = sum(rows) if len(rows) == len(self._tables) else None
        self.surely_numbers = frozenset.intersection(*(table.surely_numbers for table in self._tables))
        for table in self._tables[1:]:
            lacking, spare = set(self.names) - set(table.names), set(table.names) - set(self.names)
            if lacking or spare:
                what = f"lacks the column '{min(lacking)}'" if lacking else f"has a column '{min(spare)}' more"
                hint = "all files need the same columns, and the same separator"
                raise InvalidInput(Problem(field, f"{table.path.name} {what} than {self.path.name}", hint))

    def pieces(self, cursor: Cursor | None, tile_rows: int, columns: Sequence[str] = ()) -> Iterator[Piece]:
        """See `Table`; rows are counted in each file."""
        first = (cursor or {}).get("file", 0)
        inner = {key: value for key, value in (cursor or {}).items() if key != "file"} or None
        for place in range(first, len(self._tables)):
            for piece in self._tables[place].pieces(inner if place == first else None, tile_rows, columns):
                yield replace(piece, cursor={"file": place, **piece.cursor})

    def parser(self, wanted: Wanted) -> Callable[[Piece], Tile]:
        """See `Table`."""
        parser = cache(lambda place: self._tables[place].parser(wanted))

        def parse(piece: Piece) -> Tile:
            place = piece.cursor["file"]
            return replace(parser(place)(piece), file=self._tables[place].path.name)

        return parse


class Arrays:
    """Several arrays of one kind of rows, read one after another: the same questions as to `ArrayFile`."""

    columns: tuple[str, ...] = ()

    def __init__(self, arrays: Sequence[ArrayFile], field: str) -> None:
        first = arrays[0]
        for other in arrays[1:]:
            if (other.shape[1:], other.dtype.kind) != (first.shape[1:], first.dtype.kind):
                rows = f"rows of {other.dtype} {other.shape[1:]}, {first.path.name} of {first.dtype} {first.shape[1:]}"
                raise InvalidInput(Problem(field, f"{other.path.name} has {rows}", "all files need the same kind"))
        self._arrays, self._field = arrays, field
        self.path, self.name = first.path, first.name
        self.dtype = np.result_type(*(one.dtype for one in arrays))
        self.shape = (sum(one.shape[0] for one in arrays), *first.shape[1:])

    def as_column(self) -> Arrays:
        """See `ArrayFile`."""
        return Arrays([one.as_column() for one in self._arrays], self._field)

    def with_gaps(self, no_value: tuple[NoValue, ...]) -> Arrays:
        """See `ArrayFile`."""
        return Arrays([one.with_gaps(no_value) for one in self._arrays], self._field)

    def read(self, rows: int | None = None) -> Array:
        """All rows, or the first few."""
        left = self.shape[0] if rows is None else rows
        parts: list[Array] = []
        for one in self._arrays:
            parts.append(one.read(left))
            left -= len(parts[-1])
        return np.concatenate(parts)

    def pieces(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Piece]:
        """See `RowSource`; rows are counted in each file."""
        first = (cursor or {}).get("file", 0)
        for place in range(first, len(self._arrays)):
            inner = {"row": cursor["row"]} if cursor and place == first else None
            for piece in self._arrays[place].pieces(inner, tile_rows):
                yield replace(piece, cursor={"file": place, **piece.cursor})

    def parse(self, piece: Piece, /) -> Tile:
        """See `RowSource`."""
        one = self._arrays[piece.cursor["file"]]
        return replace(one.parse(piece), file=one.path.name)

    def tiles(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Tile]:
        """See `RowSource`."""
        return map(self.parse, self.pieces(cursor, tile_rows))
