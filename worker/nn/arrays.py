"""The arrays of a network, and the memory that a pass over it works in.

Nothing in a steady step allocates: each kernel asks for its buffers once, when it is bound to a number of rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from math import gcd, prod
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""Values in the float type of the network (float32; float64 in gradient checks), unless said otherwise."""

Indices = npt.NDArray[np.intp]
Shape = tuple[int, ...]
FloatType = type[np.float32] | type[np.float64]

CACHE_LINE_BYTES = 64
RUN_VALUES = 1 << 13  # numpy takes twice as long over runs that are shorter than its own buffer


class Rows(Protocol):
    """Rows of input that are made when they are asked for: a sparse matrix, or images kept as bytes."""

    @property
    def shape(self) -> Shape:
        """(rows, ...) of the dense array this stands for."""

    def take_rows(self, indices: Indices, out: Array) -> None:
        """Puts the rows with these numbers into out (len(indices), *shape[1:])."""


Input = Array | Rows


@dataclass(frozen=True)
class Compact:
    """Rows that are 0 but in some columns. columns: (k,), ascending.  values: (rows, k)."""

    columns: Indices
    values: Array


@runtime_checkable
class SparseRows(Rows, Protocol):
    """Rows that are mostly 0."""

    def compact(self, indices: Indices) -> Compact:
        """The rows with these numbers, without the columns in which all of them are 0."""


def take_rows(x: Input, rows: Indices | slice, out: Array) -> None:
    """Puts some rows of x into out (rows, *x.shape[1:]), in out's own type."""
    if not isinstance(x, np.ndarray):
        x.take_rows(np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows, out)
    elif isinstance(rows, slice):
        np.copyto(out, x[rows])
    else:
        np.take(x, rows, axis=0, out=out, mode="clip")  # "raise" would go through a copy


def aligned_zeros(size: int, dtype: npt.DTypeLike) -> Array:
    """A vector (size,) of zeros that starts at a cache line.

    numpy's own start anywhere; products written there and passes over them then make a training step up to 6 % longer.
    """
    size_bytes = size * np.dtype(dtype).itemsize
    block = np.zeros(size_bytes + CACHE_LINE_BYTES, np.uint8)
    start = -block.ctypes.data % CACHE_LINE_BYTES
    return block[start : start + size_bytes].view(dtype)


def rows_in_a_run(rows: int, values: int) -> int:
    """How many of `rows` rows with so many values each one run of a ufunc takes, where all rows meet the same other row
    that is repeated as often. It divides `rows`."""
    return gcd(rows, 1 << (-(-RUN_VALUES // values) - 1).bit_length())


def blocks(array: Array, values: int, access: Literal["readonly", "writeonly"]) -> Iterator[Array]:
    """An array's values in C order, so many at a time: one-dimensional arrays that stand for its own memory."""
    if array.flags.c_contiguous:  # one run, whose parts need no copy
        flat = array.reshape(-1)
        yield from (flat[start : start + values] for start in range(0, flat.size, values))
        return
    flags: Any = ("external_loop", "buffered", "zerosize_ok")
    run: Any = [[access, "contig"]]
    with np.nditer(array, flags, run, order="C", buffersize=values) as parts:
        yield from parts


class Memory:
    """Scratch buffers that passes of different sizes share, handed out in the order they are asked for.

    A pass calls `rewind`, then asks for buffers in a fixed order. The next pass to do so is given the same
    blocks again, so only one pass may be between its forward and its backward half at a time. Contents are
    undefined: whoever needs zeros that last asks for `zeros`, which is never shared, and what is made of the
    weights is `lasting`: the same for every pass.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self._blocks: list[npt.NDArray[np.uint8]] = []
        self._next = 0
        self._lasting: dict[Hashable, Array] = {}
        self._private_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Of all that was asked for, shared buffers once."""
        return sum(block.size for block in self._blocks) + self._private_bytes

    def rewind(self) -> None:
        self._next = 0

    def array(self, shape: Shape, dtype: npt.DTypeLike | None = None) -> Array:
        """A shared, uninitialised, C-ordered buffer; dtype is the network's unless given."""
        wanted = np.dtype(dtype) if dtype is not None else self.dtype
        size_bytes = prod(shape) * wanted.itemsize
        if self._next == len(self._blocks):
            self._blocks.append(aligned_zeros(size_bytes, np.uint8))
        if self._blocks[self._next].size < size_bytes:
            self._private_bytes += self._blocks[self._next].size  # which smaller passes go on to work in
            self._blocks[self._next] = aligned_zeros(size_bytes, np.uint8)
        block = self._blocks[self._next][:size_bytes]
        self._next += 1
        return block.view(wanted).reshape(shape)

    def zeros(self, shape: Shape) -> Array:
        """A private buffer of zeros."""
        self._private_bytes += prod(shape) * self.dtype.itemsize
        return aligned_zeros(prod(shape), self.dtype).reshape(shape)

    def lasting(self, name: Hashable, shape: Shape) -> Array:
        """The buffer of that name, for all passes: zeros until one of them fills it."""
        if name not in self._lasting:
            self._lasting[name] = self.zeros(shape)
        return self._lasting[name]

    def scalar(self, value: float) -> Array:
        """A number as a 0-d array: a ufunc takes it at half the price of a Python number."""
        return np.array(value, self.dtype)

    def ones(self, shape: Shape) -> Array:
        """A private buffer of ones."""
        ones = self.zeros(shape)
        ones[...] = 1
        return ones


class HollowMemory(Memory):
    """Counts what would be handed out and takes none: its arrays have shapes, and one value for all places."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        super().__init__(dtype)
        self._shared: list[int] = []

    @property
    def size_bytes(self) -> int:
        return sum(self._shared) + self._private_bytes

    def array(self, shape: Shape, dtype: npt.DTypeLike | None = None) -> Array:
        size_bytes = prod(shape) * np.dtype(dtype or self.dtype).itemsize
        if self._next == len(self._shared):
            self._shared.append(0)
        self._shared[self._next] = max(self._shared[self._next], size_bytes)
        self._next += 1
        return hollow(shape, dtype or self.dtype)

    def zeros(self, shape: Shape) -> Array:
        self._private_bytes += prod(shape) * self.dtype.itemsize
        return hollow(shape, self.dtype)


def hollow(shape: Shape, dtype: npt.DTypeLike) -> Array:
    """An array of this shape that takes no memory: all its places are one value."""
    return np.lib.stride_tricks.as_strided(np.zeros(1, dtype), shape, (0,) * len(shape))
