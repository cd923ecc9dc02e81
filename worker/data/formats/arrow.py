"""Parquet and Arrow (Feather) files, by pyarrow (the optional extra `parquet`). Streamed a batch at a time.

A cursor holds a row; going on reads nothing of earlier row groups or batches. Typed cells mean what the same cells mean
as text (see `cells`): `missing` holds for them too, dates are refused where numbers are wanted.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.nn.arrays import Array

from .cells import ColumnParser, dates_refused
from .tile import Cursor, Piece, Reject, Table, Tile, Wanted, ahead, unreadable

_BUFFER_BYTES = 1 << 20


class ArrowFile(Table):
    """A file of flat columns that pyarrow reads."""

    cells_at_once = 1 << 20  # they need no parsing

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as arrow
        except ImportError:
            hint = "pip install 'singlepoint[parquet]', or convert the file to CSV"
            raise InvalidInput(Problem(path.name, "reading Parquet and Arrow needs pyarrow", hint)) from None
        self.path = path
        self._trouble = (arrow.ArrowException, OSError)
        try:
            schema = self._open()
        except self._trouble as error:
            raise unreadable(path, f"cannot be read: {error}") from None
        self.names = tuple(schema.names)
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise unreadable(path, f"two columns are named '{twice[0]}'", "rename one")
        self.surely_numbers = frozenset(field.name for field in schema if _is_number(field.type))

    @abstractmethod
    def _open(self) -> Any:
        """Open the file and answer its schema."""

    @abstractmethod
    def _tables(self, row: int, names: list[str], most_rows: int, *, threads: bool) -> Iterator[Any]:
        """Tables of these columns from this row on, of at most so many rows, wherever they end.

        threads: whether pyarrow may unpack several columns at once."""

    def pieces(self, cursor: Cursor | None, tile_rows: int, columns: Sequence[str] = ()) -> Iterator[Piece]:
        """Runs of `tile_rows` rows of these columns, as an Arrow stream."""
        for row, table in self._runs(cursor, tile_rows, list(dict.fromkeys(columns)) or list(self.names)):
            yield Piece(row, len(table), {"row": row + len(table)}, _packed(table))

    def parser(self, wanted: Wanted) -> Callable[[Piece], Tile]:
        """See `Table`."""
        tile = self._tile_of(wanted)
        return lambda piece: tile((piece.first_row, _unpacked(piece.content)))

    def tiles(self, cursor: Cursor | None, tile_rows: int, wanted: Wanted, threads: int = 1) -> Iterator[Tile]:
        """See `Table`; here, nothing has to be packed on the way, and most of the work is to find the rows."""
        runs = self._runs(cursor, tile_rows, list(wanted.names), threads=threads > 1)
        return map(self._tile_of(wanted), ahead(runs) if threads > 1 else runs)

    def _tile_of(self, wanted: Wanted) -> Callable[[tuple[int, Any]], Tile]:
        numbers = [ColumnParser(name, wanted.missing) for name in wanted.numbers]
        words = [ColumnParser(name, wanted.missing) for name in wanted.words]

        def tile(found: tuple[int, Any]) -> Tile:
            row, table = found
            raw: dict[str, Array] = {}
            rejects: list[Reject] = []
            for parsers, read in ((numbers, _numbers), (words, _words)):
                for parser in parsers:
                    with self._column(parser.name):
                        raw[parser.name], bad = read(table[parser.name], parser)
                    rejects += bad
            kept: dict[str, Sequence[str]] = {}
            for name in wanted.kept:
                with self._column(name):
                    kept[name] = _texts(table[name])
            return Tile(raw, len(table), row, {"row": row + len(table)}, kept, tuple(rejects))

        return tile

    @contextmanager
    def _column(self, name: str) -> Iterator[None]:
        """Says which column holds what Python has no value for, such as a date beyond the year 9999."""
        try:
            yield
        except (ValueError, LookupError, OverflowError, NotImplementedError) as error:
            hint = "correct it, write it as text or numbers, or leave it out"
            raise unreadable(self.path, f"column '{name}' cannot be read: {error}", hint) from None

    def _runs(
        self, cursor: Cursor | None, tile_rows: int, names: list[str], *, threads: bool = False
    ) -> Iterator[tuple[int, Any]]:
        """Tables of exactly `tile_rows` rows, but for the last, and the row at which each begins."""
        import pyarrow as arrow

        row = (cursor or {"row": 0})["row"]
        waiting: list[Any] = []
        try:
            for table in self._tables(row, names, tile_rows, threads=threads):
                waiting.append(table)
                while sum(map(len, waiting)) >= tile_rows:
                    joined = arrow.concat_tables(waiting)
                    yield row, joined.slice(0, tile_rows)
                    row += tile_rows
                    # An empty rest would be a chunk too, and columns of several are copied to be numpy's.
                    waiting = [joined.slice(tile_rows)] if len(joined) > tile_rows else []
            rest = arrow.concat_tables(waiting) if waiting else ()
        except self._trouble as error:
            raise unreadable(self.path, f"after row {row}: {error}") from None
        if len(rest):
            yield row, rest


class ParquetFile(ArrowFile):
    """A Parquet file."""

    def _open(self) -> Any:
        import pyarrow.parquet as parquet

        self._file: Any = parquet.ParquetFile(self.path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        self.rows = self._file.metadata.num_rows
        return self._file.schema_arrow

    def _tables(self, row: int, names: list[str], most_rows: int, *, threads: bool) -> Iterator[Any]:
        import pyarrow as arrow

        metadata = self._file.metadata
        ends = list(accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)))
        first = sum(end <= row for end in ends)
        skip = row - (ends[first - 1] if first else 0)
        batches = self._file.iter_batches(
            most_rows, row_groups=range(first, len(ends)), columns=names, use_threads=threads
        )
        for batch in batches:
            if skip < len(batch):
                yield arrow.Table.from_batches([batch.slice(skip)])
            skip = max(0, skip - len(batch))


class FeatherFile(ArrowFile):
    """An Arrow file: Feather version 2, or a stream."""

    def _open(self) -> Any:
        import pyarrow as arrow

        try:
            self._file: Any = arrow.ipc.open_file(arrow.memory_map(str(self.path)))
        except arrow.ArrowInvalid:
            self._file = None
            return arrow.ipc.open_stream(arrow.memory_map(str(self.path))).schema
        return self._file.schema

    def _batches(self) -> Iterator[Any]:
        import pyarrow as arrow

        if self._file is None:
            yield from arrow.ipc.open_stream(arrow.memory_map(str(self.path)))
        else:
            yield from map(self._file.get_batch, range(self._file.num_record_batches))

    def _tables(self, row: int, names: list[str], most_rows: int, *, threads: bool) -> Iterator[Any]:
        import pyarrow as arrow

        for batch in self._batches():
            for start in range(row, len(batch), most_rows):
                yield arrow.Table.from_batches([batch.slice(start, most_rows).select(names)])
            row = max(0, row - len(batch))


def _packed(table: Any) -> memoryview:
    import pyarrow as arrow

    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return memoryview(sink.getvalue())


def _unpacked(content: bytes | memoryview) -> Any:
    import pyarrow as arrow

    with arrow.ipc.open_stream(content) as stream:
        return stream.read_all()


def _numbers(column: Any, parser: ColumnParser) -> tuple[Array, list[Reject]]:
    """float64 values, NaN for "no value", and what is no number."""
    from pyarrow import types

    column = _plain(column)
    kind = column.type
    if _is_number(kind) or types.is_boolean(kind) or types.is_null(kind):
        return _floats(column, parser), []
    if types.is_temporal(kind):
        return np.full(len(column), np.nan), [dates_refused(parser.name, kind)]
    return parser.typed_numbers(column.to_pylist())


def _floats(column: Any, parser: ColumnParser) -> Array:
    values = column.cast("float64", safe=False).to_numpy()
    return parser.no_value.taken_out(values, column.type.to_pandas_dtype() if _is_small(column.type) else None)


def _is_small(kind: Any) -> bool:
    """Whether these floats are others than what their text says in 64 bits."""
    from pyarrow import types

    return bool(types.is_float32(kind) or types.is_float16(kind))


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind))


def _words(column: Any, parser: ColumnParser) -> tuple[Array, list[Reject]]:
    """Stripped text, "" for "no value", and what has no place in a table."""
    import pyarrow as arrow
    from pyarrow import types

    column = _plain(column)
    if _is_small(column.type) and len(parser.no_value.numbers):
        column = arrow.chunked_array([arrow.array(_floats(column, parser), from_pandas=True)])
    column = column.combine_chunks()
    if types.is_nested(column.type) or types.is_null(column.type):
        return parser.typed_words(column.to_pylist())
    try:
        encoded = column.dictionary_encode()
    except arrow.ArrowNotImplementedError:  # of extensions, such as uuid, and of small decimals
        return parser.typed_words(column.to_pylist())
    different, rejects = parser.typed_words([*encoded.dictionary.to_pylist(), None])
    if rejects:
        return parser.typed_words(column.to_pylist())
    places = encoded.indices.fill_null(len(different) - 1).to_numpy()
    return different[places], []


def _texts(column: Any) -> list[str]:
    """Cells to be handed through: text as it stands, numbers as JSON writes them."""
    return [_shown(cell) for cell in _plain(column).to_pylist()]


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    return json.dumps(cell) if isinstance(cell, list | dict) else str(cell)


def _plain(column: Any) -> Any:
    """A column without dictionaries, and times as fine as Python has them."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_timestamp(column.type) and column.type.unit == "ns":
        import pyarrow as arrow

        column = column.cast(arrow.timestamp("us", column.type.tz), safe=False)
    return column
