"""Where the cells of a piece of CSV are, found in many of its bytes at once, and the numbers and words in them.

`find` looks at separators, line ends and quotes with a few passes over the bytes. It answers only where that is surely
what RFC 4180 says (a cell is quoted as a whole or not at all, no quote inside a quoted one); otherwise None, and the
caller has the csv module decide. Both give the same cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from singlepoint.worker.data.preprocessing.decimals import PADDING, Bytes, Flags, Places, decimals
from singlepoint.worker.nn.arrays import Array

from . import arrow_decimals
from .cells import ColumnParser
from .dialect import Dialect
from .tile import Reject

_BLOCK_BYTES = 1 << 18  # what is made of them stays in the processor's cache
_SPACE, _LINE_END, _RETURN = 32, 10, 13
_FRONT = b" " * (PADDING - 1) + b"\n"
_BACK = b" " * PADDING
_MOST_SPACES = 64
"""Spaces around a number that are passed over in all cells at once; more are for one cell at a time."""


@dataclass(frozen=True)
class Block:
    """The cells of some records. starts, ends: their places in `text`, (rows, columns).  marks: the places of their
    decimal marks, or their ends; None where they are points, which `arrow_decimals` can do without.
    """

    text: bytes
    starts: Places
    ends: Places
    marks: Places | None

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.starts)

    @property
    def buffer(self) -> Bytes:
        """The text as an array."""
        return np.frombuffer(self.text, np.uint8)

    def texts(self, column: int) -> list[str]:
        """One column's cells, as they stand there."""
        places = zip(self.starts[:, column].tolist(), self.ends[:, column].tolist(), strict=True)
        if self._ascii is None:
            return [self.text[start:end].decode() for start, end in places]
        text = self._ascii
        return [text[start:end] for start, end in places]

    @cached_property
    def _ascii(self) -> str | None:
        """The text, if each of its characters takes a byte."""
        return self.text.decode("ascii") if self.text.isascii() else None

    def lines(self) -> list[str]:
        """The records, as they stand there."""
        return self.text[PADDING:-PADDING].decode().replace("\r\n", "\n").split("\n")[:-1]

    def words(self, column: int, parser: ColumnParser) -> Array:
        """One column's cells as words."""
        return parser.words_at(self.text, self.starts[:, column].copy(), self.ends[:, column].copy())

    def numbers(
        self, columns: Sequence[int], parsers: Sequence[ColumnParser], first_row: int
    ) -> tuple[Array, list[Reject]]:
        """These columns' cells as float64 (rows, columns), NaN for "no value", and those that are neither.

        first_row: of the block, in the piece.
        """
        chosen = _run_of(columns)
        starts, ends = (one[:, chosen].ravel() for one in (self.starts, self.ends))
        if self.text.find(b" ", PADDING, -PADDING) >= 0:
            starts, ends = _without_spaces(self.buffer, starts, ends)
        values, left = self._parsed(starts, ends, chosen)
        rejects: list[Reject] = []
        for place in np.flatnonzero(left).tolist():
            row, column = divmod(place, len(columns))
            cell = self.text[starts[place] : ends[place]]
            found = parsers[column].number(cell)
            values[place] = np.nan if found is None else found
            if found is None:
                whole = self.text[self.starts[row, columns[column]] : self.ends[row, columns[column]]]
                rejects.append(parsers[column].reject(first_row + row, whole.decode()))
        return values.reshape(-1, len(columns)), rejects

    def _parsed(self, starts: Places, ends: Places, chosen: slice | Places) -> tuple[Array, Flags]:
        if self.marks is not None:
            marks = self.marks[:, chosen].ravel()
        elif (found := arrow_decimals.decimals(self.text, starts, ends)) is not None:
            return found
        else:
            marks = _points(self.buffer, starts, ends)
        return decimals(self.buffer, starts, ends, np.minimum(marks, ends))


@dataclass(frozen=True)
class Fields:
    """The cells of a piece, in blocks."""

    blocks: Sequence[Block]
    ragged: tuple[Reject, ...] = ()  # never any: see `find`

    def texts(self, column: int) -> list[str]:
        """One column's cells, as they stand there."""
        return [cell for block in self.blocks for cell in block.texts(column)]

    def lines(self, columns: int, dialect: Dialect) -> list[str] | None:
        """The records of so many cells as a CSV file has them, if that is what stands there: with commas between the
        cells only, and no quote needed."""
        quotes = {'"', dialect.quote} - {""}
        quoted = any(quote.encode() in block.text for quote in quotes for block in self.blocks)
        if quoted or dialect.separator != "," or self.blocks[0].starts.shape[1] != columns:
            return None
        return [line for block in self.blocks for line in block.lines()]

    def words(self, column: int, parser: ColumnParser) -> Array:
        """One column's cells as words."""
        return np.concatenate([block.words(column, parser) for block in self.blocks])

    def numbers(self, columns: Sequence[int], parsers: Sequence[ColumnParser]) -> tuple[list[Array], list[Reject]]:
        """These columns as float64, NaN for "no value", and the cells that are neither."""
        values = np.empty((len(columns), sum(block.rows for block in self.blocks)), np.float64)
        rejects: list[Reject] = []
        row = 0
        for block in self.blocks if columns else ():
            found, bad = block.numbers(columns, parsers, row)
            values[:, row : row + block.rows] = found.T
            row += block.rows
            rejects += bad
        return [parser.no_value.taken_out(column) for parser, column in zip(parsers, values, strict=True)], rejects


def find(content: bytes | memoryview, rows: int, columns: int, dialect: Dialect) -> Fields | None:
    """The cells of `rows` records of `columns` cells each, or None where these bytes are not surely that.

    Raises UnicodeDecodeError for bytes that are not UTF-8.
    """
    marks = (dialect.separator, dialect.decimal, dialect.quote or '"')
    if not all(len(mark) == 1 and mark.isascii() for mark in marks) or dialect.separator in (" ", dialect.decimal):
        return None
    if dialect.padded:
        return None
    content = bytes(content)
    if not content.isascii():
        content.decode()
    blocks: list[Block] = []
    for part in _parts(content):
        block = _found(part, columns, dialect)
        if block is None:
            return None
        blocks.append(block)
    return Fields(blocks) if sum(block.rows for block in blocks) == rows else None


def _parts(content: bytes) -> Iterator[memoryview]:
    """Runs of whole lines."""
    start, view = 0, memoryview(content)
    while start < len(content):
        end = content.find(b"\n", start + _BLOCK_BYTES) + 1 or len(content)
        yield view[start:end]
        start = end


def _found(content: memoryview, columns: int, dialect: Dialect) -> Block | None:
    separator, decimal, quote = ord(dialect.separator), ord(dialect.decimal), ord(dialect.quote or '"')
    text = b"".join((_FRONT, content, b"" if content[-1] == _LINE_END else b"\n", _BACK))
    quoted = bool(dialect.quote) and dialect.quote.encode() in text
    with_marks = dialect.decimal != "." or not arrow_decimals.installed()
    buffer = np.frombuffer(text, np.uint8)
    seen = buffer == separator
    seen |= buffer == _LINE_END
    for mark in [decimal] * with_marks + [quote] * quoted:
        seen |= buffer == mark
    events = np.flatnonzero(seen)
    kinds = buffer.take(events)
    other = kinds == decimal if with_marks else np.zeros(len(events), np.bool_)
    if quoted:
        quotes = np.cumsum(kinds == quote)
        other |= kinds == quote
        other |= quotes & 1 == 1  # it stands inside of quotes
    closing = np.flatnonzero(~other)
    rows, spare = divmod(len(closing) - 1, columns)
    at_ends = kinds.take(closing) == _LINE_END
    if spare or not at_ends[::columns].all() or np.count_nonzero(at_ends) != rows + 1 or other[-1]:
        return None
    places = events.take(closing)
    starts, ends = places[:-1] + 1, places[1:].copy()
    before = closing[1:] - 1
    if b"\r" in text and not _take_returns(buffer, starts[columns - 1 :: columns], ends[columns - 1 :: columns]):
        return None
    if quoted:
        unquoted = _take_quotes(buffer, starts, ends, np.diff(quotes.take(closing)), quote)
        if unquoted is None:
            return None
        before -= unquoted
    marks = None
    if with_marks:
        marks = np.where(kinds.take(before) == decimal, events.take(before), ends).reshape(rows, columns)
    return Block(text, starts.reshape(rows, columns), ends.reshape(rows, columns), marks)


def _points(buffer: Bytes, starts: Places, ends: Places) -> Places:
    """The last point in each cell, or its end."""
    points = np.flatnonzero(buffer == ord("."))
    if not len(points):
        return ends
    last = points.take(np.searchsorted(points, ends) - 1)  # the very last point where there is none before
    return np.where((last >= starts) & (last < ends), last, ends)


def _take_returns(buffer: Bytes, starts: Places, ends: Places) -> bool:
    """Take a carriage return before a line end off the last cells, in place. False if there are others."""
    returned = (buffer.take(ends - 1) == _RETURN) & (ends > starts)
    ends -= returned
    return bool(np.count_nonzero(buffer == _RETURN) == np.count_nonzero(returned))


def _take_quotes(buffer: Bytes, starts: Places, ends: Places, count: Places, quote: int) -> Flags | None:
    """Take the quotes off quoted cells, in place, and answer which these are; None if one is quoted in part, or has a
    quote inside. count: of the quotes in each cell."""
    whole: Flags = count != 0
    chosen = np.flatnonzero(whole)
    first, last = buffer.take(starts.take(chosen)), buffer.take(ends.take(chosen) - 1)
    if not ((count.take(chosen) == 2) & (first == quote) & (last == quote)).all():
        return None
    starts += whole
    ends -= whole
    return whole


def _without_spaces(buffer: Bytes, starts: Places, ends: Places) -> tuple[Places, Places]:
    """Where cells begin and end without the spaces around what is in them."""
    for _ in range(_MOST_SPACES):
        spaces = (buffer.take(starts) == _SPACE) & (starts < ends)
        if not spaces.any():
            break
        starts = starts + spaces
    for _ in range(_MOST_SPACES):
        spaces = (buffer.take(ends - 1) == _SPACE) & (starts < ends)
        if not spaces.any():
            break
        ends = ends - spaces
    return starts, ends


def _run_of(columns: Sequence[int]) -> slice | Places:
    """Columns as a slice where they follow one another: that is not copied."""
    if list(columns) == list(range(columns[0], columns[0] + len(columns))):
        return slice(columns[0], columns[0] + len(columns))
    return np.array(columns, np.int64)
