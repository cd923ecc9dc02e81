"""Reading data: CSV, Parquet, .npy, .npz and idx, whole for training and tile by tile for prediction.

Every reader streams: memory is bounded by the tile. Where a row is read from never changes what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Literal

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.data.preprocessing import (
    ArrayPreprocessor,
    Preprocessor,
    SequencePreprocessor,
    TablePreprocessor,
    TfIdfPreprocessor,
)

from .arrays import ArrayFile, is_idx, open_array
from .delimited import CsvFile
from .parquet import ParquetFile
from .tile import Cursor, Piece, RowSource, Table, Tile, existing, unreadable

_SUFFIXES: dict[str, Literal["csv", "parquet", "array"]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".data": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".npy": "array",
    ".npz": "array",
}


def format_of(path: Path, field: str = "data.path") -> Literal["csv", "parquet", "array"]:
    """What a file holds, by its name. Raises InvalidInput for a name we do not know."""
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if is_idx(path):
        return "array"
    if suffix not in _SUFFIXES or (path.suffix == ".gz" and _SUFFIXES[suffix] != "csv"):
        known = ".csv, .tsv, .data (also .gz), .parquet, .npy, .npz, idx (-ubyte, .idx, also .gz)"
        raise InvalidInput(Problem(field, f"cannot tell the format of {path.name}", f"one of {known}"))
    return _SUFFIXES[suffix]


def open_table(path: Path, *, header: bool = True, field: str = "data.path") -> Table:
    """A file with named columns. Raises NotFound, InvalidInput."""
    kind = format_of(path, field)
    existing(path, field)
    return ParquetFile(path) if kind == "parquet" else CsvFile(path, header=header)


def open_rows(path: Path, preprocessor: Preprocessor, keep: Sequence[str] | None = None) -> RowSource:
    """The rows of a file, as a model with this preprocessor takes them raw.

    keep: columns to hand through as they stand; None: all there are.
    Raises NotFound; InvalidInput when the file's columns or shape are not the model's, with every difference.
    """
    existing(path)
    if format_of(path, "input") == "array":
        return _matching_array(open_array(path), preprocessor, keep)
    if isinstance(preprocessor, ArrayPreprocessor):
        shape = ", ".join(map(str, preprocessor.input_shape))
        raise InvalidInput(Problem("input", f"{path.name} is a table, but the model takes arrays (n, {shape})"))
    table = open_table(path, header=preprocessor.header, field="input")
    problems = _absent(preprocessor.input_names, table.names)
    problems += [no_such_column(name, table.names, "pass_through") for name in keep or () if name not in table.names]
    if problems:
        raise InvalidInput(problems)
    return TableRows(table, preprocessor, table.names if keep is None else tuple(keep))


@dataclass(frozen=True)
class TableRows:
    """The columns of a table that a model takes, and those handed through."""

    table: Table
    preprocessor: TablePreprocessor | TfIdfPreprocessor | SequencePreprocessor
    columns: tuple[str, ...]

    def pieces(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Piece]:
        """See `RowSource`."""
        return self.table.pieces(cursor, tile_rows, (*self.preprocessor.input_names, *self.columns))

    @cached_property
    def parse(self) -> Callable[[Piece], Tile]:
        """See `RowSource`."""
        model = self.preprocessor
        words = tuple(name for name in model.input_names if name not in model.number_names)
        return self.table.parser(numbers=model.number_names, words=words, kept=self.columns, missing=model.missing)

    def tiles(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Tile]:
        """See `RowSource`."""
        return map(self.parse, self.pieces(cursor, tile_rows))


def no_such_column(name: str, names: Sequence[str], field: str) -> Problem:
    """What to say of a column that was asked for and is not among `names`."""
    close = get_close_matches(name, names, n=1)
    return Problem(
        field, f"has no column '{name}'; it has: {_some(names)}", f"did you mean '{close[0]}'?" if close else ""
    )


_FEW = 3


def _absent(wanted: Sequence[str], names: Sequence[str]) -> list[Problem]:
    """The columns a model needs and a table lacks: each by itself while they are few, else in one sentence."""
    absent = [name for name in wanted if name not in names]
    if len(absent) <= _FEW:
        return [no_such_column(name, names, "input") for name in absent]
    lacks = f"lacks {len(absent)} of the {len(wanted)} columns that the model needs: {_some(absent)}"
    return [Problem("input", f"{lacks}; it has: {_some(names)}")]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _matching_array(found: ArrayFile, preprocessor: Preprocessor, keep: Sequence[str] | None) -> ArrayFile:
    if keep:
        raise InvalidInput(
            Problem("pass_through", f"an array has no named columns to pass through, such as '{keep[0]}'")
        )
    match preprocessor:
        case ArrayPreprocessor():
            expected, numbers = preprocessor.input_shape, True
        case _ if preprocessor.type == "table":
            expected, numbers = (len(preprocessor.columns),), True
        case _:
            expected, numbers = (), False
    if found.shape[1:] != expected or (found.dtype.kind != "U") != numbers:
        takes = f"{'numbers' if numbers else 'text'} of shape (n, {', '.join(map(str, expected))})"
        raise InvalidInput(
            Problem("input", f"{found.path.name} holds {found.dtype} {found.shape}, the model takes {takes}")
        )
    return found


__all__ = [
    "ArrayFile",
    "CsvFile",
    "Cursor",
    "Piece",
    "RowSource",
    "Table",
    "Tile",
    "existing",
    "format_of",
    "no_such_column",
    "open_array",
    "open_rows",
    "open_table",
    "unreadable",
]
