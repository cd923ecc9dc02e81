"""Where the cells of a piece of CSV are, found in many of its bytes at once, and the numbers and words in them.

`find` looks at separators, line ends and quotes with a few passes over the bytes. It answers only where that is surely
what RFC 4180 says (a cell is quoted as a whole or not at all, no quote inside a quoted one); otherwise None, and the
caller has the csv module decide. Both give the same cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from singlepoint.worker.data.preprocessing.decimals import PADDING, Bytes, Flags, Places, decimals
from singlepoint.worker.nn.arrays import Array

from . import streams
from .cells import ColumnParser
from .dialect import Dialect
from .tile import Reject

_SPACE, _LINE_END, _RETURN = 32, 10, 13
_FRONT = b" " * (PADDING - 1) + b"\n"
_BACK = b" " * PADDING
_ONE = np.uint8(1)
_LOWEST = np.array([0, *((bits & -bits).bit_length() - 1 for bits in range(1, 256))])
"""The place of the lowest bit."""

_MOST_SPACES = 64
"""Spaces around a number that are passed over in all cells at once; more are for one cell at a time."""


@dataclass(frozen=True)
class Block:
    """The cells of some records. starts, ends: their places in the text, (rows, columns)."""

    starts: Places
    ends: Places

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.starts)


@dataclass(frozen=True)
class Fields:
    """The cells of a piece: its text, between paddings, and where they are in it, a block of records after another.

    decimal: the mark in its numbers.
    """

    text: bytes
    blocks: Sequence[Block]
    decimal: int
    ragged: tuple[Reject, ...] = ()  # never any: see `find`

    def texts(self, column: int) -> list[str]:
        """One column's cells, as they stand there."""
        places = zip(*(places.tolist() for places in self._places(column)), strict=True)
        if self._ascii is None:
            return [self.text[start:end].decode() for start, end in places]
        text = self._ascii
        return [text[start:end] for start, end in places]

    def lines(self, columns: int, dialect: Dialect) -> list[str] | None:
        """The records of so many cells as a CSV file has them, if that is what stands there."""
        width = self.blocks[0].starts.shape[1]
        return lines_as_csv(self.text[PADDING:-PADDING], dialect) if width == columns else None

    def words(self, column: int, parser: ColumnParser) -> Array:
        """One column's cells as words."""
        return parser.words_at(self.text, *self._places(column))

    def numbers(self, columns: Sequence[int], parsers: Sequence[ColumnParser]) -> tuple[list[Array], list[Reject]]:
        """These columns as float64, NaN for "no value", and the cells that are neither."""
        values = np.empty((len(columns), sum(block.rows for block in self.blocks)), np.float64)
        rejects: list[Reject] = []
        row = 0
        for block in self.blocks if columns else ():
            found, bad = self._numbers(block, columns, parsers, row)
            values[:, row : row + block.rows] = found.T
            row += block.rows
            rejects += bad
        return [parser.no_value.taken_out(column) for parser, column in zip(parsers, values, strict=True)], rejects

    def _places(self, column: int) -> tuple[Places, Places]:
        """Where one column's cells begin and end."""
        starts = [block.starts[:, column] for block in self.blocks]
        return np.concatenate(starts), np.concatenate([block.ends[:, column] for block in self.blocks])

    @cached_property
    def _ascii(self) -> str | None:
        """The text, if each of its characters takes a byte."""
        return self.text.decode("ascii") if self.text.isascii() else None

    def _numbers(
        self, block: Block, columns: Sequence[int], parsers: Sequence[ColumnParser], first_row: int
    ) -> tuple[Array, list[Reject]]:
        """As `numbers`, of a block, (rows, columns). first_row: of it, in the piece."""
        chosen = _run_of(columns)
        starts, ends = (one[:, chosen].ravel() for one in (block.starts, block.ends))
        if self.text.find(b" ", int(block.starts[0, 0]), int(block.ends[-1, -1])) >= 0:
            starts, ends = _without_spaces(np.frombuffer(self.text, np.uint8), starts, ends)
        values, left = decimals(np.frombuffer(self.text, np.uint8), starts, ends, self.decimal)
        rejects: list[Reject] = []
        for place in np.flatnonzero(left).tolist():
            row, column = divmod(place, len(columns))
            found = parsers[column].number(self.text[starts[place] : ends[place]])
            values[place] = np.nan if found is None else found
            if found is None:
                whole = self.text[block.starts[row, columns[column]] : block.ends[row, columns[column]]]
                rejects.append(parsers[column].reject(first_row + row, whole.decode()))
        return values.reshape(-1, len(columns)), rejects


def lines_as_csv(content: bytes, dialect: Dialect) -> list[str] | None:
    """Lines that are a record each, if a CSV file has them so: commas between the cells, and no quote needed."""
    quotes = {'"', dialect.quote} - {""}
    if dialect.separator != "," or any(quote.encode() in content for quote in quotes):
        return None
    return content.decode().replace("\r\n", "\n").removesuffix("\n").split("\n")


def find(content: bytes | memoryview, rows: int, columns: int, dialect: Dialect) -> Fields | None:
    """The cells of `rows` records of `columns` cells each, or None where these bytes are not surely that.

    Raises UnicodeDecodeError for bytes that are not UTF-8.
    """
    marks = (dialect.separator, dialect.decimal, dialect.quote or '"')
    if not all(len(mark) == 1 and mark.isascii() for mark in marks) or dialect.separator in (" ", dialect.decimal):
        return None
    if dialect.padded:
        return None
    text = b"".join((_FRONT, content, b"" if content[-1:] in (b"\n", b"") else b"\n", _BACK))
    if not text.isascii():
        text.decode()
    blocks: list[Block] = []
    for start, end in streams.runs_of_lines(text, PADDING, len(text) - PADDING):
        block = _found(text, start, end, columns, dialect)
        if block is None:
            return None
        blocks.append(block)
    return Fields(text, blocks, ord(dialect.decimal)) if sum(block.rows for block in blocks) == rows else None


def _found(text: bytes, start: int, end: int, columns: int, dialect: Dialect) -> Block | None:
    """The cells of the lines in text[start:end]; a line end stands before them."""
    separator, quote = ord(dialect.separator), ord(dialect.quote or '"')
    quoted = bool(dialect.quote) and text.find(dialect.quote.encode(), start, end) >= 0
    buffer = np.frombuffer(text, np.uint8)
    places = _places_of((separator, _LINE_END, *[quote] * quoted), buffer, start - 1, end)
    if quoted:
        quotes = buffer.take(places) == quote
        before = np.cumsum(quotes)
        closing = np.flatnonzero(~quotes & (before & 1 == 0))  # those that end a cell
        places, count = places.take(closing), np.diff(before.take(closing))
    at_ends = buffer.take(places) == _LINE_END
    rows, spare = divmod(len(places) - 1, columns)
    if places[-1] != end - 1 or spare or not at_ends[::columns].all() or np.count_nonzero(at_ends) != rows + 1:
        return None
    starts, ends = places[:-1] + 1, places[1:]
    if not _take_returns(text, start, end, starts[columns - 1 :: columns], ends[columns - 1 :: columns]):
        return None
    if quoted and not _take_quotes(buffer, starts, ends, count, quote):
        return None
    return Block(starts.reshape(rows, columns), ends.reshape(rows, columns))


def _places_of(characters: Sequence[int], buffer: Bytes, start: int, end: int) -> Places:
    """Where in buffer[start:end] one of these stands."""
    looked_at = buffer[start:end]
    seen = looked_at == characters[0]
    for character in characters[1:]:
        seen |= looked_at == character
    places = _true(seen)
    places += start
    return places


def _true(seen: Flags) -> Places:
    """`np.flatnonzero`, which takes up to three times as long where one in ten to fifty is true. Looks at eight at a
    time, of which two may be."""
    if np.count_nonzero(seen) * 10 > len(seen):
        return np.flatnonzero(seen)
    packed = np.packbits(seen, bitorder="little")
    eights = np.flatnonzero(packed != 0)
    first = packed.take(eights)
    second = first & (first - _ONE)
    if (second & (second - _ONE)).any():
        return np.flatnonzero(seen)
    eights *= 8
    more = np.flatnonzero(second != 0)
    others = eights.take(more) + _LOWEST.take(second.take(more))
    eights += _LOWEST.take(first)
    return np.insert(eights, more + 1, others)


def _take_returns(text: bytes, start: int, end: int, starts: Places, ends: Places) -> bool:
    """Take a carriage return before a line end off the last cells, in place. False if text[start:end] has others."""
    if text.find(b"\r", start, end) < 0:
        return True
    returned = (np.frombuffer(text, np.uint8).take(ends - 1) == _RETURN) & (ends > starts)
    ends -= returned
    return text.count(b"\r", start, end) == np.count_nonzero(returned)


def _take_quotes(buffer: Bytes, starts: Places, ends: Places, count: Places, quote: int) -> bool:
    """Take the quotes off quoted cells, in place. False if one is quoted in part, or has a quote inside. count: of the
    quotes in each cell."""
    whole: Flags = count != 0
    chosen = np.flatnonzero(whole)
    first, last = buffer.take(starts.take(chosen)), buffer.take(ends.take(chosen) - 1)
    if not ((count.take(chosen) == 2) & (first == quote) & (last == quote)).all():
        return False
    starts += whole
    ends -= whole
    return True


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
