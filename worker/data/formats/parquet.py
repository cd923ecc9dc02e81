"""Parquet files, by pyarrow (the optional extra `parquet`). Streamed a batch at a time.

A cursor holds a row group and the rows already taken of it, so going on reads nothing of earlier groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.data.preprocessing.rows import BadRow
from singlepoint.worker.nn.arrays import Array

from .tile import Cursor, Piece, Table, Tile, unreadable


class ParquetFile(Table):
    """A Parquet file of flat columns."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as arrow
            import pyarrow.parquet as parquet
        except ImportError:
            hint = "pip install 'singlepoint[parquet]', or convert the file to CSV"
            raise InvalidInput(Problem(path.name, "reading Parquet needs pyarrow", hint)) from None
        self.path = path
        self._trouble = (arrow.ArrowException, OSError)
        try:
            self._file: Any = parquet.ParquetFile(path)
        except self._trouble as error:
            raise unreadable(path, f"cannot be read: {error}") from None
        self.names: tuple[str, ...] = tuple(self._file.schema_arrow.names)

    def pieces(self, cursor: Cursor | None, tile_rows: int, columns: Sequence[str] = ()) -> Iterator[Piece]:
        """Runs of `tile_rows` rows of these columns, as an Arrow stream."""
        at = cursor or {"group": 0, "skip": 0, "row": 0}
        row = at["row"]
        for table, group, skip in self._tables(at, list(dict.fromkeys(columns)), tile_rows):
            after = {"group": group, "skip": skip, "row": row + len(table)}
            yield Piece(row, len(table), after, _packed(table))
            row += len(table)

    def parser(
        self,
        *,
        numbers: Sequence[str] = (),
        words: Sequence[str] = (),
        kept: Sequence[str] = (),
        missing: Iterable[str] = (),
    ) -> Callable[[Piece], Tile]:
        """See `Table`."""
        absent = frozenset(missing)

        def parse(piece: Piece) -> Tile:
            table, row = _unpacked(piece.content), piece.first_row
            raw: dict[str, Array] = {name: self._numbers(table[name], name, row) for name in numbers}
            raw.update((name, _words(table[name], absent)) for name in words)
            return Tile(raw, piece.rows, row, piece.cursor, {name: _texts(table[name]) for name in kept})

        return parse

    def _tables(self, at: Cursor, names: list[str], tile_rows: int) -> Iterator[tuple[Any, int, int]]:
        """Tables of `tile_rows` rows, across row groups, and where the next one begins (group, rows to skip)."""
        import pyarrow as arrow

        rest, skip = None, at["skip"]
        for group in range(at["group"], self._file.num_row_groups):
            try:
                read = self._file.read_row_group(group, columns=names)
            except self._trouble as error:
                raise unreadable(self.path, f"row group {group} cannot be read: {error}") from None
            before = 0 if rest is None else len(rest)
            table = read.slice(skip) if rest is None else arrow.concat_tables([rest, read.slice(skip)])
            whole = len(table) // tile_rows * tile_rows
            for end in range(tile_rows, whole + 1, tile_rows):
                yield table.slice(end - tile_rows, tile_rows), group, skip + end - before
            rest, skip = table.slice(whole), 0
        if rest is not None and len(rest):
            yield rest, self._file.num_row_groups, 0

    def _numbers(self, column: Any, name: str, first_row: int) -> npt.NDArray[np.float64]:
        try:
            return np.asarray(column.cast("float64").to_numpy(), np.float64)
        except self._trouble:
            hint = "list the column in preprocessing.categorical, or in data.ignore"
            raise BadRow(first_row, name, f"the column has type {column.type}, not numbers", hint) from None


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


def _texts(column: Any) -> list[str]:
    return ["" if cell is None else str(cell) for cell in column.to_pylist()]


def _words(column: Any, missing: frozenset[str]) -> Array:
    words = np.empty(len(column), object)
    words[:] = ["" if (word := text.strip()) in missing else word for text in _texts(column)]
    return words
