"""The product of rows with weights, x W^T: as fast as it gets for training, row by row the same bits for prediction.

BLAS adds up in an order that depends on the shape of the whole product, and within one product on where a row lies:
OpenBLAS on AVX2 machines gives equal rows different last bits at different places of a 64-row product. Among 16 rows
that lie along the vector lanes of its kernels nothing tells one from another. So predictions multiply 16 rows at a
time, which costs about a third of the product's speed; training, which always sees the same batches, need not.
"""

from __future__ import annotations

import numpy as np

from singlepoint.worker.nn.arrays import Array, Memory

LANES = 16  # rows in one product of a prediction


class RowProduct:
    """x W^T for `rows` rows. w: (outputs, inputs)."""

    def __init__(self, rows: int, w: Array, memory: Memory) -> None:
        blocks, self.rows, self.w = lane_blocks(rows), rows, w
        self.product = memory.array((blocks, len(w), LANES))
        self.filled_up = memory.zeros((blocks * LANES, w.shape[1])) if rows < blocks * LANES else None

    def __call__(self, x: Array) -> Array:
        """(blocks, LANES, outputs) for x (rows, inputs); a view that the next call overwrites."""
        if self.filled_up is not None:
            self.filled_up[: self.rows] = x
            x = self.filled_up
        np.matmul(self.w, x.reshape(-1, LANES, x.shape[1]).transpose(0, 2, 1), out=self.product)
        return self.product.transpose(0, 2, 1)


def lane_blocks(rows: int) -> int:
    """How many blocks of LANES hold this many rows."""
    return -(-rows // LANES)
