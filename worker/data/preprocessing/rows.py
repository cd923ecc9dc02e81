"""Rows of a data set as a network takes them, made when they are needed.

Three things may stand for `x`: an ordinary float32 (or int32 token) array; `SparseRows`, for text where nearly
every value is 0; and `LazyRows`, for 8-bit images and memory-mapped files that would grow fourfold or not fit
if prepared at once. The last two share the few methods of `Rows`. A row's values never depend on which rows are
taken with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.base import Part
from singlepoint.worker.nn.arrays import Array, Compact, Indices

Floats = npt.NDArray[np.float32]

Raw = Mapping[str, Array] | Array
"""Rows as they were read: named columns of equal length (float64, NaN = missing; or objects that are str), or one
array whose first axis is the rows."""

Unseen = dict[str, int]
"""How many cells of each column hold what no training row did; a column without any is left out."""

LAZY_BYTES = 1 << 26  # less than this is prepared at once: every epoch is then faster by the preparation

CHUNK_ROWS = 4096  # statistics are summed chunk by chunk, so this number is part of their last bits


def resolution(dtype: np.dtype[Any]) -> float:
    """Values that differ by no more than this part of their size are equal but for rounding.

    1e-12 covers what a few operations in float64 leave; coarser floats have a few of their own last bits.
    """
    return max(1e-12, 4 * float(np.finfo(dtype).eps)) if dtype.kind == "f" else 1e-12


class Fitted(Part):
    """Something learned from training rows: plain values, saved in `model.json`, from which arrays are derived."""

    def __eq__(self, other: object) -> bool:
        # By the fields alone: comparing the arrays cached beside them has no single answer.
        return isinstance(other, Fitted) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]


class InFile(InvalidInput):
    """Something is wrong inside of a file: the field of each problem is a file or a row, and not yet one of a spec."""


class BadRow(InFile):
    """A row cannot be used."""

    def __init__(self, row: int, column: str, reason: str, hint: str = "", cell: str = "", *, file: str = "") -> None:
        """row: counted from 0 in what was passed (shown counted from 1).  column: its name, or "" for the row.
        file: its name, where it could be one of several."""
        self.row, self.column, self.reason, self.file = row, column, reason, file
        where = (f"{file}, " if file else "") + f"row {row + 1}" + (f", column '{column}'" if column else "")
        super().__init__(Problem(where, reason, hint, cell))

    def shifted(self, first_row: int, file: str = "") -> BadRow:
        """The same trouble, counted from the start of the file rather than of a tile."""
        [problem] = self.problems
        row = self.row + first_row
        return BadRow(row, self.column, self.reason, problem.hint, problem.cell, file=file or self.file)


class RowTransform(Protocol):
    """A fitted preprocessing step: raw rows in, numbers out, each row by itself."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one prepared row."""

    def transform_into(self, raw: Raw, out: Floats) -> Unseen:
        """Prepare `raw` into `out`, of shape (rows, *output_shape); answers what training never saw. Raises BadRow."""


class _Sliced:
    """`rows[a:b]` by way of `take_rows`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any] = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Floats:
        indices = np.arange(*rows.indices(len(self)), dtype=np.intp)
        out = np.empty((len(indices), *self.shape[1:]), np.float32)
        self.take_rows(indices, out)
        return out

    def take_rows(self, indices: Indices, out: Floats) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class SparseRows(_Sliced):
    """Rows that are mostly 0: compressed sparse rows (CSR).

    The values of row i are `values[starts[i]:starts[i + 1]]`, at the columns in the same part of `columns`.
    """

    starts: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int32]
    values: Floats
    width: int

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """(rows, width)."""
        return (len(self.starts) - 1, self.width)

    def take_rows(self, indices: Indices, out: Floats) -> None:
        """See `Rows`."""
        out[...] = 0
        for row, index in enumerate(indices):
            start, end = self.starts[index], self.starts[index + 1]
            out[row, self.columns[start:end]] = self.values[start:end]

    def compact(self, indices: Indices) -> Compact:
        """See `nn.arrays.SparseRows`."""
        starts = self.starts[indices]
        lengths = self.starts[indices + 1] - starts
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
        occurring = self.columns[places]
        there = np.zeros(self.width, np.bool_)  # marking them takes a third of the time of sorting them
        there[occurring] = True
        columns = np.flatnonzero(there)
        position = np.empty(self.width, np.intp)
        position[columns] = np.arange(len(columns))
        values = np.zeros((len(indices), len(columns)), np.float32)
        values[np.repeat(np.arange(len(indices)), lengths), position[occurring]] = self.values[places]
        return Compact(columns, values)


class LazyRows(_Sliced):
    """Chosen rows of an array, prepared each time they are taken. `raw` may be a memory-mapped file."""

    def __init__(self, raw: Array, rows: Indices, transform: RowTransform) -> None:
        self.raw, self.rows, self.transform = raw, rows, transform
        self.shape = (len(rows), *transform.output_shape)
        self._gathered = np.empty((0, *raw.shape[1:]), raw.dtype)

    def take_rows(self, indices: Indices, out: Floats) -> None:
        """See `Rows`."""
        if len(self._gathered) < len(indices):
            self._gathered = np.empty((len(indices), *self.raw.shape[1:]), self.raw.dtype)
        gathered = self._gathered[: len(indices)]
        # mode="clip" writes straight into `out`; the default copies through a buffer. Indices are in range.
        np.take(self.raw, self.rows[indices], axis=0, out=gathered, mode="clip")
        self.transform.transform_into(gathered, out)


def row_count(raw: Raw) -> int:
    """How many rows there are."""
    if isinstance(raw, np.ndarray):  # asked first: what is a Mapping is a question for Python code
        return len(raw)
    return len(next(iter(raw.values()), ()))


def select(raw: Raw, rows: Indices | slice) -> Raw:
    """Some of the rows, in the order asked for."""
    if isinstance(raw, Mapping):
        return {name: column[rows] for name, column in raw.items()}
    chosen: Array = raw[rows]
    return chosen


def prepare(raw: Raw, rows: Indices, transform: RowTransform) -> Floats | LazyRows:
    """The chosen rows, prepared: lazily where that saves much memory, else as one float32 array.

    Raises BadRow, its row counted in `raw`; lazily prepared rows are looked at once here, so that a bad one is
    found now and not in the middle of an epoch.
    """
    large = 4 * len(rows) * prod(transform.output_shape) > LAZY_BYTES
    if large and isinstance(raw, np.ndarray) and (raw.dtype == np.uint8 or isinstance(raw, np.memmap)):
        lazy = LazyRows(raw, rows, transform)
        if raw.dtype != np.uint8:
            _each_chunk(raw, rows, transform, None)
        return lazy
    out = np.empty((len(rows), *transform.output_shape), np.float32)
    _each_chunk(raw, rows, transform, out)
    return out


def _each_chunk(raw: Raw, rows: Indices, transform: RowTransform, out: Floats | None) -> None:
    scratch = np.empty((min(CHUNK_ROWS, len(rows)), *transform.output_shape), np.float32) if out is None else out
    for start in range(0, len(rows), CHUNK_ROWS):
        chosen = rows[start : start + CHUNK_ROWS]
        target = scratch[: len(chosen)] if out is None else out[start : start + len(chosen)]
        try:
            transform.transform_into(select(raw, chosen), target)
        except BadRow as bad:
            raise BadRow(int(chosen[bad.row]), bad.column, bad.reason, bad.problems[0].hint) from None


def sparse_rows(rows: Sequence[tuple[Sequence[int], Sequence[float]]], width: int) -> SparseRows:
    """Build from (columns, values) of each row; columns ascending."""
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(columns) for columns, _ in rows], out=starts[1:])
    total = int(starts[-1])
    columns = np.fromiter((c for row, _ in rows for c in row), np.int32, total)
    values = np.fromiter((v for _, row in rows for v in row), np.float32, total)
    return SparseRows(starts, columns, values, width)
