"""A piece of CSV read by pyarrow, where it is installed: the cells that `fields` finds, in less time.

pyarrow is asked only where it cannot take a record for another than the csv module does: each quote surely begins or
ends a cell. Its answer is taken only where it finds as many records, and every number is one: whatever else a cell may
be (a truth value, `nan`, a slip) stays ours to say. Both round numbers correctly, so the bits are the same.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np

from singlepoint.worker.data.preprocessing.decimals import Doubles
from singlepoint.worker.nn.arrays import Array

from .cells import ColumnParser
from .dialect import Dialect
from .fields import lines_as_csv
from .tile import Reject

_MARK = b"\xef\xbb\xbf"
_LINE_END = ord("\n")
LEAST_ROWS = 64
"""pyarrow takes its time for each column: it is asked where there are so many rows, and no fewer than columns."""

LEAST_BYTES = 1 << 25
"""Of a file: to load pyarrow takes as long as it saves in so many bytes."""

_PATIENCE = 16
"""After a piece that pyarrow could not take, so many others are not shown to it: they may well be like it."""


class Cells(Protocol):
    """The cells of a piece, by column."""

    @property
    def ragged(self) -> tuple[Reject, ...]:
        """Rows of another number of cells."""

    def texts(self, column: int, /) -> Sequence[str]:
        """One column's cells, as they stand there."""

    def words(self, column: int, parser: ColumnParser, /) -> Array:
        """One column's cells as words."""

    def numbers(self, columns: Sequence[int], parsers: Sequence[ColumnParser], /) -> tuple[list[Array], list[Reject]]:
        """These columns as float64, NaN for "no value", and the cells that are neither."""

    def lines(self, columns: int, dialect: Dialect, /) -> Sequence[str] | None:
        """The records of so many cells as a CSV file has them, if that is what stands there."""


class Reader:
    """Reads pieces of one file. size_bytes, width: of the file, and its columns.  numbers, texts: the wanted ones, by
    place.

    It may be asked by one thread at a time.
    """

    def __init__(
        self,
        size_bytes: int,
        width: int,
        numbers: Mapping[int, ColumnParser],
        texts: Collection[int],
        dialect: Dialect,
    ) -> None:
        apart = numbers.keys().isdisjoint(texts) and bool(numbers or texts)
        worth = size_bytes >= LEAST_BYTES and width > 1
        arrow = _arrow() if worth and apart and _is_plain(dialect) else None
        self._width, self._quote, self._separator = width, dialect.quote.encode(), dialect.separator.encode()
        self._numbers, self._texts = tuple(numbers), tuple(texts)
        self._arrow: Any = arrow
        self._skip = 0
        if arrow is None:
            return
        names = list(map(str, range(width)))
        types = dict.fromkeys((names[place] for place in texts), arrow.dictionary(arrow.int32(), arrow.string()))
        types |= dict.fromkeys((names[place] for place in numbers), arrow.float64())
        missing = [parser.no_value.words for parser in numbers.values()]
        self._options = {
            "parse_options": arrow.csv.ParseOptions(delimiter=dialect.separator, quote_char=dialect.quote or False),
            "convert_options": arrow.csv.ConvertOptions(
                column_types=types,
                include_columns=[*types],
                null_values=sorted(frozenset.intersection(*missing)) if missing else [],
                decimal_point=dialect.decimal,
            ),
        }
        self._reading = {"column_names": names, "use_threads": False}

    def read(self, content: bytes | memoryview, rows: int, otherwise: Callable[[], Cells]) -> Cells | None:
        """The cells of so many records, or None where pyarrow is not to be asked, or cannot tell.

        otherwise: gives them too, for what pyarrow was not asked about.
        """
        if self._arrow is None or rows < max(LEAST_ROWS, self._width):
            return None
        if self._skip:
            self._skip -= 1
            return None
        text = bytes(content)
        columns = self._columns(text, rows) if self._is_sure(text) else None
        values = None if columns is None else self._values(columns)
        if columns is None or values is None:
            self._skip = _PATIENCE
            return None
        return _ArrowCells(text, values, {place: columns[place] for place in self._texts}, otherwise)

    def _is_sure(self, text: bytes) -> bool:
        """Whether pyarrow takes for a record what the csv module does. A text that is no UTF-8 is not."""
        if text.startswith(_MARK) or not (text.isascii() or _is_utf8(text)):
            return False
        return not self._quote or self._quote not in text or self._quotes_stand_around_cells(text)

    def _quotes_stand_around_cells(self, text: bytes) -> bool:
        """Whether every other quote begins a cell, and those between end one."""
        buffer = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(buffer == self._quote[0])
        if len(quotes) & 1:
            return False
        first, last = quotes[::2], quotes[1::2]
        before = buffer.take(first - 1)  # of the very first byte it is the last, which is a line end, or none of these
        before[:1] = _LINE_END if first[0] == 0 else before[0]
        after = buffer.take(np.minimum(last + 1, len(buffer) - 1))
        after[-1:] = _LINE_END if last[-1] == len(buffer) - 1 else after[-1]
        separator = self._separator[0]
        begin = (before == separator) | (before == _LINE_END)
        end = (after == separator) | (after == _LINE_END) | (after == ord("\r"))
        return bool(begin.all() and end.all())

    def _columns(self, text: bytes, rows: int) -> Mapping[int, Any] | None:
        """What pyarrow makes of it, by place; None where that is not so many records."""
        arrow = self._arrow
        reading = arrow.csv.ReadOptions(block_size=len(text) + 1, **self._reading)
        try:
            table = arrow.csv.read_csv(arrow.BufferReader(text), read_options=reading, **self._options)
        except arrow.ArrowInvalid:
            return None
        batches = table.to_batches()
        if len(batches) != 1 or table.num_rows != rows:
            return None
        return dict(zip(map(int, table.column_names), batches[0].columns, strict=True))

    def _values(self, columns: Mapping[int, Any]) -> Mapping[int, Doubles] | None:
        """The numbers, NaN for "no value"; None where another is not finite: what stands there is ours to say."""
        values = {place: _numbers(columns[place]) for place in self._numbers}
        for place, found in values.items():
            if np.count_nonzero(np.isfinite(found)) != len(found) - columns[place].null_count:
                return None
        return values


@dataclass(frozen=True)
class _ArrowCells:
    """The cells by place: values, of numbers, and encoded, each different text once."""

    content: bytes
    values: Mapping[int, Doubles]
    encoded: Mapping[int, Any]
    otherwise: Callable[[], Cells]
    ragged: tuple[Reject, ...] = ()

    @cached_property
    def _others(self) -> Cells:
        return self.otherwise()

    def texts(self, column: int) -> Sequence[str]:
        if column not in self.encoded:
            return self._others.texts(column)
        return self._decoded(column, str).tolist()  # type: ignore[no-any-return]

    def lines(self, columns: int, dialect: Dialect) -> Sequence[str] | None:
        return lines_as_csv(self.content, dialect)

    def words(self, column: int, parser: ColumnParser) -> Array:
        return self._decoded(column, parser.word)

    def numbers(self, columns: Sequence[int], parsers: Sequence[ColumnParser]) -> tuple[list[Array], list[Reject]]:
        found = zip(parsers, columns, strict=True)
        return [parser.no_value.taken_out(self.values[column]) for parser, column in found], []

    def _decoded(self, column: int, meaning: Callable[[str], str]) -> Array:
        """One column's cells, each different text looked at once."""
        known, codes = self.encoded[column].dictionary.to_pylist(), self.encoded[column].indices
        meanings: Array = np.empty(len(known), object)
        meanings[:] = list(map(meaning, known))
        cells: Array = meanings[_items(codes.buffers()[1], np.int32, codes)]
        return cells


def _numbers(column: Any) -> Doubles:
    """Its numbers, NaN for null. From its memory: pyarrow's own way to numpy loads pandas where that is installed."""
    present, values = column.buffers()
    numbers: Doubles = _items(values, np.float64, column)
    if column.null_count:
        bits = np.frombuffer(present, np.uint8)
        there = np.unpackbits(bits, bitorder="little", count=column.offset + len(column))[column.offset :]
        numbers = np.where(there, numbers, np.nan)
    return numbers


def _items(buffer: Any, dtype: type, column: Any) -> Array:
    """The items of a column in this buffer of it."""
    items: Array = np.frombuffer(buffer, dtype, column.offset + len(column))[column.offset :]
    return items


def _is_plain(dialect: Dialect) -> bool:
    """Whether it can be told to pyarrow."""
    marks = (dialect.separator, dialect.decimal, dialect.quote or '"')
    usual = all(len(mark) == 1 and mark.isascii() for mark in marks) and dialect.separator not in (" ", dialect.decimal)
    return usual and not dialect.padded


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@cache
def _arrow() -> Any:
    """pyarrow, if it is installed; None where it is not."""
    if importlib.util.find_spec("pyarrow") is None:
        return None
    import pyarrow
    import pyarrow.csv

    return pyarrow
