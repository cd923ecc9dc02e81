"""CSV files: UTF-8, a header or none, quotes as in RFC 4180, plain or gzip. Streamed; any row can be the first.

A cursor holds the byte at which a row begins, so going on in a plain file reads nothing before it (a gzip file
must be unpacked up to there again). Cells are kept as text or parsed as numbers by column; which words mean "no
value" is the caller's to say.
"""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from jobs.errors import InvalidInput, Problem
from worker.nn.preprocessing.rows import Array, BadRow

from .tile import Cursor, Tile, unreadable

Columns = Sequence[Sequence[str]]
_BOM = b"\xef\xbb\xbf"
_CATEGORICAL_HINT = "list the column in preprocessing.categorical, or in data.ignore"


class CsvFile:
    """A CSV file and the names of its columns: those of its header, or "0", "1", … without one."""

    def __init__(self, path: Path, *, header: bool = True) -> None:
        self.path, self.header = path, header
        self.names, self.first_offset = self._names()

    def tiles(
        self,
        cursor: Cursor | None,
        tile_rows: int,
        *,
        numbers: Sequence[str] = (),
        words: Sequence[str] = (),
        kept: Sequence[str] = (),
        missing: Iterable[str] = (),
    ) -> Iterator[Tile]:
        """Tiles whose `raw` has `numbers` as float64 (missing: NaN) and `words` as stripped text (missing: "").

        Raises InvalidInput with one problem for each column that has a cell that is no number, and for a row with
        another number of cells than the header.
        """
        place = {name: i for i, name in enumerate(self.names)}
        parse = _Parser(missing)
        at = cursor or {"offset": self.first_offset, "row": 0}
        for first_row, columns, offset in self._records(at, tile_rows):
            raw = parse.columns({name: columns[place[name]] for name in numbers}, first_row)
            raw.update((name, parse.words(columns[place[name]])) for name in words)
            rows = len(columns[0])
            yield Tile(
                raw=raw,
                rows=rows,
                first_row=first_row,
                cursor={"offset": offset, "row": first_row + rows},
                kept={name: columns[place[name]] for name in kept},
            )

    def _records(self, at: Cursor, tile_rows: int) -> Iterator[tuple[int, Columns, int]]:
        """(first row, cells by column, offset after) of each tile."""
        row, width = at["row"], len(self.names)
        with self._open() as file:
            file.seek(at["offset"])
            lines = _Lines(file, at["offset"])
            reader = csv.reader(lines, strict=True, delimiter=self._delimiter)
            while True:
                try:
                    records = list(islice(filter(None, reader), tile_rows))
                except _TROUBLE as error:
                    raise unreadable(self.path, f"after row {row}: {_reason(error)}") from None
                if not records:
                    return
                if set(map(len, records)) != {width}:
                    raise self._ragged(records, row)
                yield row, list(zip(*records, strict=True)), lines.offset
                row += len(records)

    def _ragged(self, records: list[list[str]], row: int) -> InvalidInput:
        i = next(i for i, record in enumerate(records) if len(record) != len(self.names))
        found = f"row {row + i + 1} has {len(records[i])} cells, the {'header' if self.header else 'first row'} has"
        return unreadable(self.path, f"{found} {len(self.names)}", "quote cells that contain a comma")

    def _names(self) -> tuple[tuple[str, ...], int]:
        with self._open() as file:
            try:
                start = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
                file.seek(start)
                lines = _Lines(file, start)
                first = next(filter(None, csv.reader(lines, strict=True, delimiter=self._delimiter)), None)
            except _TROUBLE as error:
                raise unreadable(self.path, f"cannot be read as CSV: {_reason(error)}") from None
        if first is None:
            raise unreadable(self.path, "is empty", "give a file with a header and at least one row")
        if not self.header:
            return tuple(map(str, range(len(first)))), start
        names = tuple(name.strip() for name in first)
        twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
        if twice:
            raise unreadable(self.path, f"two columns are named '{min(twice)}'", "rename one; or is header = false?")
        return names, lines.offset

    @property
    def _delimiter(self) -> str:
        return "\t" if ".tsv" in self.path.suffixes else ","

    def _open(self) -> IO[bytes]:
        return gzip.open(self.path, "rb") if self.path.suffix == ".gz" else self.path.open("rb")  # type: ignore[return-value]


_TROUBLE = (csv.Error, UnicodeDecodeError, EOFError, OSError, zlib.error)


def _reason(error: Exception) -> str:
    return "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


class _Lines:
    """The lines of a file as text, and the offset after the last one handed out.

    The csv reader asks for one line at a time until its record is complete, so after each record the offset is
    exactly where the next one begins, also when a quoted cell runs over several lines.
    """

    def __init__(self, file: IO[bytes], offset: int) -> None:
        self._file, self.offset = file, offset

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.offset += len(line)
        return line.decode("utf-8")


class _Parser:
    """Cells to numbers and words, under one list of words that mean "no value"."""

    def __init__(self, missing: Iterable[str]) -> None:
        self.missing = frozenset(missing)
        # A number that stands for "no value" (-999) must not be parsed as one.
        self.plain = not any(_is_number(word) for word in self.missing)
        self._seen: dict[str, str] = {}

    def columns(self, cells: dict[str, Sequence[str]], first_row: int) -> dict[str, Array]:
        parsed: dict[str, Array] = {}
        problems: list[Problem] = []
        for name, column in cells.items():
            try:
                parsed[name] = self.numbers(column)
            except ValueError:
                problems.append(self._not_a_number(name, column, first_row))
        if problems:
            raise InvalidInput(problems)
        return parsed

    def numbers(self, cells: Sequence[str]) -> npt.NDArray[np.float64]:
        distinct = set(cells)
        if self.plain and len(distinct) * 4 > len(cells) and not distinct & self.missing:
            return np.fromiter(map(float, cells), np.float64, len(cells))
        # Few different cells: each is parsed once.
        values = {cell: math.nan if cell.strip() in self.missing else float(cell) for cell in distinct}
        return np.fromiter(map(values.__getitem__, cells), np.float64, len(cells))

    def words(self, cells: Sequence[str]) -> Array:
        """Stripped text; equal words are one object, so a column of categories costs 8 bytes a cell."""
        seen = self._seen
        for cell in set(cells) - seen.keys():
            word = cell.strip()
            seen[cell] = "" if word in self.missing else word
        column = np.empty(len(cells), object)
        column[:] = [seen[cell] for cell in cells]
        if len(seen) > 100_000:  # free text rather than categories: nothing is gained by remembering it
            seen.clear()
        return column

    def _not_a_number(self, name: str, cells: Sequence[str], first_row: int) -> Problem:
        row = next(i for i, cell in enumerate(cells) if cell.strip() not in self.missing and not _is_number(cell))
        return BadRow(first_row + row, name, "is not a number", _CATEGORICAL_HINT, cells[row]).problems[0]


def parse_numbers(cells: Sequence[str], name: str, missing: Iterable[str] = ("",)) -> npt.NDArray[np.float64]:
    """A column of text as numbers; missing ones are NaN. Raises InvalidInput naming the row and the cell."""
    return _Parser(missing).columns({name: cells}, 0)[name]


def _is_number(word: str) -> bool:
    """Whether it is a number other than NaN, which is "no value" anyway."""
    try:
        return not math.isnan(float(word))
    except ValueError:
        return False
