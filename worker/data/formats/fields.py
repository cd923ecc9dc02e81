"""Where the cells of a piece of CSV are, found in all of its bytes at once, and the numbers in them.

`find` looks at separators, line ends and quotes with a few passes over the bytes. It answers only where that is surely
what RFC 4180 says (a cell is quoted as a whole or not at all, no quote inside a quoted one); otherwise None, and the
caller has the csv module decide. Both give the same cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singlepoint.worker.data.preprocessing.decimals import PADDING, Places, decimals
from singlepoint.worker.nn.arrays import Array

from .cells import ColumnParser
from .dialect import Dialect
from .tile import Reject

_CELLS_AT_ONCE = 1 << 13  # what is made of them stays in the processor's cache
_LINE_END, _RETURN = 10, 13


@dataclass(frozen=True)
class Fields:
    """The cells of some records. starts, ends: their places in `text`, (rows, columns).  marks: the places of their
    decimal marks, or their ends."""

    text: bytes
    starts: Places
    ends: Places
    marks: Places
    ragged: tuple[Reject, ...] = ()  # never any: see `find`

    def cells(self, column: int) -> list[bytes]:
        """The bytes of one column's cells."""
        text = self.text
        places = zip(self.starts[:, column].tolist(), self.ends[:, column].tolist(), strict=True)
        return [text[start:end] for start, end in places]

    def numbers(self, columns: Sequence[int], parsers: Sequence[ColumnParser]) -> tuple[list[Array], list[Reject]]:
        """These columns as float64, NaN for "no value", and the cells that are neither."""
        rows = len(self.starts)
        values = [np.empty(rows, np.float64) for _ in columns]
        rejects: list[Reject] = []
        if not columns:
            return values, rejects
        at_once = max(1, _CELLS_AT_ONCE // max(1, len(columns)))
        chosen = slice(None) if list(columns) == list(range(self.starts.shape[1])) else np.array(columns, np.intp)
        buffer = np.frombuffer(self.text, np.uint8)
        for first in range(0, rows, at_once):
            part = slice(first, first + at_once)
            places = [one[part][:, chosen] for one in (self.starts, self.ends, self.marks)]
            block, left = (one.reshape(-1, len(columns)) for one in decimals(buffer, *(p.ravel() for p in places)))
            for row, place in np.argwhere(left).tolist():
                cell = self.text[places[0][row, place] : places[1][row, place]]
                found = parsers[place].number(cell)
                block[row, place] = np.nan if found is None else found
                if found is None:
                    rejects.append(parsers[place].reject(first + row, cell.decode()))
            for place, column in enumerate(values):
                column[part] = block[:, place]
        for parser, column in zip(parsers, values, strict=True):
            parser.no_value.taken_out(column)
        return values, rejects


def find(content: bytes | memoryview, rows: int, columns: int, dialect: Dialect) -> Fields | None:
    """The cells of `rows` records of `columns` cells each, or None where these bytes are not surely that.

    Raises UnicodeDecodeError for bytes that are not UTF-8.
    """
    marks = (dialect.separator, dialect.decimal, dialect.quote or '"')
    if not all(len(mark) == 1 and mark.isascii() for mark in marks) or dialect.separator in (" ", dialect.decimal):
        return None
    separator, decimal, quote = map(ord, marks)
    content = bytes(content)
    if not content.isascii():
        content.decode()
    text = b" " * PADDING + content + (b"" if content.endswith(b"\n") else b"\n")
    buffer = np.frombuffer(text, np.uint8)
    quoted = bool(dialect.quote) and chr(quote).encode() in content
    events = np.flatnonzero((buffer == separator) | (buffer == _LINE_END) | (buffer == decimal))
    kinds = buffer[events]
    quotes = np.flatnonzero(buffer == quote) if quoted else np.empty(0, np.int64)
    if quoted:  # what stands after an odd number of quotes stands inside of them
        inside = np.searchsorted(quotes, events) & 1 == 1
        outer = (kinds == decimal) | ~inside
        events, kinds = events[outer], kinds[outer]
    closing = np.flatnonzero(kinds != decimal)
    if len(closing) != rows * columns:
        return None
    ends = events[closing]
    starts = np.concatenate([[PADDING], ends[:-1] + 1])
    ended = kinds[closing].reshape(rows, columns)
    if (ended[:, -1] != _LINE_END).any() or (ended[:, :-1] != separator).any():
        return None
    before = events[np.maximum(closing - 1, 0)]
    cell_ends = _without_returns(buffer, ends.reshape(rows, columns), starts) if b"\r" in content else ends
    if cell_ends is None:
        return None
    if quoted:
        unquoted = _without_quotes(buffer, starts, cell_ends, quotes, quote)
        if unquoted is None:
            return None
        starts, cell_ends = unquoted
    pointed = (before >= starts) & (before < cell_ends)
    found = np.where(pointed, before, cell_ends)
    shape = (rows, columns)
    return Fields(text, starts.reshape(shape), cell_ends.reshape(shape), found.reshape(shape))


def _without_returns(buffer: Array, ends: Places, starts: Places) -> Places | None:
    """The ends of the cells without a carriage return before a line end; None if there are others."""
    last = ends[:, -1]
    returned = (buffer[last - 1] == _RETURN) & (last > starts.reshape(ends.shape)[:, -1])
    if np.count_nonzero(buffer == _RETURN) != np.count_nonzero(returned):
        return None
    ends = ends.copy()
    ends[:, -1] -= returned
    return ends.ravel()


def _without_quotes(
    buffer: Array, starts: Places, ends: Places, quotes: Places, quote: int
) -> tuple[Places, Places] | None:
    """The insides of quoted cells; None if one is quoted in part, or has a quote inside."""
    count: npt.NDArray[np.int64] = np.searchsorted(quotes, ends) - np.searchsorted(quotes, starts)
    whole = (count == 2) & (buffer[starts] == quote) & (buffer[ends - 1] == quote)
    if not (whole | (count == 0)).all():
        return None
    return starts + whole, ends - whole
