"""What Python code hands in as x and y, as raw rows and targets: arrays, lists, mappings, tables of pandas and polars.

Columns go by their names, in any order. Rows without names are taken in the training's order of columns.
"""

from __future__ import annotations

import contextlib
import decimal
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from singlepoint.jobs.errors import Problem
from singlepoint.worker.data.frames import (
    DATES,
    column_names,
    float_of,
    is_table,
    named_cells,
    named_columns,
    plain_column,
    unmasked,
)
from singlepoint.worker.data.gaps import Gaps
from singlepoint.worker.data.preprocessing import ArrayPreprocessor, Preprocessor, Raw, TablePreprocessor, row_count
from singlepoint.worker.data.preprocessing.identity import is_missing
from singlepoint.worker.nn.arrays import Array

from .refusals import BadArgumentRow, InvalidArgument, InvalidArgumentType, refusals, refused

_NO_CELLS = (*DATES, dict, list, tuple, set)
_CATEGORIES = ("category", "Categorical", "Enum", "dictionary")  # pandas, polars, Arrow

_EXACT = 2.0**53
"""From here on a float may stand for several whole numbers."""


def raw_rows(x: Any, argument: str = "x", *, categorical: Sequence[str] = (), order: Sequence[str] = ()) -> Raw:
    """x as raw rows: columns by name, numbers (n, …), or one string a row (n,).

    categorical: columns in which a date is a word, and a number keeps its type.
    order: what the columns of rows without names are called; left out, by their positions.
    Raises InvalidArgument, naming argument and column.
    """
    if _is_sparse(x):
        raise refused(argument, "is a sparse matrix", "give it as dense rows: x.toarray()")
    with refusals():
        if is_table(x):
            raw: Raw = named_columns(x, argument=argument, categorical=categorical)
        else:
            raw = _array(x, argument, categorical, order)
    rows, columns = row_count(raw), len(raw) if isinstance(raw, Mapping) else raw.shape[1] if raw.ndim > 1 else 1
    if not columns:
        raise refused(argument, f"has 0 feature(s) (shape=({rows}, 0)) while a minimum of 1 is required.")
    if not rows:
        raise refused(argument, "has no rows", "at least one is needed")
    return raw


def _is_sparse(x: Any) -> bool:
    return hasattr(x, "tocsr") or hasattr(x, "todense")


def category_columns(x: Any) -> tuple[str, ...]:
    """The columns of a table that say of themselves that they hold categories."""
    if not is_table(x) or _is_sparse(x):  # of scipy's sparse matrices one is a mapping
        return ()
    names = column_names(x)
    if isinstance(x, Mapping):
        kinds = [getattr(column, "dtype", getattr(column, "type", "")) for column in x.values()]
    else:
        kinds = [field.type for field in x.schema] if hasattr(x, "column_names") else list(x.dtypes)
    return tuple(name for name, kind in zip(names, kinds, strict=True) if str(kind).startswith(_CATEGORIES))


def rows_for(x: Any, preprocessor: Preprocessor | None, argument: str = "x", *, model: str = "Model") -> Raw:
    """x as the preprocessor of a trained model takes it: read as its training was, and without what `missing` says
    means "no value". See `raw_rows` and `aligned`."""
    if not isinstance(preprocessor, TablePreprocessor):
        return Gaps.of(preprocessor).taken_out(aligned(raw_rows(x, argument), preprocessor, argument))
    categorical, order = [column.name for column in preprocessor.categorical], preprocessor.input_names
    if is_table(x):
        names = dict(zip(order, _names_by_place(x, preprocessor), strict=False))
        categorical = [names.get(name, name) for name in categorical]
    raw = raw_rows(x, argument, categorical=categorical, order=order)
    return Gaps.of(preprocessor).taken_out(aligned(raw, preprocessor, argument, model=model))


def _names_by_place(x: Any, preprocessor: TablePreprocessor) -> Sequence[str]:
    """What a table calls the columns that a model takes by their places: it learned from rows without names, and
    these are others than the positions that it calls them by. Else none."""
    names = column_names(x)
    return () if preprocessor.header or set(names) == set(preprocessor.input_names) else names


def text_columns(raw: Raw) -> tuple[str, ...]:
    """The named columns that hold words."""
    return tuple(n for n, column in raw.items() if column.dtype.kind == "O") if isinstance(raw, Mapping) else ()


def aligned(raw: Raw, preprocessor: Preprocessor | None, argument: str = "x", *, model: str = "Model") -> Raw:
    """Raw rows as the preprocessor of a trained model takes them, its columns and no others.

    model: what to call it in messages.
    Raises InvalidArgument naming every column that is missing, or holds words instead of numbers.
    """
    if preprocessor is None or isinstance(preprocessor, ArrayPreprocessor):
        return raw
    wanted = preprocessor.input_names
    if not isinstance(preprocessor, TablePreprocessor) and isinstance(raw, np.ndarray):
        return raw  # a plain array of texts
    if isinstance(raw, np.ndarray) or not (preprocessor.header or raw.keys() == set(wanted)):
        found = len(raw) if isinstance(raw, Mapping) else raw.shape[1] if raw.ndim == 2 else None
        if found is not None and found != len(wanted):
            what = f"X has {found} features, but {model} is expecting {len(wanted)} features as input"
            raise refused(argument, what, f"in the order of training: {', '.join(wanted[:12])}")
        if isinstance(raw, np.ndarray):
            return raw
        raw = dict(zip(wanted, raw.values(), strict=True))
    problems = [
        Problem(argument, f"column '{name}' is missing", f"there are: {', '.join(list(raw)[:12])}")
        for name in wanted
        if name not in raw
    ]
    problems += [
        Problem(argument, f"column '{name}' holds words, and the model learned from numbers")
        for name in preprocessor.number_names
        if name in raw and raw[name].dtype.kind not in "biuf"
    ]
    if problems:
        raise InvalidArgument(problems)
    return {name: raw[name] for name in wanted}


def targets_of(y: Any, argument: str = "y") -> Array:
    """y as (n,) or (n, k): numbers, truth values, or objects that are str. Raises InvalidArgument, BadArgumentRow."""
    if y is None:
        raise refused(argument, "requires y to be passed, but the target y is None")
    if not is_table(y):
        return _targets(_cells(y, argument), argument)
    with refusals():
        columns = named_cells(y, argument=argument)
    if not columns:
        raise refused(argument, "has no column", "one is needed for each target")
    return np.stack([_targets(column, argument, f"column '{name}' ") for name, column in columns.items()], axis=1)


def _targets(values: Array, argument: str, column: str = "") -> Array:
    """column: what to say of where they are in the argument."""
    if values.dtype.kind == "c":
        raise refused(argument, f"{column}Complex data not supported", "numbers or text are needed")
    if values.dtype.kind in "mM":
        raise refused(argument, f"{column}holds dates", "make numbers or text of them")
    if values.ndim not in ((1,) if column else (1, 2)):
        raise refused(argument, f"{column}has shape {values.shape}", "give one target a row, or one column a target")
    large = values.dtype.kind == "u" and values.size and values.max() >= 2**63
    return _own_type(values, argument, column) if large or values.dtype.kind in "OUST" else values


def target_names_of(y: Any) -> tuple[str, ...]:
    """The names that the targets carry."""
    if is_table(y):
        return tuple(column_names(y))
    name = getattr(y, "name", None)
    return (name,) if isinstance(name, str) and name else ()


def _own_type(values: Array, argument: str, column: str) -> Array:
    """Objects as truth values, whole numbers of 64 bits or numbers if they all are, else as text."""
    cells = [_cell(cell) for cell in values.ravel().tolist()]
    for row, cell in enumerate(cells):
        if is_missing(cell) or cell == "":
            raise BadArgumentRow(row, argument, "the target is missing", "remove the row")
    if all(isinstance(cell, bool) for cell in cells):
        return np.array(cells, np.bool_).reshape(values.shape)
    if all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells):
        if whole := not any(isinstance(cell, float) for cell in cells):
            with contextlib.suppress(OverflowError):
                return np.array(cells, np.int64).reshape(values.shape)
        floats = np.array(list(map(float_of, cells)), np.float64)
        if not whole or np.isinf(floats).any():
            return floats.reshape(values.shape)
    odd = next((row for row, cell in enumerate(cells) if not isinstance(cell, str | int | float)), None)
    if odd is not None:
        what = f"{column}row {odd + 1} holds a {type(cells[odd]).__name__}"
        raise refused(argument, what, "numbers or text are needed")
    out = np.empty(len(cells), object)
    out[:] = [str(cell) for cell in cells]
    return out.reshape(values.shape)


def _cell(cell: Any) -> Any:
    """A cell without the wrappings of numpy; a Decimal as the whole number that it is, or as a float."""
    if isinstance(cell, decimal.Decimal):
        number = float_of(cell)
        return int(cell) if number.is_integer() and cell == cell.to_integral_value() else number
    return cell.item() if isinstance(cell, np.generic) else cell


def _array(x: Any, argument: str, categorical: Sequence[str], order: Sequence[str]) -> Raw:
    values = _cells(x, argument)
    if not isinstance(x, np.ndarray) and values.ndim == 2 and (categorical or values.dtype.kind == "U"):
        values = np.asarray(x, object)  # numpy makes one type of all columns, such as text of numbers beside words
    kind = values.dtype.kind
    if kind == "c":
        raise refused(argument, "Complex data not supported", "give real and imaginary parts as columns of their own")
    if kind in "mM":
        raise refused(argument, "holds dates", "make numbers of them, such as days since one of them")
    if values.ndim == 1 and kind in "OUST" and all(isinstance(text, str) for text in values.tolist()):
        return np.array(values.tolist(), object)
    if values.ndim < 2:
        what = f"Expected 2D array, got {values.ndim}D array instead: the shape is {values.shape}"
        raise refused(argument, what, "Reshape your data: x.reshape(-1, 1) is one column, x.reshape(1, -1) one row")
    if values.dtype.kind in "biuf":
        return values
    if values.ndim > 2:
        raise refused(argument, f"holds {values.dtype} {values.shape}", "more than two axes need numbers")
    return _mixed(values, argument, categorical, order)


def _mixed(values: Array, argument: str, categorical: Sequence[str], order: Sequence[str]) -> Raw:
    """A table (n, columns) of objects: an array if all are numbers, else columns by name. See `raw_rows`."""
    columns = {}
    names = order if len(order) == values.shape[1] else [str(place) for place in range(values.shape[1])]
    for place, name in enumerate(names):
        cells = values[:, place]
        odd = next((cell for cell in cells.tolist() if isinstance(cell, _NO_CELLS)), None)
        if odd is not None:
            what = f"column {place}: argument must be a string or a number, not {type(odd).__name__}"
            raise InvalidArgumentType(Problem(argument, what))
        columns[name] = plain_column(cells, name, argument, name in categorical)
    if all(column.dtype.kind == "f" for column in columns.values()):
        return np.stack(list(columns.values()), axis=1)
    return columns


def _cells(values: Any, argument: str) -> Array:
    """As numpy sees them; columns of pandas and polars that may hold missing values as objects."""
    if isinstance(values, np.ndarray):
        return unmasked(values)
    if isinstance(values, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in values):
        return unmasked(np.ma.array(values))
    if hasattr(values, "to_list"):
        listed = values.to_list()
        cells = np.empty(len(listed), object)
        cells[:] = listed
        own = np.asarray(values)
        return own if own.dtype.kind in "biuf" else cells
    try:
        own = np.asarray(values)
        if own.dtype.kind == "f" and isinstance(values, list | tuple) and own.ndim == 1 and own.size:
            large = np.fmax.reduce(np.abs(own)) >= _EXACT  # numpy makes floats of whole numbers beyond 64 bits
            return np.asarray(values, object) if large else own
        return own
    except ValueError as error:
        raise refused(argument, "has rows of unequal length", "give every row as many values") from error
