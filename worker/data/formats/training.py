"""Reading what a training learns from, as `[data]` says: raw rows and the target, unencoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.worker.data.preprocessing import Raw, row_count
from singlepoint.worker.data.preprocessing.identity import own_type
from singlepoint.worker.nn.arrays import Array

from . import Table, existing, format_of, no_such_column, open_array, open_table
from .arrays import ArrayFile
from .delimited import parse_numbers
from .tile import Tile

_CHUNK_ROWS = 4096
_MOST_ROWS_LOOKED_AT = 200_000


@dataclass(frozen=True)
class RawData:
    """Rows as they stand in the file.

    x: columns by name, one column of text, or an array.  y: text objects or numbers, (n,) or (n, k).
    text: the name of the text column ("" when x is a plain array of text), None for numbers.
    targets: names of its columns; none of an array in a file of its own.
    complete: False when only the first rows were read.
    """

    x: Raw
    y: Array
    text: str | None
    targets: tuple[str, ...]
    complete: bool = True

    @property
    def rows(self) -> int:
        """How many."""
        return row_count(self.x)

    @property
    def target_name(self) -> str:
        """What to call the target in messages."""
        return ", ".join(self.targets) or "y"


def data_files(data: DataSpec, base: Path) -> list[Path]:
    """Every file the data is in, in a fixed order. Raises NotFound for the first that is missing."""
    names = ("path", "target_path", "validation_path", "validation_target_path")
    return [existing(base / path, f"data.{name}") for name in names if (path := getattr(data, name)) is not None]


def read_training_data(
    data: DataSpec, preprocessing: PreprocessingSpec, base: Path, *, most_cells: int | None = None
) -> RawData:
    """What `data` describes, without the validation file.

    most_cells: stop when about that many values were read (for a look at a large file).
    Raises NotFound, InvalidInput with every problem that can be told apart.
    """
    path = base / data.path
    if format_of(path) == "array":
        return _read_arrays(data, preprocessing, path, base, most_cells)
    table = open_table(path, header=data.header)
    return _read_table(table, _columns(table, data, preprocessing), data, most_cells)


def validation_file(data: DataSpec) -> DataSpec | None:
    """The description of the file that holds the validation rows, when they have one of their own."""
    if data.validation_path is None:
        return None
    return data.model_copy(update={"path": data.validation_path, "target_path": data.validation_target_path})


@dataclass(frozen=True)
class _Columns:
    """Which columns of a table are read, and how."""

    numbers: tuple[str, ...]
    words: tuple[str, ...]
    features: tuple[str, ...]
    targets: tuple[str, ...]


def _columns(table: Table, data: DataSpec, preprocessing: PreprocessingSpec) -> _Columns:
    """Raises InvalidInput with every column that is named but not there, or named for two things."""
    targets = (data.target,) if isinstance(data.target, str) else data.target or ()
    named = {
        "data.target": targets,
        "data.features": data.features or (),
        "data.ignore": data.ignore,
        "data.text": (data.text,) if data.text is not None else (),
        "preprocessing.categorical": preprocessing.categorical,
    }
    problems = [
        no_such_column(name, table.names, field)
        for field, names in named.items()
        for name in names
        if name not in table.names
    ]
    if not targets:
        problems.append(Problem("data.target", "is needed: the column to be learned", _listed(table.names)))
    chosen = data.features or tuple(name for name in table.names if name not in {*targets, *data.ignore})
    features = chosen if data.text is None else (data.text,)
    problems += [Problem("data.features", f"'{name}' is the target") for name in features if name in targets]
    problems += [
        Problem("preprocessing.categorical", f"'{name}' is not a feature")
        for name in preprocessing.categorical
        if name in table.names and name not in features
    ]
    if not features:
        problems.append(Problem("data.path", "has no column besides the target", "features are needed to learn from"))
    if problems:
        raise InvalidInput(problems)
    words = features if data.text is not None else preprocessing.categorical
    return _Columns(tuple(n for n in features if n not in words), (*words, *targets), features, targets)


def _read_table(table: Table, columns: _Columns, data: DataSpec, most_cells: int | None) -> RawData:
    width = len(columns.numbers) + len(columns.words)
    most_rows = _most_rows(most_cells, width)
    tiles: list[dict[str, Array]] = []
    rows, complete = 0, True
    for tile in table.tiles(None, _CHUNK_ROWS, numbers=columns.numbers, words=columns.words, missing=data.missing):
        tiles.append(_named(tile))
        rows += tile.rows
        if most_rows is not None and rows >= most_rows:
            complete = False
            break
    if not rows:
        raise InvalidInput(Problem("data.path", f"{table.path.name} has no rows", "give at least a few"))
    # Each column's pieces are given up as it is put together, so that the table is never in memory twice.
    read = {name: np.concatenate([tile.pop(name) for tile in tiles]) for name in (*columns.numbers, *columns.words)}
    return RawData(
        x={name: read[name] for name in columns.features},
        y=_target(read, columns.targets),
        text=data.text,
        targets=columns.targets,
        complete=complete,
    )


def _named(tile: Tile) -> dict[str, Array]:
    assert isinstance(tile.raw, Mapping)
    return dict(tile.raw)


def _target(read: Mapping[str, Array], targets: Sequence[str]) -> Array:
    if len(targets) == 1:
        return own_type(read[targets[0]].tolist())
    return np.stack([parse_numbers(read[name].tolist(), name) for name in targets], axis=1)


def _read_arrays(
    data: DataSpec, preprocessing: PreprocessingSpec, path: Path, base: Path, most_cells: int | None
) -> RawData:
    _check_no_columns(data)
    x, y = _open_pair(data, path, base)
    if y.dtype.kind == "U" and len(y.shape) > 1:
        raise InvalidInput(Problem("data.target", f"has shape {y.shape}", "class names must be one a row"))
    if x.shape[0] != y.shape[0]:
        field = "data.target_path" if data.target_path else "data.target"
        raise InvalidInput(Problem(field, f"has {y.shape[0]} rows, but x has {x.shape[0]}"))
    if x.dtype.kind == "U" and len(x.shape) > 1:
        raise InvalidInput(Problem("data.path", f"text must be one string a row, the array has shape {x.shape}"))
    values = x.read(_most_rows(most_cells, max(1, int(np.prod(x.shape[1:])))))
    return RawData(
        x=values[:, None] if values.ndim == 1 and x.dtype.kind != "U" else values,
        y=np.asarray(y.read(len(values))),
        text="" if x.dtype.kind == "U" else None,
        targets=(y.name,) if data.target_path is None else (),
        complete=len(values) == x.shape[0],
    )


def _open_pair(data: DataSpec, path: Path, base: Path) -> tuple[ArrayFile, ArrayFile]:
    if path.suffix == ".npz":
        name = data.target if isinstance(data.target, str) else "y"
        existing(path, "data.path")
        return open_array(path, "x"), open_array(path, name)
    if data.target_path is None:
        hint = 'target_path = "labels.npy"'
        raise InvalidInput(Problem("data.target_path", f"is needed: {path.name} holds only the inputs", hint))
    target = existing(base / data.target_path, "data.target_path")
    if format_of(target, "data.target_path") != "array":
        raise InvalidInput(Problem("data.target_path", f"{target.name} is not an array", "use .npy, .npz or idx"))
    return open_array(existing(path, "data.path")), replace(open_array(target, "y"), name="y")


def _check_no_columns(data: DataSpec) -> None:
    named = {"features": data.features, "ignore": data.ignore or None, "text": data.text}
    problems = [
        Problem(f"data.{field}", "is for tables; an array has no named columns")
        for field, value in named.items()
        if value
    ]
    if problems:
        raise InvalidInput(problems)


def _most_rows(most_cells: int | None, width: int) -> int | None:
    return None if most_cells is None else max(1, min(_MOST_ROWS_LOOKED_AT, most_cells // width))


def _listed(names: Sequence[str]) -> str:
    return "one of " + ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
