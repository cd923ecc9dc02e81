"""Reading data: every file format, whole for training and tile by tile for prediction.

Every reader streams: memory is bounded by the tile. Where a row is read from never changes what it says. A new format
is a file beside this one, a `Format`, and an entry wherever that is looked up here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import DialectFields
from singlepoint.worker.data.preprocessing import (
    ArrayPreprocessor,
    Preprocessor,
    SequencePreprocessor,
    TablePreprocessor,
    TfIdfPreprocessor,
)

from . import folders
from .arrays import ArrayFile, is_idx, member_of, open_array
from .arrow import FeatherFile, ParquetFile
from .cells import NoValue
from .delimited import CsvFile
from .dialect import Learned
from .folders import ImageFiles
from .json_lines import JsonLinesFile
from .paths import Arrays, Tables, files_of
from .streams import PACKED, Opener, plainly, unpacked_name
from .tile import Cursor, Piece, RowSource, Table, Tile, Wanted, existing, unreadable

Format = Literal["csv", "parquet", "arrow", "json", "array", "images", "folder"]

_SUFFIXES: dict[str, Format] = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".data", ".txt"), "csv"),
    ".parquet": "parquet",
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
    **dict.fromkeys((".jsonl", ".ndjson"), "json"),
    **dict.fromkeys((".npy", ".npz"), "array"),
    **dict.fromkeys((".png", ".jpg", ".jpeg"), "images"),
}
_PACKABLE = ("csv", "json", "array")
_KNOWN = ".csv, .tsv, .data, .jsonl, .npy, idx (all also .gz or .zst), .npz, .parquet, .arrow, .feather, a folder"
_WAYS_OUT = {
    ".xlsx": "save the sheet as CSV (UTF-8) or, with pandas, pandas.read_excel(…).to_parquet('data.parquet')",
    ".xls": "save the sheet as CSV (UTF-8)",
    ".ods": "save the sheet as CSV (UTF-8)",
    ".json": "write an object a line, as .jsonl: frame.to_json('data.jsonl', orient='records', lines=True)",
    ".pkl": "no pickle is ever loaded: write Parquet, CSV or .npy",
    ".pickle": "no pickle is ever loaded: write Parquet, CSV or .npy",
}


def format_of(path: Path, field: str = "data.path") -> Format:
    """What a file holds, by its name. Raises InvalidInput for a name we do not know."""
    if path.is_dir():
        return "folder"
    path, _ = member_of(path)
    if is_idx(path):
        return "array"
    suffix = unpacked_name(path).suffix.lower()
    kind = _SUFFIXES.get(suffix)
    if kind is None or (path.suffix in PACKED and (kind not in _PACKABLE or suffix == ".npz")):
        hint = _WAYS_OUT.get(suffix, f"one of {_KNOWN}")
        raise InvalidInput(Problem(field, f"cannot tell the format of {path.name}", hint))
    return kind


def open_table(
    paths: Path | Sequence[Path],
    *,
    header: bool = True,
    said: DialectFields | None = None,
    like: Mapping[str, str] | None = None,
    learned: Learned | None = None,
    field: str = "data.path",
    opener: Opener = plainly,
) -> Table:
    """A table in a file, or in several with the same columns. Raises NotFound, InvalidInput.

    header, said: of CSV files.  like: how one that was read before these turned out to be written (see `Table.said`);
    several are written as the first.  learned: what a model tells of them.  field: of the spec that names the files.
    opener: of files that are streamed.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    section = "data." if field.startswith("data.") else ""

    def open_one(path: Path, like: Mapping[str, str] | None) -> Table:
        match format_of(path, field):
            case "parquet":
                return ParquetFile(existing(path, field))
            case "arrow":
                return FeatherFile(existing(path, field))
            case "json":
                return JsonLinesFile(existing(path, field), opener)
            case "csv":
                existing(path, field)
                return CsvFile(
                    path, header=header, said=said, like=like, learned=learned, section=section, opener=opener
                )
            case kind:
                raise InvalidInput(Problem(field, f"{path.name} is no table ({kind})", "name files of one kind"))

    first = open_one(files[0], like)
    return first if len(files) == 1 else Tables(first, [open_one(path, first.said) for path in files[1:]], field)


def open_rows(
    paths: Path | Sequence[Path],
    preprocessor: Preprocessor,
    keep: Sequence[str] | None = None,
    said: DialectFields | None = None,
    beside: Sequence[str] = (),
    learned: Mapping[str, Any] | None = None,
) -> RowSource:
    """The rows of one or more files, as a model with this preprocessor takes them raw.

    keep: columns to hand through as they stand; None: all there are.  said: what is known of a CSV's dialect.
    beside: columns to give as they stand too, those that are there.  learned: the `[data]` of the model's training.
    Raises NotFound; InvalidInput when the files' columns or shape are not the model's, with every difference.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    kind = format_of(files[0], "input")
    if kind in ("array", "images", "folder"):
        return _matching_array(_open_arrays(files, kind), preprocessor, keep)
    if isinstance(preprocessor, ArrayPreprocessor):
        shape = ", ".join(map(str, preprocessor.input_shape))
        raise InvalidInput(Problem("input", f"{files[0].name} is a table, but the model takes arrays (n, {shape})"))
    like_training = _learned(preprocessor, beside, learned or {})
    table = open_table(files, header=preprocessor.header, said=said, learned=like_training, field="input")
    names = set(table.names)
    problems = _absent(preprocessor.input_names, table.names)
    problems += [no_such_column(name, table.names, "pass_through") for name in keep or () if name not in names]
    if problems:
        raise InvalidInput(problems)
    kept = table.names if keep is None else tuple(keep)
    return TableRows(table, preprocessor, kept, tuple(name for name in beside if name in names))


def _learned(
    preprocessor: TablePreprocessor | TfIdfPreprocessor | SequencePreprocessor,
    beside: Sequence[str],
    data: Mapping[str, Any],
) -> Learned:
    """beside: the targets, which are compared as numbers, too.  data: of the training, as far as the model tells."""
    columns = (*preprocessor.input_names, *beside) if preprocessor.header else ()
    return Learned(columns, data.get("decimal") or ".", data.get("thousands") or "")


def _open_arrays(files: Sequence[Path], kind: Format) -> ArrayFile | Arrays | ImageFiles:
    if kind == "images":
        return folders.open_images([existing(path) for path in files])
    if kind == "array":
        for path in files:
            if format_of(path, "input") != "array":
                raise InvalidInput(Problem("input", f"{path.name} is no array", "name files of one kind"))
            existing(member_of(path)[0])
        arrays = [open_array(path) for path in files]
        return arrays[0] if len(arrays) == 1 else Arrays(arrays, "input")
    if len(files) > 1:
        raise InvalidInput(Problem("input", f"{len(files)} folders cannot be read as one", "put them into one"))
    images, _ = folders.by_class(files[0], "input")
    if isinstance(images, np.ndarray):
        raise InvalidInput(Problem("input", f"{files[0].name} holds texts", "give them as a column of a table"))
    return images


@dataclass(frozen=True)
class TableRows:
    """The columns of a table that a model takes, those handed through, and those given beside."""

    table: Table
    preprocessor: TablePreprocessor | TfIdfPreprocessor | SequencePreprocessor
    columns: tuple[str, ...]
    beside: tuple[str, ...] = ()

    @property
    def said(self) -> Mapping[str, str]:
        """How the file turned out to be written, by the fields of a spec."""
        return self.table.said

    def pieces(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Piece]:
        """See `RowSource`."""
        return self.table.pieces(cursor, tile_rows, (*self.preprocessor.input_names, *self._kept))

    @property
    def _kept(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.columns, *self.beside)))

    @cached_property
    def parse(self) -> Callable[[Piece], Tile]:
        """See `RowSource`."""
        model = self.preprocessor
        numbers = set(model.number_names)
        words = tuple(name for name in model.input_names if name not in numbers)
        return self.table.parser(Wanted(model.number_names, words, self._kept, model.missing))

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
    there = set(names)
    absent = [name for name in wanted if name not in there]
    if len(absent) <= _FEW:
        return [no_such_column(name, names, "input") for name in absent]
    lacks = f"lacks {len(absent)} of the {len(wanted)} columns that the model needs: {_some(absent)}"
    return [Problem("input", f"{lacks}; it has: {_some(names)}")]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _matching_array(
    found: ArrayFile | Arrays | ImageFiles, preprocessor: Preprocessor, keep: Sequence[str] | None
) -> ArrayFile | Arrays | ImageFiles:
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
    if not isinstance(found, ImageFiles) and found.shape[1:] == () and expected == (1,):
        found = found.as_column()
    if found.shape[1:] != expected or (found.dtype.kind != "U") != numbers:
        takes = f"{'numbers' if numbers else 'text'} of shape (n, {', '.join(map(str, expected))})"
        raise InvalidInput(
            Problem("input", f"{found.path.name} holds {found.dtype} {found.shape}, the model takes {takes}")
        )
    if isinstance(preprocessor, TablePreprocessor) and not isinstance(found, ImageFiles):
        no_value = tuple(NoValue.of(preprocessor.missing, name) for name in preprocessor.input_names)
        return found.with_gaps(no_value) if any(len(one.numbers) for one in no_value) else found
    return found


__all__ = [
    "ArrayFile",
    "CsvFile",
    "Cursor",
    "Format",
    "Piece",
    "RowSource",
    "Table",
    "TableRows",
    "Tile",
    "Wanted",
    "existing",
    "files_of",
    "format_of",
    "member_of",
    "no_such_column",
    "open_array",
    "open_rows",
    "open_table",
    "unreadable",
]
