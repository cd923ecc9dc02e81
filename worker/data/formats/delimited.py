"""CSV files: UTF-8, a header or none, quotes as in RFC 4180, plain or gzip. Streamed; any row can be the first.

A cursor holds the byte at which a row begins, so going on in a plain file reads nothing before it (a gzip file
must be unpacked up to there again). Cells are kept as text or parsed as numbers by column; which words mean "no
value" is the caller's to say.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.data.preprocessing.numbers import is_number, number
from singlepoint.worker.data.preprocessing.numbers import numbers as parsed
from singlepoint.worker.data.preprocessing.rows import BadRow
from singlepoint.worker.nn.arrays import Array

from .tile import Cursor, Piece, Table, Tile, unreadable

Columns = Sequence[Sequence[str]]
_BOM = b"\xef\xbb\xbf"
_CATEGORICAL_HINT = "list the column in preprocessing.categorical, or in data.ignore"


class CsvFile(Table):
    """A CSV file and the names of its columns: those of its header, or "0", "1", … without one."""

    def __init__(self, path: Path, *, header: bool = True) -> None:
        self.path, self.header = path, header
        self.names, self.first_offset = self._names()

    def pieces(self, cursor: Cursor | None, tile_rows: int, columns: Sequence[str] = ()) -> Iterator[Piece]:
        """Runs of `tile_rows` records, unparsed wherever a line is a record. columns: all are read anyway."""
        at = cursor or {"offset": self.first_offset, "row": 0}
        row, offset = at["row"], at["offset"]
        with self._open() as file:
            file.seek(offset)
            while True:
                try:
                    content, rows, records = self._next_records(file, tile_rows)
                except _TROUBLE as error:
                    raise self._trouble(row, error) from None
                if not rows:
                    return
                offset += len(content)
                yield Piece(row, rows, {"offset": offset, "row": row + rows}, content, records)
                row += rows

    def parser(
        self,
        *,
        numbers: Sequence[str] = (),
        words: Sequence[str] = (),
        kept: Sequence[str] = (),
        missing: Iterable[str] = (),
    ) -> Callable[[Piece], Tile]:
        """See `Table`.

        Raises InvalidInput with one problem for each column that has a cell that is no number, and for a row with
        another number of cells than the header.
        """
        place = {name: i for i, name in enumerate(self.names)}
        cells = _Parser(missing)

        def parse(piece: Piece) -> Tile:
            columns = self._columns(piece)
            raw = cells.columns({name: columns[place[name]] for name in numbers}, piece.first_row)
            raw.update((name, cells.words(columns[place[name]])) for name in words)
            return Tile(raw, piece.rows, piece.first_row, piece.cursor, {name: columns[place[name]] for name in kept})

        return parse

    def _next_records(self, file: IO[bytes], most: int) -> tuple[bytes, int, list[list[str]] | None]:
        """The bytes of the next `most` records, how many there are, and their cells if they had to be parsed."""
        lines = list(islice(file, most))
        content = b"".join(lines)
        if _is_a_record_a_line(content):
            return content, len(lines), None
        more: list[bytes] = []  # a record takes a line at least, so all of `lines` belong to these, and perhaps more

        def further() -> Iterator[bytes]:
            for line in file:
                more.append(line)
                yield line

        records = list(islice(filter(None, self._reader(map(bytes.decode, chain(lines, further())))), most))
        return content + b"".join(more), len(records), records

    def _columns(self, piece: Piece) -> Columns:
        records = piece.parsed
        try:
            if records is None:
                records = list(filter(None, self._reader(map(bytes.decode, io.BytesIO(piece.content)))))
        except _TROUBLE as error:
            raise self._trouble(piece.first_row, error) from None
        if set(map(len, records)) != {len(self.names)}:
            raise self._ragged(records, piece.first_row)
        return list(zip(*records, strict=True))

    def _reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        return csv.reader(lines, strict=True, delimiter=self._delimiter)

    def _trouble(self, row: int, error: Exception) -> InvalidInput:
        return unreadable(self.path, f"after row {row}: {_reason(error)}")

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
                first = next(filter(None, self._reader(lines)), None)
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


def _is_a_record_a_line(content: bytes) -> bool:
    """Whether each line surely is one record: without a quote it cannot go on in the next, and none is blank."""
    blank = content.startswith((b"\n", b"\r")) or b"\n\n" in content or b"\n\r" in content
    return not blank and b'"' not in content


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
        # A number that stands for "no value" (-999) must not be parsed as one; NaN may be, it is no value anyway.
        self.plain = not any(is_number(word) and not math.isnan(number(word)) for word in self.missing)
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
            with suppress(ValueError):  # a missing one may have spaces around it
                return parsed(cells)
        # Few different cells: each is parsed once.
        values = {cell: math.nan if cell.strip() in self.missing else number(cell) for cell in distinct}
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
        row = next(i for i, cell in enumerate(cells) if cell.strip() not in self.missing and not is_number(cell))
        return BadRow(first_row + row, name, "is not a number", _CATEGORICAL_HINT, cells[row]).problems[0]


def parse_numbers(cells: Sequence[str], name: str, missing: Iterable[str] = ("",)) -> npt.NDArray[np.float64]:
    """A column of text as numbers; missing ones are NaN. Raises InvalidInput naming the row and the cell."""
    return _Parser(missing).columns({name: cells}, 0)[name]
