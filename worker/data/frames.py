"""Tables of other libraries as named columns: pandas, polars and Arrow by the names they carry, none of them imported.

`named_columns` is the one way in, for jobs and for the Python estimators. What it gives is `Raw` as every reader of a
file gives it: float64 (missing: NaN) for numbers and truth values, objects that are str (missing: "") for the rest.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.data.preprocessing.identity import is_missing
from singlepoint.worker.nn.arrays import Array

DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)
_NUMBERS = (bool, int, float, decimal.Decimal)
DATE_HINT = "name it as categorical, leave it out, or make a number of it"


def is_table(x: object) -> bool:
    """Whether x carries names for its columns: a mapping, or a table of pandas, polars or Arrow."""
    return isinstance(x, Mapping) or hasattr(x, "column_names") or (hasattr(x, "columns") and hasattr(x, "dtypes"))


def column_names(x: Any) -> list[str]:
    """The names of a table's columns, in its order."""
    return list(map(str, x if isinstance(x, Mapping) else x.column_names if hasattr(x, "column_names") else x.columns))


def named_columns(x: Any, *, argument: str = "x", categorical: Sequence[str] = ()) -> dict[str, Array]:
    """The columns of a table (see `is_table`) by name, in its order.

    categorical: columns of categories, in which a date is a word and a number keeps its type (see `identity`).
    Raises InvalidInput naming argument and column: a name that occurs twice, columns of unequal length, values that
    are neither numbers, truth values nor text (dates, lists, complex numbers).
    """
    return _by_name(x, argument, lambda column, name: plain_column(column, name, argument, name in categorical))


def named_cells(x: Any, *, argument: str = "x") -> dict[str, Array]:
    """The columns of a table as `named_columns`, their cells as they are (see `cells_of`)."""
    return _by_name(x, argument, lambda column, name: cells_of(column, name, argument))


def _by_name(x: Any, argument: str, read: Callable[[Any, str], Array]) -> dict[str, Array]:
    if hasattr(x, "collect") and not hasattr(x, "get_columns"):  # polars
        what = f"is a {type(x).__name__}, whose rows are yet to be computed"
        raise InvalidInput(Problem(argument, what, f"give {argument}.collect()"))
    columns: dict[str, Array] = {}
    for name, column in _columns(x):
        if name in columns:
            raise InvalidInput(Problem(argument, f"two columns are named '{name}'", "rename one of them"))
        columns[name] = read(column, name)
    lengths = {len(column) for column in columns.values() if column.ndim}
    if len(lengths) > 1:
        raise InvalidInput(Problem(argument, f"has columns of unequal length: {sorted(lengths)}"))
    return columns


def plain_column(column: Any, name: str, argument: str = "x", category: bool = False) -> Array:
    """One column, (n,): float64 with NaN for missing, or objects that are str with "" for missing.

    category: numbers keep their type, as a large code would lose digits, and dates are words. A Decimal is a number.
    Text that reads as numbers stays text. Raises InvalidInput naming argument and column.
    """
    values = cells_of(column, name, argument)
    if values.ndim != 1:
        raise InvalidInput(Problem(argument, f"column '{name}' has shape {values.shape}", "one value a row is needed"))
    if values.dtype.kind in "biuf":
        return values if category else values.astype(np.float64)
    cells = [_plain(cell) for cell in (values.tolist() if values.dtype.kind in "OUT" else list(values))]
    # What is missing decides nothing; a column of nothing but missing values counts as numbers.
    if not category and all(isinstance(cell, _NUMBERS) for cell in cells if cell is not None):
        return np.array([np.nan if cell is None else float_of(cell) for cell in cells], np.float64)
    text = np.empty(len(cells), object)
    for row, cell in enumerate(cells):
        text[row] = _word(cell, category)
        if text[row] is None:
            what = "holds dates" if isinstance(cell, DATES) else f"holds a {type(cell).__name__} in row {row + 1}"
            hint = DATE_HINT if isinstance(cell, DATES) else "numbers, truth values or text are needed"
            raise InvalidInput(Problem(argument, f"column '{name}' {what}", hint))
    return text


def _columns(x: Any) -> Iterator[tuple[str, Any]]:
    """Names and columns, in the order of the table."""
    names = column_names(x)
    if isinstance(x, Mapping):
        yield from zip(names, x.values(), strict=True)
    elif hasattr(x, "column_names"):  # Arrow
        yield from zip(names, x.columns, strict=True)
    elif hasattr(x, "get_columns"):  # polars
        yield from zip(names, x.get_columns(), strict=True)
    else:  # pandas: by place, since names may occur twice
        yield from ((name, x.iloc[:, place]) for place, name in enumerate(names))


def cells_of(column: Any, name: str, argument: str = "x") -> Array:
    """A column as numpy sees it: nullable and categorical ones as objects, with None or NaN for what is missing.

    Raises InvalidInput for what is no column: one value, or values in no order or below others.
    """
    if isinstance(column, np.ndarray):
        return unmasked(column)
    if isinstance(column, str | bytes | Mapping | Set) or not hasattr(column, "__iter__"):
        what = f"column '{name}' is of type {type(column).__name__}"
        raise InvalidInput(Problem(argument, what, "give a list or an array with a value for each row"))
    kind = getattr(getattr(column, "dtype", None), "kind", "")
    if isinstance(kind, str) and kind in "biuf" and kind and isinstance(column.dtype, np.dtype):
        return np.asarray(column)
    listed = getattr(column, "to_pylist", None) or getattr(column, "to_list", None) or getattr(column, "tolist", None)
    cells = listed() if listed is not None else list(column)
    values = np.empty(len(cells), object)
    values[:] = cells
    return values


def unmasked(values: Array) -> Array:
    """An array whose masked values, which numpy would take as they are, are missing ones: NaN, or None in objects."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    bare, mask = np.asarray(values), np.ma.getmaskarray(values)
    if not mask.any():
        return bare
    if bare.dtype.kind == "f" or bare.ndim > 2:
        cells, gap = bare.astype(bare.dtype if bare.dtype.kind == "f" else np.float64), np.nan
    else:  # numbers keep their type: they may be codes or classes
        cells, gap = bare.astype(object), None
    cells[mask] = gap
    return cells


def _plain(cell: Any) -> Any:
    """A cell without the wrappings of numpy; None for missing."""
    if is_missing(cell):
        return None
    if isinstance(cell, decimal.Decimal) and cell.is_nan():
        return None
    return cell.item() if isinstance(cell, np.bool_ | np.integer | np.floating | np.str_) else cell


def float_of(number: float | decimal.Decimal) -> float:
    """A number as a float; infinite where it is a whole one beyond every float."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
    except ValueError:  # a signalling NaN
        return math.nan


def _word(cell: Any, dates: bool) -> str | None:
    """A cell as text, or None for one that has no place in a table."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, bool | int | float):
        return repr(cell)
    if isinstance(cell, DATES):
        return (cell.isoformat() if hasattr(cell, "isoformat") else str(cell)) if dates else None
    return str(cell) if isinstance(cell, decimal.Decimal) else None
