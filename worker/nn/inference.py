"""Forward passes over any number of rows, some at a time.

How many go through together is a matter of speed and memory only: the bits of a row depend on the weights and the row
(see `layers.products`), so it may follow the number of rows and the size of the network.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from singlepoint.worker.nn.layers.products import LANES, Product, in_lanes

from .arrays import Array, Input, Memory, take_rows
from .network import Network
from .passes import Pass

INFERENCE_ROWS = 16 * LANES  # in one pass, at most
INFERENCE_BYTES = 1 << 25  # of activations, about, unless LANES rows need more


class InferenceSession:
    """A network made ready to predict, by one thread at a time; any number of sessions may share the network.

    logits: leave out the last activation, for a loss fused with it.  rows: in one pass, at most.
    product: one with which a row's bits depend on that row alone, on the BLAS at hand (see `layers.products`).
    """

    def __init__(
        self,
        network: Network,
        *,
        logits: bool = False,
        memory: Memory | None = None,
        product: Product = in_lanes,
    ) -> None:
        self.network, self._logits, self._product = network, logits, product
        self._memory = memory or Memory(network.dtype)  # one for passes of all sizes: one is in use at a time
        self._passes: dict[int, tuple[Pass, Array]] = {}
        affordable = INFERENCE_BYTES // network.plan.activation_bytes_per_row // LANES * LANES
        self.rows = max(LANES, min(INFERENCE_ROWS, affordable))

    def predict(self, x: Input) -> Array:
        """Outputs (n, *output_shape) for rows x (n, *input_shape).

        The bits of a row depend on the weights and on that row only: not on n, nor on the rows beside it.
        Raises ValueError when x has another shape.
        """
        if len(x.shape) == 0 or x.shape[1:] != self.network.input_shape:
            raise ValueError(f"the network takes rows of shape {self.network.input_shape}, got an array of {x.shape}")
        outputs = np.empty((x.shape[0], *self.network.output_shape), self.network.dtype)
        for part, values in self.passes(x):
            outputs[part] = values
        return outputs

    def passes(self, x: Input) -> Iterator[tuple[slice, Array]]:
        """(which rows, their outputs) for one pass after another; outputs are overwritten by the next."""
        rows = x.shape[0]
        for start in range(0, rows, self.rows):
            part = slice(start, min(start + self.rows, rows))
            count = part.stop - start
            bound, entering = self._bound(count)
            take_rows(x, part, entering[:count])
            entering[count:] = 0
            with np.errstate(all="ignore"):  # an exponential may overflow where only its reciprocal matters
                outputs = bound.forward(entering)
            yield part, outputs[:count]

    def _bound(self, rows: int) -> tuple[Pass, Array]:
        """A pass with room for `rows` rows, and its input; few sizes, of which none is much too large."""
        size = self.padded(rows)
        if size not in self._passes:
            entering = np.zeros((size, *self.network.input_shape), self.network.input_type)
            bound = Pass(
                self.network,
                size,
                training=False,
                logits=self._logits,
                memory=self._memory,
                product=self._product,
            )
            self._passes[size] = (bound, entering)
        return self._passes[size]

    def padded(self, rows: int) -> int:
        """How many rows the pass has that takes `rows` of them."""
        return min(1 if rows == 1 else LANES << max((rows - 1) // LANES, 0).bit_length(), self.rows)
