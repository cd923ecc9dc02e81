"""Reading what a training learns from, as `[data]` says: raw rows and the target, unencoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.worker.data.preprocessing import BadRow, Raw, row_count
from singlepoint.worker.data.preprocessing.identity import own_numbers, own_type
from singlepoint.worker.data.preprocessing.numbers import numbers
from singlepoint.worker.ground.process import usable_cores
from singlepoint.worker.nn.arrays import Array

from . import Table, existing, files_of, folders, format_of, no_such_column, open_array, open_table
from .arrays import ArrayFile, member_of
from .cells import ColumnParser, Marks, NoValue
from .folders import ImageFiles
from .paths import Arrays
from .streams import Opener, plainly
from .tile import MOST_ROWS_CHECKED, Tile, Wanted, in_field, most_rows

MOST_THREADS = 4
"""That parse at once, with a tile each in hand: what they take is within the margin of a job's memory."""

_CHUNK_ROWS = 4096  # at least so many are read at a time, in one thread
_FEW_ROWS = 64


@dataclass(frozen=True)
class RawData:
    """Rows as they stand in the files.

    x: columns by name, one column of text, or an array.  y: text objects or numbers, (n,) or (n, k).
    text: the name of the text column ("" when x is a plain array of text), None for numbers.
    targets: names of its columns; none of an array in a file of its own.
    complete: False when only the first rows were read.
    parts: names of the files and their rows, where a row must be told by its file.
    about_rows: how many the file has, to judge by those; None when they do not tell.
    paths: the files themselves.  settled: what the files say of fields of `[data]` that may be left open.
    ignored: columns of the table that are not used.
    """

    x: Raw
    y: Array
    text: str | None
    targets: tuple[str, ...]
    complete: bool = True
    parts: tuple[tuple[str, int], ...] = ()
    about_rows: int | None = None
    paths: tuple[Path, ...] = ()
    settled: Mapping[str, object] = dataclasses.field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The columns that were read as words: categories, or text."""
        if not isinstance(self.x, Mapping):
            return ()
        return tuple(name for name, column in self.x.items() if column.dtype.kind in "OU")

    @property
    def rows(self) -> int:
        """How many."""
        return row_count(self.x)

    @property
    def target_name(self) -> str:
        """What to call the target in messages."""
        return ", ".join(self.targets) or "y"

    def located(self, bad: BadRow) -> BadRow:
        """The same trouble with the name of its file, and its row counted there."""
        first_row = 0
        for file, rows in self.parts:
            if bad.row < first_row + rows:
                return bad.shifted(-first_row, file)
            first_row += rows
        return bad


_FIELDS = ("path", "target_path", "validation_path", "validation_target_path")


def data_files(data: DataSpec, base: Path) -> list[Path]:
    """Every file the data is in, in a fixed order. Raises NotFound for the first that is missing."""
    found: list[Path] = []
    for name in _FIELDS:
        if (paths := getattr(data, name)) is not None:
            found += _plain_files(files_of(paths, base, f"data.{name}"), f"data.{name}")
    return list(dict.fromkeys(found))


def _plain_files(paths: Iterable[Path], field: str) -> list[Path]:
    """The files themselves: of a folder of classes all that lie in it, of `mnist.npz[x]` the archive."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.rglob("*") if one.is_file())
        else:
            found.append(existing(member_of(path)[0], field))
    return found


def read_training_data(
    data: DataSpec,
    preprocessing: PreprocessingSpec,
    base: Path,
    *,
    most_cells: int | None = None,
    opener: Opener = plainly,
) -> RawData:
    """What `data` describes, without the validation file.

    most_cells: stop when about that many values were read (for a look at a large file).  opener: of what is streamed.
    Raises NotFound, InvalidInput with every problem that can be told apart.
    """
    return _read(data, preprocessing, base, most_cells, "data.path", opener)


def read_validation_data(
    data: DataSpec,
    preprocessing: PreprocessingSpec,
    base: Path,
    first: RawData,
    *,
    most_cells: int | None = None,
    opener: Opener = plainly,
) -> RawData | None:
    """The rows of `data.validation_path`, with the columns that were read of the first file, and no others.

    None when there is no such file. Raises as `read_training_data`, naming this file.
    """
    if data.validation_path is None:
        return None
    changes: dict[str, object] = {"path": data.validation_path, "target_path": data.validation_target_path}
    if isinstance(first.x, Mapping) and first.text is None:
        changes |= {"features": tuple(first.x), "ignore": ()}
    like = {name: str(mark) for name, mark in first.settled.items()}
    data = data.model_copy(update=changes)
    return _read(data, preprocessing, base, most_cells, "data.validation_path", opener, like)


def shown_source(paths: Sequence[Path], said: Mapping[str, object]) -> str:
    """The files, and how they turned out to be written (see `Table.said`), for the user."""
    shown = paths[0].name if len(paths) == 1 else f"{len(paths)} files, {paths[0].name} … {paths[-1].name}"
    fields = ("separator", "decimal", "thousands", "comment", "encoding")
    written = ", ".join(f"{name} {said[name]!r}" for name in fields if said.get(name))
    return f"{shown} ({written})" if written else shown


def _read(
    data: DataSpec,
    preprocessing: PreprocessingSpec,
    base: Path,
    most_cells: int | None,
    field: str,
    opener: Opener,
    like: Mapping[str, str] | None = None,
) -> RawData:
    paths = files_of(data.path, base, field)
    with in_field(field, paths[0].name):
        match format_of(paths[0], field):
            case "array" | "images":
                raw = _read_arrays(data, paths, base, most_cells)
            case "folder":
                raw = _read_folder(_only(paths, field), most_cells)
            case _:
                table = open_table(paths, header=data.header, said=data, like=like, field=field, opener=opener)
                columns = _columns(table, data, preprocessing, field)
                named = len(paths) > 1 or field != "data.path"
                raw = _read_columns(table, columns, data, _most_rows(most_cells, columns.width), named=named)
                if preprocessing.identity == "value" and raw.y.ndim == 1:
                    raw = replace(raw, y=_by_value(raw, table, columns, data))
    return replace(raw, paths=tuple(paths))


def _only(paths: Sequence[Path], field: str) -> Path:
    if len(paths) > 1:
        raise InvalidInput(Problem(field, f"{len(paths)} folders cannot be read as one", "put them into one"))
    return paths[0]


@dataclass(frozen=True)
class _Columns:
    """Which columns of a table are read, and how."""

    numbers: tuple[str, ...]
    words: tuple[str, ...]
    features: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many are read."""
        return len(self.numbers) + len(self.words)


def _columns(table: Table, data: DataSpec, preprocessing: PreprocessingSpec, field: str) -> _Columns:
    """Raises InvalidInput with every column that is named but not there, or named for two things."""
    targets = (data.target,) if isinstance(data.target, str) else data.target or ()
    categorical = () if preprocessing.categorical == "auto" else preprocessing.categorical
    named = {
        "data.target": targets,
        "data.features": data.features or (),
        "data.ignore": data.ignore,
        "data.text": (data.text,) if data.text is not None else (),
        "preprocessing.categorical": categorical,
    }
    if field == "data.path" and isinstance(data.missing, dict):
        named["data.missing"] = tuple(data.missing)
    there = set(table.names)
    problems = [
        no_such_column(name, table.names, section if field == "data.path" else f"{field}: {table.path.name}")
        for section, names in named.items()
        for name in names
        if name not in there
    ]
    if not targets:
        problems.append(Problem("data.target", "is needed: the column to be learned", _listed(table.names)))
    aside = {*targets, *data.ignore}
    chosen = data.features or tuple(name for name in table.names if name not in aside)
    features = chosen if data.text is None else (data.text,)
    used = set(features)
    problems += [Problem("data.features", f"'{name}' is the target") for name in targets if name in used]
    problems += [
        Problem("preprocessing.categorical", f"'{name}' is not a feature")
        for name in categorical
        if name in there and name not in used
    ]
    if not features:
        problems.append(Problem("data.path", "has no column besides the target", "features are needed to learn from"))
    if problems:
        raise InvalidInput(problems)
    if preprocessing.categorical == "auto" and data.text is None:
        categorical = _found_categories(table, features, data)
    words = features if data.text is not None else categorical
    written = set(words)
    typed = {name for name in targets if _typed(name, table, data)} if preprocessing.identity == "value" else set()
    return _Columns(
        (*(name for name in features if name not in written), *(name for name in targets if name in typed)),
        (*words, *(name for name in targets if name not in typed)),
        features,
        targets,
    )


def _typed(target: str, table: Table, data: DataSpec) -> bool:
    """Whether its cells are numbers by their type, and none of them may mean "no value" by the way it is spelled."""
    return target in table.surely_numbers and not len(NoValue.of(data.missing, target).numbers)


def _found_categories(table: Table, features: Sequence[str], data: DataSpec) -> tuple[str, ...]:
    """The features that hold something else than numbers and truth values in the first rows."""
    found: set[str] = set()
    for rows in (_FEW_ROWS, _CHUNK_ROWS):  # most are found in a few rows; none of these is looked at again
        left = [name for name in features if name not in found | table.surely_numbers]
        for tile in islice(table.tiles(None, rows, Wanted(numbers=left, missing=data.missing)), 1):
            found |= {reject.column for reject in tile.rejects}
    return tuple(name for name in features if name in found)


def _read_columns(table: Table, columns: _Columns, data: DataSpec, limit: int | None, *, named: bool) -> RawData:
    """limit: stop when so many rows were read.  named: whether messages must tell the file."""
    wanted = Wanted(columns.numbers, columns.words, missing=data.missing)
    gathered = _Gathered()
    parts: dict[str, int] = {}
    complete = True
    at_once = min(table.cells_at_once // columns.width, limit or MOST_ROWS_CHECKED)
    threads = 1 if limit is not None else min(usable_cores(), MOST_THREADS)  # a look at the first rows reads no further
    least = _CHUNK_ROWS if threads == 1 else _FEW_ROWS  # of a wide table several large tiles would be too much memory
    for tile in table.tiles(None, max(least, at_once), wanted, threads=threads):
        file = tile.file or (table.path.name if named else "")
        parts[file] = parts.get(file, 0) + tile.rows
        about_rows = about_rows_of(table, tile, gathered.rows + tile.rows, len(parts))
        gathered.add(_named(replace(tile, file=file).whole()), about_rows or 0)
        if limit is not None and gathered.rows >= limit:
            complete = False
            break
    if not gathered.rows:
        raise InvalidInput(Problem("data.path", f"{table.path.name} has no rows", "give at least a few"))
    read, used = gathered.columns, {*columns.features, *columns.targets}
    return RawData(
        x={name: read[name] for name in columns.features},
        y=_target(read, columns.targets, data, table),
        text=data.text,
        targets=columns.targets,
        complete=complete,
        parts=tuple(parts.items()) if named else (),
        about_rows=gathered.rows if complete else about_rows,
        settled=table.said,
        ignored=tuple(name for name in table.names if name not in used),
    )


class _Gathered:
    """The columns of a table, filled tile by tile: what is made of a tile is given up at once, and memory that is kept
    for rows yet to come is not used before they come."""

    def __init__(self) -> None:
        self.rows = self._room = 0
        self._columns: dict[str, Array] = {}

    def add(self, tile: Mapping[str, Array], about_rows: int) -> None:
        """about_rows: how many there may be in all, 0 if nothing tells."""
        end = self.rows + len(next(iter(tile.values())))
        if end > self._room:
            self._room = max(end, about_rows + about_rows // 16, self._room * 2)
            for name, values in tile.items():
                column = np.empty(self._room, values.dtype)
                column[: self.rows] = self._columns.get(name, column)[: self.rows]
                self._columns[name] = column
        for name, values in tile.items():
            self._columns[name][self.rows : end] = values
        self.rows = end

    @property
    def columns(self) -> dict[str, Array]:
        """As far as they are filled."""
        return {name: column[: self.rows] for name, column in self._columns.items()}


def about_rows_of(table: Table, last: Tile, rows: int, files: int) -> int | None:
    """How many rows the file has, to judge by where the ones read end; None when that does not tell."""
    if table.rows is not None:
        return table.rows
    offset = last.cursor.get("offset", 0)
    plain = table.path.suffix in {".csv", ".tsv", ".data", ".txt"} and files == 1
    return table.path.stat().st_size * rows // offset if offset and plain else None


def _named(tile: Tile) -> dict[str, Array]:
    assert isinstance(tile.raw, Mapping)
    return dict(tile.raw)


def _no_value(table: Table, data: DataSpec, name: str) -> NoValue:
    """What means "no value" in this column, also as the file spells it."""
    marks = Marks(table.said.get("decimal", "."), table.said.get("thousands", ""))
    return NoValue.of(data.missing, name, marks)


def _target(read: Mapping[str, Array], targets: Sequence[str], data: DataSpec, table: Table) -> Array:
    if len(targets) == 1:
        return read[targets[0]]
    return np.stack([_as_numbers(read[name], name, _no_value(table, data, name)) for name in targets], axis=1)


def _as_numbers(column: Array, name: str, no_value: NoValue) -> Array:
    if column.dtype.kind == "f":
        return column + 0.0  # a zero that was spelled has no sign
    values, rejects = ColumnParser(name, ("",)).numbers(column.tolist())  # as words they had the file's own marks
    values = no_value.taken_out(values)
    return Tile({name: values}, len(values), 0, {}, rejects=tuple(rejects)).whole().raw[name]


def _by_value(raw: RawData, table: Table, columns: _Columns, data: DataSpec) -> Array:
    """The one target in its own type. What was read as numbers is read again where only its text tells."""
    if raw.y.dtype.kind != "f":
        return _without_missing(own_type(raw.y.tolist()), _no_value(table, data, raw.target_name), data)
    found = own_numbers(raw.y)
    if found is not None:
        return found
    alone = _Columns((), columns.targets, (), columns.targets)
    again = _read_columns(table, alone, data, None if raw.complete else raw.rows, named=False)
    return own_type(again.y[: raw.rows].tolist())


def _without_missing(y: Array, no_value: NoValue, data: DataSpec) -> Array:
    """Values that are to be learned, "" for "no value": `+999` and `9.99e2` mean what 999 does. Of classes they are
    codes, and others."""
    if y.dtype.kind != "O" or data.task == "classification" or not len(no_value.numbers):
        return y
    try:
        values = numbers([word or "nan" for word in y.tolist()])
    except ValueError:
        return y
    return np.where(np.isin(values, no_value.numbers), "", y)


def _read_arrays(data: DataSpec, paths: Sequence[Path], base: Path, most_cells: int | None) -> RawData:
    _check_no_columns(data)
    x, y, targets = _open_pairs(data, paths, base)
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
        targets=targets,
        complete=len(values) == x.shape[0],
        about_rows=x.shape[0],
    )


def _read_folder(folder: Path, most_cells: int | None) -> RawData:
    x, classes = folders.by_class(folder)
    if not isinstance(x, ImageFiles):
        return RawData(x, classes, "", (), complete=True)
    # Classes follow one another, so that the first images alone would be of one class.
    rows = _most_rows(most_cells, int(np.prod(x.shape[1:]))) or len(classes)
    chosen = np.unique(np.linspace(0, len(classes) - 1, min(rows, len(classes))).astype(int))
    some = replace(x, paths=tuple(x.paths[i] for i in chosen), shape=(len(chosen), *x.shape[1:]))
    return RawData(some.read(), classes[chosen], None, (), complete=len(chosen) == len(classes))


def _open_pairs(
    data: DataSpec, paths: Sequence[Path], base: Path
) -> tuple[ArrayFile | Arrays, ArrayFile | Arrays, tuple[str, ...]]:
    """As `_open_pair`, of several files as one; their targets lie in each of them, or all in one file apart."""
    pairs = [_open_pair(data, path, base) for path in paths]
    x, y, targets = pairs[0]
    if len(pairs) == 1:
        return x, y, targets
    inputs = Arrays([pair[0] for pair in pairs], "data.path")
    return inputs, y if data.target_path else Arrays([pair[1] for pair in pairs], "data.target"), targets


def _open_pair(data: DataSpec, path: Path, base: Path) -> tuple[ArrayFile, ArrayFile, tuple[str, ...]]:
    """Inputs, targets, and the targets' name where it tells something."""
    if format_of(path) != "array":
        hint = "one folder a class: photos/cat/1.png, and data.path = 'photos'"
        raise InvalidInput(Problem("data.path", f"{path.name} is an image: nothing tells its class", hint))
    source, _ = member_of(path)
    existing(source, "data.path")
    if data.target_path is None:
        if source.suffix != ".npz":
            hint = 'target_path = "labels.npy"'
            raise InvalidInput(Problem("data.target_path", f"is needed: {path.name} holds only the inputs", hint))
        name = data.target if isinstance(data.target, str) else "y"
        return open_array(path, "x"), open_array(source, name), (name,)
    target = base / data.target_path
    existing(member_of(target)[0], "data.target_path")
    if format_of(target, "data.target_path") != "array":
        raise InvalidInput(Problem("data.target_path", f"{target.name} is not an array", "use .npy, .npz or idx"))
    with in_field("data.target_path", target.name):
        y = replace(open_array(target, "y"), name="y")
    return open_array(path), y, ()


def _check_no_columns(data: DataSpec) -> None:
    by_column = isinstance(data.missing, dict)
    named = {"features": data.features, "ignore": data.ignore, "text": data.text, "missing": by_column}
    problems = [
        Problem(f"data.{field}", "is for tables; an array has no named columns")
        for field, value in named.items()
        if value
    ]
    problems += [
        Problem(
            "data.missing",
            f"{value:g} cannot mean 'no value' in an array, NaN does",
            f"x = numpy.where(x == {value:g}, numpy.nan, x); leave out rows whose target it is",
        )
        for value in ([] if by_column else NoValue.of(data.missing, "").numbers.tolist())
    ]
    if problems:
        raise InvalidInput(problems)


def _most_rows(most_cells: int | None, width: int) -> int | None:
    return None if most_cells is None else most_rows(width, most_cells)


def _listed(names: Sequence[str]) -> str:
    return "one of " + ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
