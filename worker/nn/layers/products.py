"""The product of rows with weights, x W^T: as fast as it gets for training, row by row the same bits for prediction.

BLAS adds up in an order that depends on the shape of the whole product, and within one product on where a row lies:
OpenBLAS on AVX2 machines gives equal rows different last bits at different places of a 64-row product. Among 16 rows
that lie along the vector lanes of its kernels nothing tells one from another. So predictions multiply 16 rows at a
time, which costs about a third of the product's speed; training, which always sees the same batches, need not.

That is a property of kernels and no law: OpenBLAS's for Sandybridge lacks it where there is one output.
`lanes_are_equal` tries it out; where it fails, `one_by_one` gives each row a product of its own, at several times the
price.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from singlepoint.worker.nn.arrays import Array, Memory, aligned_zeros

LANES = 16  # rows in one product of a prediction

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


class RowProduct:
    """x W^T for `rows` rows. w: (outputs, inputs).

    product: (blocks, lanes, outputs), what a call gives; of a single block only the lanes that hold rows.
    """

    def __init__(self, rows: int, w: Array, memory: Memory, product: Product = in_lanes) -> None:
        blocks, self.rows, self.w, self._multiply = lane_blocks(rows), rows, w, product
        self._lanes = memory.array((blocks, len(w), LANES))
        self.product = self._lanes.transpose(0, 2, 1)[:, : rows if blocks == 1 else LANES]
        self.filled_up: Array | None = None
        if rows < blocks * LANES:
            self.filled_up = memory.zeros((blocks * LANES, w.shape[1]))
            self._entering = self.filled_up.reshape(blocks, LANES, -1).transpose(0, 2, 1)

    def __call__(self, x: Array) -> Array:
        """`product` for x (rows, inputs); a view that the next call overwrites."""
        if self.filled_up is None:
            self._multiply(self.w, x.reshape(-1, LANES, x.shape[1]).transpose(0, 2, 1), self._lanes)
        else:
            self.filled_up[: self.rows] = x
            self._multiply(self.w, self._entering, self._lanes)
        return self.product


def lane_blocks(rows: int) -> int:
    """How many blocks of LANES hold this many rows."""
    return -(-rows // LANES)
