"""JSON lines: an object a line, its keys the columns. Streamed, plain or packed; any row can be the first.

The columns are the keys of the first rows, in the order in which they appear; a key that a row lacks is "no value". A
row that lacks one which is read, and has one that is none, is refused: it may be the same with a slip in it. Typed
cells mean what the same cells mean as text: see `cells`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.nn.arrays import Array

from . import streams
from .cells import ColumnParser
from .tile import ALIGNED_ROWS, PIECE_BYTES, Cursor, Piece, Reject, Table, Tile, Wanted, unreadable

_FIRST_ROWS = 200
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Of a character that JSON spells as two; what has but one of them can be written to no file."""

_TROUBLE = (streams.LineTooLong, *streams.TROUBLE)


class JsonLinesFile(Table):
    """A file of JSON objects, one a line."""

    def __init__(self, path: Path, opener: streams.Opener = streams.plainly) -> None:
        self.path, self._opener = path, opener
        with self._troubles(0), streams.open_bytes(path, opener) as file:
            lines = list(islice(filter(bytes.strip, streams.Lines(file)), _FIRST_ROWS))
        keys = (key for row, line in enumerate(lines) for key in self._object(line, row))
        self.names = tuple(dict.fromkeys(keys))
        if not self.names:
            raise unreadable(path, "is empty", 'give an object a line: {"a": 1.5, "b": "red"}')

    def pieces(self, cursor: Cursor | None, tile_rows: int, columns: Sequence[str] = ()) -> Iterator[Piece]:
        """Runs of `tile_rows` lines. columns: all are read anyway."""
        at = cursor or {"offset": 0, "row": 0}
        row, offset = at["row"], at["offset"]
        with streams.open_bytes(self.path, self._opener) as file:
            with self._troubles(row):
                streams.skip_to(file, offset)
            lines = streams.Lines(file)
            while True:
                with self._troubles(row):
                    content = lines.many(tile_rows, PIECE_BYTES, ALIGNED_ROWS).text
                if not content:
                    return
                rows = sum(1 for line in content.split(b"\n") if line.strip())
                offset += len(content)
                if rows:
                    yield Piece(row, rows, {"offset": offset, "row": row + rows}, content)
                row += rows

    def parser(self, wanted: Wanted) -> Callable[[Piece], Tile]:
        """See `Table`."""
        numbers = [ColumnParser(name, wanted.missing) for name in wanted.numbers]
        words = [ColumnParser(name, wanted.missing) for name in wanted.words]
        read = frozenset((*wanted.numbers, *wanted.words))

        def parse(piece: Piece) -> Tile:
            lines = filter(bytes.strip, bytes(piece.content).split(b"\n"))
            rows = [self._object(line, piece.first_row + row) for row, line in enumerate(lines)]
            raw: dict[str, Array] = {}
            rejects = self._slips(rows, read)
            for parser in numbers:
                raw[parser.name], bad = _numbers([row.get(parser.name) for row in rows], parser)
                rejects += bad
            for parser in words:
                raw[parser.name], bad = parser.typed_words([row.get(parser.name) for row in rows])
                rejects += bad
            kept = {name: [_shown(row.get(name)) for row in rows] for name in wanted.kept}
            return Tile(raw, piece.rows, piece.first_row, piece.cursor, kept, tuple(rejects))

        return parse

    def _object(self, line: bytes, row: int) -> dict[str, Any]:
        try:
            return _read(line)
        except _Unusable as error:
            raise unreadable(self.path, f"row {row + 1} {error.args[0]}", error.args[1]) from None
        except ValueError as error:
            raise unreadable(self.path, f"row {row + 1} is no JSON: {error}") from None

    def _slips(self, rows: Sequence[dict[str, Any]], read: frozenset[str]) -> list[Reject]:
        """The rows with a key that is no column, and without one of those that are read."""
        known = frozenset(self.names)
        hint = f"correct it, or have it in one of the first {_FIRST_ROWS} rows, as null if it has no value there"
        rejects = []
        for row, found in enumerate(rows):
            if not known.issuperset(found) and not read <= found.keys():
                other, lacking = min(found.keys() - known), min(read - found.keys())
                rejects.append(Reject(row, "", f"has a key '{other}' that is no column, and no '{lacking}'", hint))
        return rejects

    def _troubles(self, row: int) -> _Troubles:
        return _Troubles(self.path, row)


class _Troubles:
    """What a stream may raise, as an error that names the file."""

    def __init__(self, path: Path, row: int) -> None:
        self._path, self._row = path, row

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, _TROUBLE) and not isinstance(error, InvalidInput):
            raise unreadable(self._path, f"after row {self._row}: {error}") from None


def _numbers(cells: list[Any], parser: ColumnParser) -> tuple[Array, list[Reject]]:
    if set(map(type, cells)) <= {int, float}:
        try:
            return parser.no_value.taken_out(np.array(cells, np.float64)), []
        except OverflowError:  # a whole number beyond every float
            pass
    return parser.typed_numbers(cells)


class _Unusable(ValueError):
    """(reason, remedy) why what a line holds is no row."""


def _read(line: bytes) -> dict[str, Any]:
    """The object in a line. Raises ValueError."""
    try:
        found = _DECODER.decode(line.removeprefix(codecs.BOM_UTF8).decode())
    except RecursionError:
        raise _Unusable("is nested too deep", "put its values beside each other") from None
    if not isinstance(found, dict):
        raise _Unusable("is no JSON object", 'such as {"a": 1.5, "b": "red"}')
    if b"\\u" in line and _HALF.search(line):
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            raise _Unusable(f"holds half of a character: {half}", "write both halves, or leave it out") from None
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Raises ValueError where a key stands twice in it, with two values of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _Unusable(f"has the key '{twice}' twice", "name each key once")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _shown(cell: Any) -> str:
    """A cell to be handed through: text as it stands, the rest as JSON writes it."""
    return "" if cell is None else cell if isinstance(cell, str) else json.dumps(cell)
