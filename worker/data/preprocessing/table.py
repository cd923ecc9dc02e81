"""Tables: columns of numbers scaled, columns of categories spread out. Fitted on the training rows alone.

A prepared row is its numeric columns in order, then for each categorical column one place a known value (an empty
cell is one of them, where training had some) and, if there were rarer values, one for all of these. A value that
no training row had counts for nothing: a category stands for the average of those known, a number in a column that
never varied for that one number. The fitted record is plain values: it is saved inside `model.json` and is all that
prediction needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from math import isfinite
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.base import NonNegative, Part, Positive
from singlepoint.jobs.spec.data import Missing, PreprocessingSpec
from singlepoint.worker.nn.arrays import Array, Indices

from .identity import name_of, names_of
from .rows import CHUNK_ROWS, BadRow, Fitted, Floats, Raw, Unseen, resolution, row_count, select

Doubles = npt.NDArray[np.float64]

_ROUNDING = resolution(np.dtype(np.float64))


class NumericColumn(Part):
    """(value - offset) / scale; a missing value becomes `fill` first, or is an error when that is None.

    constant: the training rows all had `offset`, but for rounding; the column gives 0 whatever its value.
    gaps: whether a training row lacked it.
    """

    type: Literal["numeric"] = "numeric"
    name: str
    offset: float = 0.0
    scale: Positive = 1.0
    fill: float | None = None
    constant: bool = False
    gaps: bool = True


class CategoricalColumn(Part):
    """One place a value, in this order; a missing value ("") becomes `fill` first.

    other: whether one more place is for every other value; training had rarer ones.
    shares: without `other`, what a value that training never saw gives: each place's share of the training rows.
    """

    type: Literal["categorical"] = "categorical"
    name: str
    values: Annotated[tuple[str, ...], Field(min_length=1)]
    fill: str | None = None
    other: bool = True
    shares: tuple[NonNegative, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(set(self.values)) < len(self.values) or not {self.fill} <= {None, *self.values}:
            raise ValueError("values must differ, and fill must be one of them")
        if len(self.shares) != (0 if self.other else len(self.values)):
            raise ValueError("each value must have a share, or there must be a place for others")
        return self

    @property
    def width(self) -> int:
        """Places."""
        return len(self.values) + self.other

    @cached_property
    def places(self) -> dict[str, int]:
        """The row of `spread` for each known value."""
        known = {value: place for place, value in enumerate(self.values)}
        return known if self.fill is None else {"": known[self.fill], **known}

    @cached_property
    def spread(self) -> Floats:
        """What each known value gives and, in the last row, any other: (values + 1, width)."""
        other = np.eye(1, self.width, len(self.values)) if self.other else np.array([self.shares])
        return np.concatenate([np.eye(len(self.values), self.width), other]).astype(np.float32)


Column = Annotated[NumericColumn | CategoricalColumn, Field(discriminator="type")]


class TablePreprocessor(Fitted):
    """What was learned about a table's columns.

    header: whether its CSV files begin with the columns' names; without, and for arrays, a column's name is its
    position ("0", "1", …).  missing: the cells that mean "no value".  identity: whether categories go by their value
    (see `identity`) or, in models of the first format, by their spelling.
    """

    type: Literal["table"] = "table"
    header: bool = True
    missing: Missing = ()
    identity: Literal["spelling", "value"] = "spelling"
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(set(self.input_names)) < len(self.columns):
            raise ValueError("column names must differ")
        return self

    @cached_property
    def numeric(self) -> tuple[NumericColumn, ...]:
        """The columns of numbers, in order."""
        return tuple(column for column in self.columns if isinstance(column, NumericColumn))

    @cached_property
    def categorical(self) -> tuple[CategoricalColumn, ...]:
        """The columns of categories, in order."""
        return tuple(column for column in self.columns if isinstance(column, CategoricalColumn))

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """The raw columns needed, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def number_names(self) -> tuple[str, ...]:
        """Those of them that are read as numbers."""
        return tuple(column.name for column in self.numeric)

    @property
    def output_names(self) -> tuple[str, ...]:
        """A name for each place of a prepared row."""
        places = [(c.name, (*(v or "(missing)" for v in c.values), *["(other)"] * c.other)) for c in self.categorical]
        return self.number_names + tuple(f"{name}={value}" for name, values in places for value in values)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(width,) of a prepared row."""
        return (len(self.numeric) + sum(column.width for column in self.categorical),)

    @property
    def vocabulary(self) -> int | None:
        """None: these are not tokens."""
        return None

    def transform(self, raw: Raw) -> Floats:
        """Prepared rows, (n, width). See `transform_into`."""
        return self.counted(raw)[0]

    def counted(self, raw: Raw) -> tuple[Floats, Unseen]:
        """Prepared rows, and what of them training never saw. See `transform_into`."""
        out = np.empty((row_count(raw), *self.output_shape), np.float32)
        return out, self.transform_into(raw, out)

    def transform_into(self, raw: Raw, out: Floats) -> Unseen:
        """Prepare named columns, or an array of shape (n, columns), into `out` (n, width).

        Raises BadRow for a missing number without a `fill`, and for one that is not finite or too large.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self.transform_quietly(raw, out)

    def transform_quietly(self, raw: Raw, out: Floats) -> Unseen:
        """The same where numpy warns of nothing."""
        width, unseen = len(self.numeric), Unseen()
        if width == len(self.columns):
            return self._scale(self._from_offset(raw), out)
        if width:
            unseen = self._scale(self._from_offset(raw), out[:, :width])
        for column in self.categorical:
            codes = self._codes(column, raw)
            np.take(column.spread, codes, axis=0, out=out[:, width : width + column.width], mode="clip")
            width += column.width
            if count := int(np.count_nonzero(codes == len(column.values))):
                unseen[column.name] = count
        return unseen

    @cached_property
    def _scaling(self) -> tuple[Doubles, Doubles, Doubles]:
        """Offset, scale (infinite: the column gives 0) and fill (NaN: none) of each numeric column."""
        rows = [(c.offset, np.inf if c.constant else c.scale, c.fill) for c in self.numeric]
        offset, scale, fill = np.array(rows, np.float64).T
        return offset, scale, fill

    @cached_property
    def _constant(self) -> Indices:
        return np.flatnonzero([c.constant for c in self.numeric])

    @cached_property
    def _complete(self) -> Indices:
        """The numeric columns that no training row lacked."""
        return np.flatnonzero([not c.gaps for c in self.numeric])

    def _positions(self, raw: Raw) -> list[int]:
        """Where the numeric columns are in an array; unused for named columns."""
        if not isinstance(raw, np.ndarray):
            return []
        if raw.ndim != 2 or raw.shape[1] != len(self.columns):
            raise InvalidInput(
                Problem("x", f"has shape {raw.shape}, but the model was trained on {len(self.columns)} columns")
            )
        return self._numeric_places

    @cached_property
    def _numeric_places(self) -> list[int]:
        return [place for place, column in enumerate(self.columns) if isinstance(column, NumericColumn)]

    def _from_offset(self, raw: Raw) -> Doubles:
        """A new array of the numeric columns, less their offsets."""
        offset, positions = self._scaling[0], self._positions(raw)
        if isinstance(raw, np.ndarray) and raw.dtype.char in "fd" and len(positions) == len(self.columns):
            return np.subtract(raw, offset)  # float32 as well is made float64 first
        values = _numbers(raw, positions, self.number_names)
        values -= offset
        return values

    def _scale(self, values: Doubles, out: Floats) -> Unseen:
        """values: less their offsets."""
        offset, scale, fill = self._scaling
        np.divide(values, scale, out=out, casting="same_kind")
        # A missing or infinite value leaves no finite sum: a look at each is for when there is one.
        if not len(self._constant) and isfinite(np.add.reduce(out, axis=None)):
            return {}
        missing, unseen = np.isnan(values), Unseen()
        if missing.any():
            unseen = self._counts(self._complete, missing)
            values = np.where(missing, fill - offset, values)
            np.divide(values, scale, out=out, casting="same_kind")
        if len(self._constant):
            unseen |= self._counts(self._constant, np.abs(values) > _ROUNDING * np.abs(offset))
        finite = np.isfinite(out)
        if not finite.all():
            row, place = (int(i) for i in np.argwhere(~finite)[0])
            raise _bad_number(row, self.numeric[place].name, bool(missing[row, place]))
        return unseen

    def _counts(self, columns: Indices, true: npt.NDArray[np.bool_]) -> Unseen:
        """How often these numeric columns are true."""
        counts = true[:, columns].sum(axis=0).tolist()
        return {self.numeric[c].name: n for c, n in zip(columns, counts, strict=True) if n}

    def _codes(self, column: CategoricalColumn, raw: Raw) -> Indices:
        """The row of the column's `spread` for each row's value."""
        known, other = column.places, len(column.values)
        cells = raw[column.name] if isinstance(raw, Mapping) else raw[:, self.columns.index(column)]
        names = categories(cells) if self.identity == "value" else words(cells)
        return np.fromiter((known.get(name, other) for name in names), np.intp, len(names))


def fit_table(
    raw: Raw, rows: Indices, spec: PreprocessingSpec, *, header: bool = True, missing: Missing = ()
) -> TablePreprocessor:
    """Learn from these rows of a table what `spec` asks for.

    raw: columns by name in the order to be used, or an array of shape (n, columns).
    Raises InvalidInput: a column to be one-hot that does not exist or has one place too few, a numeric column
    without a single value, an infinite number.
    """
    names = tuple(raw) if isinstance(raw, Mapping) else tuple(str(i) for i in range(raw.shape[1]))
    chosen = _words_among(raw) if spec.categorical == "auto" else spec.categorical
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise InvalidInput(
            [Problem("preprocessing.categorical", f"no column '{name}' in the data") for name in unknown]
        )
    numeric = [name for name in names if name not in set(chosen)]
    fitted: dict[str, NumericColumn | CategoricalColumn] = {c.name: c for c in _fit_numbers(raw, rows, numeric, spec)}
    for name in chosen:
        cells = raw[name] if isinstance(raw, Mapping) else raw[:, int(name)]
        fitted[name] = _fit_categories(name, (categories if spec.identity == "value" else words)(cells[rows]), spec)
    columns = tuple(fitted[name] for name in names)
    return TablePreprocessor(header=header, missing=missing, identity=spec.identity, columns=columns)


def _words_among(raw: Raw) -> tuple[str, ...]:
    """The columns that were read as words."""
    if not isinstance(raw, Mapping):
        return ()
    return tuple(name for name, column in raw.items() if column.dtype.kind in "OU")


def categories(cells: Array) -> Sequence[str]:
    """Each category by the name of its value; "" is missing."""
    return names_of(cells.tolist()) if cells.dtype.kind in "OU" else _spelled(cells, name_of)


def words(cells: Array) -> Sequence[str]:
    """Categories as text: "" is missing, whole numbers lose their ".0"."""
    if cells.dtype == object or cells.dtype.kind == "U":
        return cells.tolist()  # type: ignore[no-any-return]
    return _spelled(cells, _word)


def _spelled(cells: Array, name: Callable[[Any], str]) -> Sequence[str]:
    distinct, place = np.unique(cells, return_inverse=True)
    names = [name(value) for value in distinct.tolist()]
    return [names[i] for i in place.tolist()]


def _word(value: float | int | bool) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def _numbers(raw: Raw, positions: list[int], names: Sequence[str]) -> Doubles:
    """A new float64 array (n, len(names)) of the numeric columns."""
    if isinstance(raw, Mapping):
        block = np.empty((row_count(raw), len(names)), np.float64)
        for place, name in enumerate(names):
            block[:, place] = raw[name]
        return block
    if len(positions) < raw.shape[1]:
        return raw[:, positions].astype(np.float64)
    return raw.astype(np.float64)


def _bad_number(row: int, column: str, missing: bool) -> BadRow:
    if missing:
        return BadRow(row, column, "the number is missing", "set preprocessing.impute, for example to 'median'")
    return BadRow(row, column, "the number is infinite or too large", "correct the cell or leave the column out")


def _fit_numbers(raw: Raw, rows: Indices, names: Sequence[str], spec: PreprocessingSpec) -> Iterable[NumericColumn]:
    if not names:
        return []
    count, mean, low, high = _first_look(raw, rows, names)
    empty = [name for name, n in zip(names, count, strict=True) if n == 0]
    if empty:
        hint = "add it to data.ignore"
        raise InvalidInput(
            [Problem("data.path", f"column '{name}' has no value in any training row", hint) for name in empty]
        )
    if spec.normalise == "standard":
        offset, scale = mean, _deviation(raw, rows, names, mean, count)
    elif spec.normalise == "min_max":
        offset, scale = low, high - low
    else:
        offset, scale = np.zeros(len(names)), np.ones(len(names))
    tolerance = max(_ROUNDING, resolution(raw.dtype)) if isinstance(raw, np.ndarray) else _ROUNDING
    constant = high - low <= tolerance * np.maximum(np.abs(low), np.abs(high))
    if spec.unseen == "place":
        scale, constant = np.where(scale > 0, scale, 1.0), np.zeros(len(names), bool)
    offset, scale = np.where(constant, mean, offset), np.where(constant, 1.0, scale)
    for name, finite in zip(names, np.isfinite(offset) & np.isfinite(scale), strict=True):
        if not finite:
            raise InvalidInput(Problem("data.path", f"column '{name}' has numbers too large to scale"))
    fill = _fills(raw, rows, names, mean, spec)
    return [
        NumericColumn(name=name, offset=float(o), scale=float(s), fill=f, constant=bool(c), gaps=bool(n < len(rows)))
        for name, o, s, f, c, n in zip(names, offset, scale, fill, constant, count, strict=True)
    ]


def _chunks(raw: Raw, rows: Indices, names: Sequence[str]) -> Iterator[Doubles]:
    positions = [] if isinstance(raw, Mapping) else [int(name) for name in names]
    for start in range(0, len(rows), CHUNK_ROWS):
        chosen = rows[start : start + CHUNK_ROWS]
        yield _numbers(select(raw, chosen), positions, names)


def _first_look(raw: Raw, rows: Indices, names: Sequence[str]) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Of each column, over the values that are there: count, mean, smallest, largest. Infinite: InvalidInput."""
    count, total = np.zeros(len(names)), np.zeros(len(names))
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for start, block in enumerate(_chunks(raw, rows, names)):
        infinite = np.argwhere(np.isinf(block))
        if len(infinite):
            row, place = (int(i) for i in infinite[0])
            raise _bad_number(int(rows[start * CHUNK_ROWS + row]), names[place], missing=False)
        there = ~np.isnan(block)
        count += there.sum(axis=0)
        total += np.where(there, block, 0.0).sum(axis=0)
        low = np.minimum(low, np.where(there, block, np.inf).min(axis=0))
        high = np.maximum(high, np.where(there, block, -np.inf).max(axis=0))
    # Rounding would give the mean of a column that never varies a deviation from its values.
    return count, np.where(low == high, low, total / np.maximum(count, 1)), low, high


def _deviation(raw: Raw, rows: Indices, names: Sequence[str], mean: Doubles, count: Doubles) -> Doubles:
    """Standard deviation of each column (divided by n), in a second pass: exact where one pass would cancel."""
    total = np.zeros(len(names))
    with np.errstate(over="ignore"):  # numbers too large to scale are refused, by what comes out here
        for block in _chunks(raw, rows, names):
            away = block - mean
            total += np.where(np.isnan(away), 0.0, np.square(away)).sum(axis=0)
    return np.sqrt(total / count)


def _fills(
    raw: Raw, rows: Indices, names: Sequence[str], mean: Doubles, spec: PreprocessingSpec
) -> Sequence[float | None]:
    """What stands in for a missing number of each column, or None."""
    if spec.impute == "none":
        return [None] * len(names)
    if spec.impute == "mean":
        return [float(m) for m in mean]
    fills: list[float | None] = []
    for name in names:
        column = np.asarray(raw[name] if isinstance(raw, Mapping) else raw[:, int(name)], np.float64)[rows]
        column = column[~np.isnan(column)]
        if spec.impute == "median":
            fills.append(float(np.median(column)))
        else:
            values, counts = np.unique(column, return_counts=True)
            fills.append(float(values[counts.argmax()]))
    return fills


def _fit_categories(name: str, cells: Sequence[str], spec: PreprocessingSpec) -> CategoricalColumn:
    """The most frequent values, in alphabetical order."""
    counts = Counter(cells)
    missing = counts.pop("", 0)
    if not counts:
        raise InvalidInput(
            Problem("data.path", f"column '{name}' has no value in any training row", "add it to data.ignore")
        )
    fill = min(counts, key=lambda value: (-counts[value], value)) if spec.impute == "most_frequent" else None
    if missing and spec.unseen != "place":
        counts[fill or ""] += missing
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    other = len(ranked) > spec.max_categories or spec.unseen == "place"
    values = tuple(sorted(ranked[: spec.max_categories]))
    shares = () if other else tuple(counts[value] / len(cells) for value in values)
    return CategoricalColumn(name=name, values=values, fill=fill, other=other, shares=shares)
