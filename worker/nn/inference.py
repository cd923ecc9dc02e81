"""Forward passes over any number of rows, some at a time.

How many go through together is a matter of speed and memory only: the bits of a row depend on the weights and the row
(see `layers.products`), so it may follow the number of rows and the size of the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from singlepoint.worker.nn.layers.products import LANES, Product, in_lanes

from .arrays import Array, Input, Memory, take_rows
from .network import Network
from .passes import Pass

INFERENCE_ROWS = 32 * LANES  # in one pass, at most
MANY_ROWS = 16 * LANES  # in a pass that is not full, at most: fewer of its places are left over
WIDE = (4 * LANES, 2 * LANES, LANES)  # a pass is whole products of so many rows: see `products.way`
INFERENCE_BYTES = 1 << 25  # of activations, about, unless LANES rows need more


@dataclass(frozen=True)
class BoundPass:
    """For whoever answers again and again, one row or a few: fill `x`, call, read what comes back before the next call.
    When the weights have changed, ask the session for it anew.

    x: (rows, *input_shape). Rows that are not wanted may hold anything finite: nobody's bits depend on them.
    Overflow is the caller's to ignore, once for all calls: `with np.errstate(all="ignore")`.
    """

    x: Array
    forward: Pass

    def __call__(self) -> Array:
        """Outputs (rows, *output_shape), overwritten by the next call of any pass of the session."""
        return self.forward.forward(self.x)


class InferenceSession:
    """A network made ready to predict, by one thread at a time; any number of sessions may share the network.

    Whoever changes the weights while it lives says so: `weights_changed`.
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
        self._bound: dict[int, BoundPass] = {}
        self._stale = set[int]()  # passes of these sizes are ready for weights that are no more
        self._ready: dict[int, BoundPass] = {}  # by the number of rows, for the weights as they are
        affordable = max(LANES, min(INFERENCE_ROWS, INFERENCE_BYTES // network.plan.answering_bytes_per_row))
        together = next(lanes for lanes in WIDE if lanes <= affordable)
        self.rows = affordable // together * together

    def predict(self, x: Input) -> Array:
        """Outputs (n, *output_shape) for rows x (n, *input_shape).

        The bits of a row depend on the weights and on that row only: not on n, nor on the rows beside it.
        Raises ValueError when x has another shape.
        """
        if len(x.shape) == 0 or x.shape[1:] != self.network.input_shape:
            raise ValueError(f"the network takes rows of shape {self.network.input_shape}, got an array of {x.shape}")
        if 0 < x.shape[0] == self._together(x.shape[0]):
            return self._pass(x, slice(0, x.shape[0])).copy()
        outputs = np.empty((x.shape[0], *self.network.output_shape), self.network.dtype)
        for part, values in self.passes(x):
            outputs[part] = values
        return outputs

    def passes(self, x: Input) -> Iterator[tuple[slice, Array]]:
        """(which rows, their outputs) for one pass after another; outputs are overwritten by the next."""
        start, rows = 0, x.shape[0]
        while start < rows:
            part = slice(start, start + self._together(rows - start))
            yield part, self._pass(x, part)
            start = part.stop

    def _together(self, rows: int) -> int:
        """How many of so many rows go through together next."""
        return self.rows if rows >= self.rows else min(rows, MANY_ROWS)

    def _pass(self, x: Input, part: slice) -> Array:
        count = part.stop - part.start
        bound = self.bound(count)
        entering = self._as_they_lie(x, part, bound)
        if entering is None:
            entering = bound.x
            take_rows(x, part, entering[:count])
            entering[count:] = 0
        with np.errstate(all="ignore"):  # an exponential may overflow where only its reciprocal matters
            return bound.forward.forward(entering)[:count]

    @staticmethod
    def _as_they_lie(x: Input, part: slice, bound: BoundPass) -> Array | None:
        """The rows where they are, if a pass can read them there: for one that is full, to copy them takes long."""
        if not (bound.forward.only_reads and isinstance(x, np.ndarray) and x.dtype == bound.x.dtype):
            return None
        rows = x[part]
        fits = len(rows) == len(bound.x) and rows.flags.c_contiguous and rows.flags.aligned
        return rows if fits else None

    def bound(self, rows: int) -> BoundPass:
        """A pass with room for `rows` rows: few sizes, of which none is much too large."""
        return self._ready.get(rows) or self._made_ready(rows)

    def _made_ready(self, rows: int) -> BoundPass:
        size = self.padded(rows)
        if size not in self._bound:
            entering = np.zeros((size, *self.network.input_shape), self.network.input_type)
            forward = Pass(
                self.network,
                size,
                training=False,
                logits=self._logits,
                memory=self._memory,
                product=self._product,
            )
            self._bound[size] = BoundPass(entering, forward)
            self._stale.add(size)
        if size in self._stale:
            self._bound[size].forward.prepare()
            self._stale.remove(size)
        self._ready[rows] = self._bound[size]
        return self._bound[size]

    @property
    def size_bytes(self) -> int:
        """Of what it works in, by now; the network's weights are not among that."""
        return self._memory.size_bytes + sum(bound.x.nbytes for bound in self._bound.values())

    def weights_changed(self) -> None:
        """What was made of the weights is made anew by each pass before it is used."""
        self._stale.update(self._bound)
        self._ready.clear()

    def padded(self, rows: int) -> int:
        """How many rows the pass has that takes `rows` of them."""
        return min(1 if rows == 1 else LANES << max((rows - 1) // LANES, 0).bit_length(), self.rows)
