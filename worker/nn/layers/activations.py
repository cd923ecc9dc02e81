"""Activation functions, bound to the buffer they work in.

A bound activation turns its buffer `y` from pre-activations into activations in place, and a gradient with
respect to the activations into one with respect to the pre-activations, also in place.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from singlepoint.jobs.spec.network import Activation
from singlepoint.worker.nn.arrays import Array, Memory, rows_in_a_run

LEAKY_SLOPE = 0.01  # PyTorch's default
FEW_VALUES = 64  # along the axis of a softmax
IN_A_ROW = 7  # numpy adds up so many one after another, whichever way they lie; more in an order of its own


class Bound:
    """Linear, and the base of the others: nothing to do in either direction.

    y: (rows, ...), the buffer, kept for the backward half.  training: whether that half will be asked for.
    """

    def __init__(self, y: Array, memory: Memory, training: bool) -> None:
        self.y = y

    def forward(self) -> None:
        """y := f(y)."""

    def backward(self, dy: Array) -> None:
        """dy := dy * f'(y before), where y is what `forward` left."""


class _ReLU(Bound):
    """Below zero it comes to -0.0, also where a sum has overflowed."""

    def __init__(self, y: Array, memory: Memory, training: bool) -> None:
        super().__init__(y, memory, training)
        values = y.size // len(y)
        run = rows_in_a_run(len(y), values) * values
        self.runs = y.reshape(-1, run)
        self.floor = memory.lasting(("floor", run), (run,))
        self.floor[...] = -0.0
        if training:
            self.positive = memory.array(y.shape, np.bool_)
            self.zero = memory.scalar(0)

    def forward(self) -> None:
        # An array as the other factor: against a scalar it takes twice as long. Of two zeros the second is the larger.
        np.maximum(self.floor, self.runs, out=self.runs)

    def backward(self, dy: Array) -> None:
        np.greater(self.y, self.zero, out=self.positive)
        np.multiply(dy, self.positive, out=dy)


class _LeakyReLU(Bound):
    def __init__(self, y: Array, memory: Memory, training: bool) -> None:
        super().__init__(y, memory, training)
        self.slope = memory.array(y.shape)

    def forward(self) -> None:
        np.greater(self.y, 0, out=self.slope)
        np.multiply(self.slope, 1 - LEAKY_SLOPE, out=self.slope)
        np.add(self.slope, LEAKY_SLOPE, out=self.slope)
        np.multiply(self.y, self.slope, out=self.y)

    def backward(self, dy: Array) -> None:
        np.multiply(dy, self.slope, out=dy)


class _Tanh(Bound):
    def __init__(self, y: Array, memory: Memory, training: bool) -> None:
        super().__init__(y, memory, training)
        if training:
            self.scratch = memory.array(y.shape)

    def forward(self) -> None:
        np.tanh(self.y, out=self.y)

    def backward(self, dy: Array) -> None:
        np.multiply(self.y, self.y, out=self.scratch)
        np.subtract(1, self.scratch, out=self.scratch)
        np.multiply(dy, self.scratch, out=dy)


class _Sigmoid(_Tanh):
    def forward(self) -> None:
        sigmoid(self.y)

    def backward(self, dy: Array) -> None:
        np.subtract(1, self.y, out=self.scratch)
        np.multiply(self.scratch, self.y, out=self.scratch)
        np.multiply(dy, self.scratch, out=dy)


class _GELU(Bound):
    """z * Phi(z), Phi by its tanh approximation (numpy has no erf). Source: Hendrycks & Gimpel, 2016."""

    SCALE, CUBIC = sqrt(2 / pi), 0.044715

    def __init__(self, y: Array, memory: Memory, training: bool) -> None:
        super().__init__(y, memory, training)
        self.z, self.t, self.scratch = (memory.array(y.shape) for _ in range(3))

    def forward(self) -> None:
        z, t = self.z, self.t
        np.copyto(z, self.y)
        np.multiply(z, z, out=t)
        np.multiply(t, self.SCALE * self.CUBIC, out=t)
        np.add(t, self.SCALE, out=t)
        np.multiply(t, z, out=t)
        np.tanh(t, out=t)
        np.add(t, 1, out=self.y)
        np.multiply(self.y, z, out=self.y)
        np.multiply(self.y, 0.5, out=self.y)

    def backward(self, dy: Array) -> None:
        z, t, slope = self.z, self.t, self.scratch
        np.multiply(z, z, out=slope)
        np.multiply(slope, 3 * self.SCALE * self.CUBIC, out=slope)
        np.add(slope, self.SCALE, out=slope)
        np.multiply(slope, z, out=slope)  # z * (derivative of the tanh's argument)
        np.multiply(t, t, out=z)
        np.subtract(1, z, out=z)
        np.multiply(slope, z, out=slope)
        np.add(slope, t, out=slope)
        np.add(slope, 1, out=slope)
        np.multiply(slope, 0.5, out=slope)
        np.multiply(dy, slope, out=dy)


class _Softmax(Bound):
    def __init__(self, y: Array, memory: Memory, training: bool) -> None:
        super().__init__(y, memory, training)
        self.row = memory.array((*y.shape[:-1], 1))
        self.turned = None
        if y.shape[-1] <= FEW_VALUES and len(y) > 1:
            self.turned = memory.array((y.shape[-1], self.row.size))
        if training:
            self.scratch = memory.array(y.shape)

    def forward(self) -> None:
        softmax(self.y, self.row, self.turned)

    def backward(self, dy: Array) -> None:
        np.multiply(dy, self.y, out=self.scratch)
        np.add.reduce(self.scratch, axis=-1, keepdims=True, out=self.row)
        np.subtract(dy, self.row, out=dy)
        np.multiply(dy, self.y, out=dy)


def sigmoid(z: Array) -> None:
    """z := 1 / (1 + exp(-z)), accurate in both tails; below -80 it is exp(-80)."""
    np.negative(z, out=z)
    np.minimum(z, 80, out=z)  # exp(89) overflows float32
    np.exp(z, out=z)
    np.add(z, 1, out=z)
    np.reciprocal(z, out=z)


def softmax(z: Array, row: Array, turned: Array | None = None) -> None:
    """Each last axis of z := exp(z) / sum(exp(z)).

    row: scratch, z's shape with a last axis of 1.  turned: scratch, (last axis, others), for a short last axis: that
    way the largest values, and all else where no bit changes, are found in a fraction of the time.
    """
    rows, row_values, axis = z, row, -1
    if turned is None:
        np.maximum.reduce(z, axis=-1, keepdims=True, out=row)
    else:
        given, flat_row = z.reshape(-1, len(turned)), row.reshape(-1)
        np.copyto(turned, given.T)
        np.maximum.reduce(turned, axis=0, out=flat_row)
        if len(turned) <= IN_A_ROW:
            rows, row_values, axis = turned, flat_row[None], 0
    np.subtract(rows, row_values, out=rows)  # so that large values do not overflow
    np.exp(rows, out=rows)
    np.add.reduce(rows, axis=axis, keepdims=True, out=row_values)
    np.divide(rows, row_values, out=rows)
    if rows is turned:
        np.copyto(given, turned.T)


ACTIVATIONS: dict[Activation, type[Bound]] = {
    "linear": Bound,
    "relu": _ReLU,
    "leaky_relu": _LeakyReLU,
    "gelu": _GELU,
    "tanh": _Tanh,
    "sigmoid": _Sigmoid,
    "softmax": _Softmax,
}

RECTIFIERS: frozenset[Activation] = frozenset({"relu", "leaky_relu", "gelu"})
"""Activations whose weights start by `he` unless told otherwise; the others' by `glorot`."""
