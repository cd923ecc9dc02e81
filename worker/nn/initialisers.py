"""How weights start: the initialisers of the spec, drawn from counted random words.

A parameter's values depend on the seed and on its place in the network only, never on the float type: they are
computed in float64 and rounded once.
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

from .arrays import Shape
from .random import Purpose, normal, random_words, uniform

Values = npt.NDArray[np.float64]


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

    def normal(self) -> Values:
        """Standard normal numbers in this shape."""
        words = random_words(self.seed, Purpose.INITIALISE, self.size + self.size % 2, stream=self.stream)
        return normal(words)[: self.size].reshape(self.shape)

    def uniform(self) -> Values:
        """Numbers in [0, 1) in this shape."""
        words = random_words(self.seed, Purpose.INITIALISE, self.size, stream=self.stream)
        return uniform(words).reshape(self.shape)


def _glorot(_: Glorot, draw: Draw) -> Values:
    bound = sqrt(6.0 / (draw.fan_in + draw.fan_out))
    return bound * (2.0 * draw.uniform() - 1.0)


def _he(_: He, draw: Draw) -> Values:
    return sqrt(2.0 / draw.fan_in) * draw.normal()


def _orthogonal(_: Orthogonal, draw: Draw) -> Values:
    """Each block as (first axis, everything else): its rows are orthonormal, or its columns if they are fewer."""
    blocks = np.split(draw.normal().reshape(draw.shape[0], prod(draw.shape[1:])), draw.blocks)
    return np.concatenate([_orthonormal(block) for block in blocks]).reshape(draw.shape)


def _orthonormal(matrix: Values) -> Values:
    """The orthogonal factor of a Gaussian matrix, with the signs that make it uniformly distributed."""
    q, r = np.linalg.qr(matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return q if matrix.shape[0] >= matrix.shape[1] else q.T


def _normal(options: Normal, draw: Draw) -> Values:
    return sqrt(options.variance) * draw.normal()


def _zeros(_: Zeros, draw: Draw) -> Values:
    return np.zeros(draw.shape)


_INITIALISERS: dict[type[Part], Callable[[Any, Draw], Values]] = {
    Glorot: _glorot,
    He: _he,
    Orthogonal: _orthogonal,
    Normal: _normal,
    Zeros: _zeros,
}


def initial_values(initialiser: Initialiser, draw: Draw) -> Values:
    """The starting values of one parameter, in PyTorch's layout."""
    return _INITIALISERS[type(initialiser)](initialiser, draw)
