"""How weights start: the initialisers of the spec, drawn from counted random words.

A parameter's values depend on the seed and on its place in the network only, never on the float type: they are
computed in float64 and rounded once. They are drawn some at a time, straight into their place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.network import Glorot, He, Initialiser, Normal, Orthogonal, Zeros

from .arrays import Array, Shape, blocks
from .random import Purpose, Words, normal, random_words, uniform

Values = npt.NDArray[np.float64]

BLOCK_VALUES = 1 << 16  # drawn at a time


@dataclass(frozen=True)
class Draw:
    """One parameter to be drawn: its shape in PyTorch's layout, its fans, and where its words come from.

    blocks: how many matrices are stacked in it (the gates of a recurrent layer); each is drawn as if it stood alone.
    """

    shape: Shape
    fan_in: int
    fan_out: int
    seed: int
    stream: int
    blocks: int = 1

    @property
    def size(self) -> int:
        return prod(self.shape)

    def normal(self, start: int, stop: int) -> Values:
        """Standard normal numbers: those from `start` to `stop` of the parameter's values in C order."""
        half = (self.size + 1) // 2  # pairs of words: all their cosines come before all their sines
        parts = []
        for low, high, sine in ((0, half, False), (half, 2 * half, True)):
            first, last = max(start, low) - low, min(stop, high) - low
            if first < last:
                pairs = (self._words(first, last), self._words(half + first, half + last))
                parts.append(normal(*pairs, sine=sine))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def uniform(self, start: int, stop: int) -> Values:
        """Numbers in [0, 1), likewise."""
        return uniform(self._words(start, stop))

    def _words(self, start: int, stop: int) -> Words:
        return random_words(self.seed, Purpose.INITIALISE, stop - start, stream=self.stream, start=start)


def _glorot(_: Glorot, draw: Draw, start: int, stop: int) -> Values:
    bound = sqrt(6.0 / (draw.fan_in + draw.fan_out))
    return bound * (2.0 * draw.uniform(start, stop) - 1.0)


def _he(_: He, draw: Draw, start: int, stop: int) -> Values:
    return sqrt(2.0 / draw.fan_in) * draw.normal(start, stop)


def _normal(options: Normal, draw: Draw, start: int, stop: int) -> Values:
    return sqrt(options.variance) * draw.normal(start, stop)


def _zeros(_: Zeros, draw: Draw, start: int, stop: int) -> Values:
    return np.zeros(stop - start)


_VALUES: dict[type[Part], Callable[[Any, Draw, int, int], Values]] = {
    Glorot: _glorot,
    He: _he,
    Normal: _normal,
    Zeros: _zeros,
}
"""Those whose values are independent of each other: any run of them can be drawn alone."""


def initialise(out: Array, initialiser: Initialiser, draw: Draw, offset: float = 0.0) -> None:
    """Give a parameter its starting values. out: in PyTorch's shape, however it lies.  offset: added to them."""
    if isinstance(initialiser, Orthogonal):
        _orthogonal(out, draw, offset)
        return
    values, start = _VALUES[type(initialiser)], 0
    for block in blocks(out, BLOCK_VALUES, "writeonly"):
        block[...] = values(initialiser, draw, start, start + block.size) + offset
        start += block.size


def _orthogonal(out: Array, draw: Draw, offset: float) -> None:
    """Each block as (first axis, everything else): its rows are orthonormal, or its columns if they are fewer."""
    height = draw.shape[0] // draw.blocks
    width = prod(draw.shape[1:])
    for block in range(draw.blocks):
        start = block * height * width
        drawn = draw.normal(start, start + height * width).reshape(height, width)
        place = out[block * height : (block + 1) * height]
        place[...] = _orthonormal(drawn).reshape(place.shape) + offset


def _orthonormal(matrix: Values) -> Values:
    """The orthogonal factor of a Gaussian matrix, with the signs that make it uniformly distributed."""
    q, r = np.linalg.qr(matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T)
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return q if matrix.shape[0] >= matrix.shape[1] else q.T
