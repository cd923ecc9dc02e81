"""The columns of a piece of CSV by pyarrow, where it is installed: what `fields` would find, with no lock of Python's.

pyarrow is asked only about text that it reads as RFC 4180 does, and for a number only in columns whose cells all are
numbers as it writes them, or words for "no value". Whatever else a cell may mean (a truth value, `nan`, `+1`) stays
ours to say, each different one once; what is refused is left to `fields`. Both round correctly: the bits are the same.

For the whole of a table in one process, which pyarrow's threads must not outlive; a prediction's are forked.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from singlepoint.worker.data.preprocessing.decimals import Bytes
from singlepoint.worker.nn.arrays import Array

from .cells import ColumnParser
from .dialect import Dialect
from .tile import Piece, Tile

_LEAST_BYTES = 1 << 20
"""A smaller file is not worth loading pyarrow."""

_BLOCK_BYTES, _BLOCK_ROWS = 1 << 18, 64
"""What pyarrow reads at a time stays in the processor's cache, unless rows are very long."""

_MARK = b"\xef\xbb\xbf"  # pyarrow passes over it wherever a text begins
_LINE_END, _RETURN = 10, 13
_NO_NUMBER = re.compile(r"In CSV column #([0-9]+): (Row #[0-9]+: )?CSV conversion error to double")


class ArrowColumns:
    """Asks pyarrow for some columns of the pieces of a table. For one thread."""

    def __init__(
        self, names: Sequence[str], dialect: Dialect, numbers: Sequence[ColumnParser], words: Sequence[ColumnParser]
    ) -> None:
        self._names, self._dialect, self._numbers, self._words = list(names), dialect, numbers, words
        wanted = [parser.name for parser in (*numbers, *words)]
        self._known = bool(wanted) and len(set(wanted)) == len(wanted) and _is_known(dialect)
        self._odd: set[str] = set()  # columns of numbers that pyarrow does not take for such

    def askable(self, path: Path) -> bool:
        """Whether pyarrow can be asked about this file, and that is worth while."""
        return self._known and path.stat().st_size >= _LEAST_BYTES and _csv() is not None

    def tile(self, piece: Piece) -> Tile | None:
        """The numbers as float64, NaN for "no value", and the words of a piece whose rows nobody has counted; their
        place in the file is left open. None where not all of it is sure."""
        try:
            found = self._told(bytes(piece.content))
        except UnicodeDecodeError:
            return None
        return None if found is None else Tile(found, _rows(found), 0, piece.cursor)

    def _told(self, content: bytes) -> dict[str, Array] | None:
        if not content.isascii():
            content.decode()
        if not content or content.startswith(_MARK) or not _is_plain(content, self._dialect):
            return None
        found, odd = None, -1
        while found is None and len(self._odd) > odd:  # asked again, where that has taught of a column
            odd = len(self._odd)
            found = self._asked(content)
        return found if found is not None and _rows(found) else None

    def _asked(self, content: bytes) -> dict[str, Array] | None:
        import pyarrow as arrow

        try:
            table = _csv().read_csv(arrow.BufferReader(content), **self._options(content.find(b"\n") + 1))
        except arrow.ArrowInvalid as trouble:
            if found := _NO_NUMBER.match(str(trouble)):
                self._odd.add(self._names[int(found[1])])
            return None
        return self._columns(table)

    def _options(self, row_bytes: int) -> dict[str, Any]:
        import pyarrow as arrow

        csv, word = _csv(), arrow.dictionary(arrow.int32(), arrow.string())
        plain = [parser for parser in self._numbers if parser.name not in self._odd]
        missing = [parser.no_value.words for parser in plain]
        types = {parser.name: word for parser in (*self._numbers, *self._words)}
        types |= {parser.name: arrow.float64() for parser in plain}
        return {
            "read_options": csv.ReadOptions(
                use_threads=False, column_names=self._names, block_size=max(_BLOCK_BYTES, row_bytes * _BLOCK_ROWS)
            ),
            "parse_options": csv.ParseOptions(
                delimiter=self._dialect.separator, quote_char=self._dialect.quote or False
            ),
            "convert_options": csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=sorted(frozenset.intersection(*missing)) if missing else [],
                decimal_point=self._dialect.decimal,
            ),
        }

    def _columns(self, table: Any) -> dict[str, Array] | None:
        columns: dict[str, Array] = {}
        for parser in self._numbers:
            column = table[parser.name]
            if parser.name in self._odd:
                values = _spelled(column, parser)
                if values is None:
                    return None
            else:
                values = column.to_numpy()
                if np.count_nonzero(np.isnan(values)) != column.null_count:  # some `nan` is spelled
                    self._odd.add(parser.name)
                    return None
            columns[parser.name] = parser.no_value.taken_out(values)
        return columns | {parser.name: _words(table[parser.name], parser) for parser in self._words}


def _rows(columns: Mapping[str, Array]) -> int:
    return len(next(iter(columns.values())))


def _is_known(dialect: Dialect) -> bool:
    """Whether pyarrow reads this dialect."""
    marks = (dialect.separator, dialect.decimal, dialect.quote or '"')
    single = all(len(mark) == 1 and mark.isascii() for mark in marks)
    return single and dialect.separator not in (" ", dialect.decimal) and not dialect.padded and not dialect.thousands


def _words(column: Any, parser: ColumnParser) -> Array:
    """A column of dictionaries as words: each different one is looked at once."""
    return np.concatenate(
        [parser.words(chunk.dictionary.to_pylist())[chunk.indices.to_numpy()] for chunk in column.chunks]
    )


def _spelled(column: Any, parser: ColumnParser) -> Array | None:
    """A column of dictionaries as numbers; None if one is none."""
    parts = []
    for chunk in column.chunks:
        different, rejects = parser.numbers(chunk.dictionary.to_pylist())
        if rejects:
            return None
        parts.append(different[chunk.indices.to_numpy()])
    return np.concatenate(parts)


def _is_plain(content: bytes, dialect: Dialect) -> bool:
    """Whether quotes stand around whole cells only, none and no line end within, and carriage returns before line ends
    only."""
    if b"\r" in content and content.count(b"\r") != content.count(b"\r\n"):
        return False
    quote = dialect.quote.encode()
    if not quote or quote not in content:
        return True
    text = np.frombuffer(content, np.uint8)
    quotes = np.flatnonzero(text == quote[0])
    if len(quotes) % 2 or (np.searchsorted(quotes, np.flatnonzero(text == _LINE_END)) & 1).any():
        return False
    opening, closing = quotes[::2], quotes[1::2]
    opening, closing = opening[opening > 0], closing[closing < len(text) - 1]
    ends = (ord(dialect.separator), _LINE_END)
    return _all_in(text.take(opening - 1), ends) and _all_in(text.take(closing + 1), (*ends, _RETURN))


def _all_in(found: Bytes, allowed: Sequence[int]) -> bool:
    known = np.zeros(256, np.bool_)
    known[list(allowed)] = True
    return bool(known.take(found).all())


@cache
def _csv() -> Any:
    """pyarrow's reader of CSV, if it is installed; None where it is not."""
    if importlib.util.find_spec("pyarrow") is None:
        return None
    from pyarrow import csv

    return csv
