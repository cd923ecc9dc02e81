"""Forward passes over any number of rows, tile by tile.

Tiles are there for speed and memory only: the bits of a row depend on the weights and the row (see
`layers.products`), so their size may follow the number of rows and the size of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from singlepoint.worker.nn.layers.products import LANES

from .arrays import Array, Memory
from .passes import Pass

if TYPE_CHECKING:
    from .network import Network

TILE = 16 * LANES  # rows, at most
TILE_BYTES = 1 << 25  # of activations, about, unless LANES rows need more


class Predictor:
    """A network made ready to predict. logits: leave out the last activation, for a loss fused with it."""

    def __init__(self, network: Network, *, logits: bool = False) -> None:
        self._network, self._logits = network, logits
        self._memory = Memory(network.dtype)
        self._passes: dict[int, tuple[Pass, Array]] = {}
        affordable = TILE_BYTES // network.plan.activation_bytes_per_row // LANES * LANES
        self.tile = max(LANES, min(TILE, affordable))

    def tiles(self, rows: int, fill: Callable[[slice, Array], None]) -> Iterator[tuple[slice, Array]]:
        """(which rows, their outputs) for tile after tile; outputs are overwritten by the next.

        fill: puts the rows of a slice into an array (len, *input_shape).
        """
        for start in range(0, rows, self.tile):
            part = slice(start, min(start + self.tile, rows))
            count = part.stop - start
            bound, x = self._bound(count)
            fill(part, x[:count])
            x[count:] = 0
            with np.errstate(all="ignore"):  # an exponential may overflow where only its reciprocal matters
                outputs = bound.forward(x)
            yield part, outputs[:count]

    def _bound(self, rows: int) -> tuple[Pass, Array]:
        """A pass with room for `rows` rows, and its input; few sizes, of which none is much too large."""
        size = min(1 if rows == 1 else LANES << max((rows - 1) // LANES, 0).bit_length(), self.tile)
        if size not in self._passes:
            x = np.zeros((size, *self._network.input_shape), self._network.input_type)
            self._passes[size] = (Pass(self._network, size, training=False, logits=self._logits), x)
        return self._passes[size]
