"""The product of rows with weights, x W^T: as fast as it gets for training, row by row the same bits for prediction.

BLAS adds up in an order that depends on the shape of the whole product, and within one product on where a row lies:
OpenBLAS on AVX2 machines gives equal rows different last bits at different places of a 64-row product. Among 16 rows
that lie along the vector lanes of its kernels nothing tells one from another. So predictions multiply 16 rows at a
time, or as many more as have the same bits so: to take the weights in hand for 16 rows costs a third to a half of the
product's speed. Training, which always sees the same batches, need not.

These are properties of kernels and no laws: OpenBLAS's for Sandybridge lacks the first where there is one output, and
for AVX2 the second. `lanes_are_equal` and `block` try them out; where the first fails, `one_by_one` gives each row a
product of its own, at several times the price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from singlepoint.worker.nn.arrays import Array, Memory, aligned_zeros

LANES = 16  # rows in one product of a prediction, at least
WIDER = (256, 128, 64, 32)  # and where that changes no bit
TRIED_VALUES = 1 << 20  # at most, of weights, rows and products each, to try that out
ALIKE = 256  # outputs more or fewer change nothing in how a large product is divided

Product = Callable[[Array, Array, Array], object]
"""Called with w (outputs, inputs), x (blocks, inputs, lanes) and where w x is to be put, (blocks, outputs, lanes)."""

in_lanes: Product = np.matmul
"""All lanes of a block together."""


def one_by_one(w: Array, x: Array, out: Array) -> None:
    """Each lane by itself, from the same place in memory."""
    row, answer = aligned_zeros(w.shape[1], x.dtype), aligned_zeros(len(w), x.dtype)
    for block in range(len(x)):
        for lane in range(x.shape[-1]):
            row[...] = x[block, :, lane]
            np.matmul(w, row, answer)
            out[block, :, lane] = answer


def lanes_are_equal(product: Product = in_lanes) -> bool:
    """Whether equal rows among others have equal bits, wherever they lie: tried out on shapes and layouts of every
    kind that the layers use."""
    source = np.random.Philox(key=(0, 0))
    shapes = [(outputs, inputs) for outputs in (1, 2, 3, 10, 33) for inputs in (3, 40, 100, 129, 500)]
    return all(_holds(product, source, outputs, inputs) for outputs, inputs in shapes)


def _holds(product: Product, source: np.random.Philox, outputs: int, inputs: int) -> bool:
    w, rows, row = (_drawn(source, shape) for shape in ((outputs, inputs), (3, LANES, inputs), (inputs,)))
    rows[:, ::3] = row
    lanes, out = rows.transpose(0, 2, 1), np.empty((3, outputs, LANES), np.float32)
    for weights in (w, np.ascontiguousarray(w.T).T):
        for x in (lanes, np.ascontiguousarray(lanes)):
            product(weights, x, out)
            if not (out[:, :, ::3] == out[:1, :, :1]).all():
                return False
    return True


def _drawn(source: np.random.Philox, shape: tuple[int, ...]) -> Array:
    words = source.random_raw(int(np.prod(shape)))
    return (words.astype(np.float64) * 2.0**-63 - 1.0).astype(np.float32).reshape(shape)


def block(
    rows: int, shapes: Sequence[tuple[int, int]], product: Product, *, side_by_side: bool = False
) -> tuple[int, int]:
    """(blocks, lanes) that hold this many rows, for products with weights of these shapes, (outputs, inputs).

    More lanes than LANES only where they are full, and each row has the bits that it has among LANES.
    side_by_side: whether the rows lie so in memory, lane by lane, and not one after another.
    """
    for lanes in WIDER if product is in_lanes else ():
        if rows % lanes == 0 and all(_is_like_few(lanes, *shape, side_by_side=side_by_side) for shape in shapes):
            return rows // lanes, lanes
    return -(-rows // LANES), LANES


@cache
def _is_like_few(lanes: int, outputs: int, inputs: int, *, side_by_side: bool) -> bool:
    """Whether so many rows have the same bits together as LANES at a time: tried out. Of a product too large to be
    tried, with fewer outputs, which end alike."""
    if inputs * max(lanes, ALIKE) > TRIED_VALUES:
        return False
    while outputs * max(inputs, lanes) > TRIED_VALUES:
        outputs -= ALIKE
    chance = np.random.Generator(np.random.Philox(key=(0, 1)))
    w, rows = (chance.standard_normal((count, inputs), np.float32) for count in (outputs, lanes))
    few, many = rows.reshape(-1, LANES, inputs).transpose(0, 2, 1), rows.T[None]
    if side_by_side:
        few, many = np.ascontiguousarray(few), np.ascontiguousarray(many)
    by_few, by_many = (np.empty((len(x), outputs, x.shape[-1]), w.dtype) for x in (few, many))
    in_lanes(w, few, by_few)
    in_lanes(w, many, by_many)
    return bool((by_many.reshape(outputs, -1, LANES) == by_few.transpose(1, 0, 2)).all())


class RowProduct:
    """x W^T for `rows` rows. w: (outputs, inputs).

    product: (blocks, lanes, outputs), what a call gives; of a single block only the lanes that hold rows.
    places: for rows in all blocks, or of the one that is not full the rows.
    """

    def __init__(self, rows: int, w: Array, memory: Memory, product: Product = in_lanes) -> None:
        self.rows, self.w, self._multiply = rows, w, product
        blocks, lanes = block(rows, [w.shape], product)
        self._lanes = memory.array((blocks, len(w), lanes))
        self.product = self._lanes.transpose(0, 2, 1)[:, : min(rows, lanes)]
        self.places = blocks * min(rows, lanes)
        self.filled_up: Array | None = None
        if rows < blocks * lanes:
            self.filled_up = memory.zeros((blocks * lanes, w.shape[1]))
            self._entering = self.filled_up.reshape(blocks, lanes, -1).transpose(0, 2, 1)

    def __call__(self, x: Array) -> Array:
        """`product` for x (rows, inputs); a view that the next call overwrites."""
        if self.filled_up is None:
            self._multiply(self.w, x.reshape(len(self._lanes), -1, x.shape[1]).transpose(0, 2, 1), self._lanes)
        else:
            self.filled_up[: self.rows] = x
            self._multiply(self.w, self._entering, self._lanes)
        return self.product
