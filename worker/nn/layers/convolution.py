"""Conv1D and Conv2D, alone or with the max-pooling after them; see `columns`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from singlepoint.jobs.spec.network import Activation, Conv1D, Conv2D, MaxPool2D
from singlepoint.worker.nn.arrays import Array, Memory

from .activations import ACTIVATIONS
from .base import Kernel, LayerPlan, Moment, Parameter, Place, Setting, Tensors, default_initialiser
from .columns import FEW_CHANNELS, Columns, Grid
from .pooling import Winners, windows_of
from .windows import Axis, Windows

NON_DECREASING: frozenset[Activation] = frozenset({"linear", "relu", "leaky_relu"})
"""Activations whose rounded values never decrease, so that they may change places with a maximum."""


def plan(layer: Conv1D | Conv2D, place: Place) -> LayerPlan:
    flat = isinstance(layer, Conv1D)
    if flat:
        place.need_rank(2, "(steps, features)", "use conv2d for images")
    else:
        place.need_rank(3, "(height, width, channels)", "give images a channel axis, as in (28, 28, 1)")
    windows = Windows.over(place, layer.kernel, layer.stride, layer.padding)
    size = (windows.y.window, windows.x.window)[1 if flat else 0 :]
    area, output = prod(size), (*windows.counts[1 if flat else 0 :], layer.filters)
    initialiser = layer.initialiser or default_initialiser(layer.activation)
    fan_in, fan_out = area * windows.channels, area * layer.filters
    shape = (layer.filters, windows.channels, *size)
    axes = (*range(2, len(shape)), 1, 0)
    weight = Parameter("weight", shape, initialiser, fan_in, fan_out, axes, l1=layer.l1, l2=layer.l2)
    bias = Parameter("bias", (layer.filters,), layer.bias_initialiser, fan_in, fan_out, axes=(0,))
    kept = area * prod(output[:-1]) * windows.channels if windows.channels < FEW_CHANNELS else 0
    return place.plan(output, 3 * prod(output) + prod(place.input_shape) + kept, (weight, bias))


class Convolver:
    """The arithmetic of a convolution without bias, for the windows of some grids, chunk by chunk.

    w, dw: (window values, filters).  z, dz: (images, grids, windows, filters).
    """

    def __init__(self, plan: LayerPlan, grids: Sequence[Grid] | None, tensors: Tensors, setting: Setting) -> None:
        layer, memory, rows = plan.layer, setting.memory, setting.rows
        assert isinstance(layer, Conv1D | Conv2D)
        place = Place(plan.index, plan.name, layer, plan.input_shape, None)
        self.windows = Windows.over(place, layer.kernel, layer.stride, layer.padding)
        self.grids = grids or [Grid.all(self.windows)]
        keep = setting.training and self.windows.channels < FEW_CHANNELS
        self.columns = Columns(self.windows, self.grids, rows, memory, keep=keep)
        self.w = tensors.parameters["weight"].reshape(-1, layer.filters)
        self.dw = tensors.gradients["weight"].reshape(self.w.shape) if setting.training else None
        self.part = memory.array(self.w.shape) if setting.training else self.w
        self.scatter = Scatter(self, memory) if setting.input_gradient else None

    def forward(self, x: Array, start: int, z: Array) -> None:
        """z := the convolution of the chunk of x that begins at `start`."""
        columns = self.columns.of(x, start)
        if self.dw is None:
            # One product an image: the bits of a prediction must not depend on the images beside it.
            np.matmul(columns.reshape(len(z), -1, len(self.w)), self.w, out=z.reshape(len(z), -1, z.shape[-1]))
        else:
            np.dot(columns, self.w, out=z.reshape(-1, z.shape[-1]))

    def backward(self, x: Array, start: int, dz: Array) -> None:
        """Adds a chunk to the gradient of the weights, which the first begins, and fills its part of dx."""
        assert self.dw is not None
        kept = self.columns.kept or len(self.columns.starts) == 1
        columns = self.columns.again(start) if kept else self.columns.of(x, start)
        flat = dz.reshape(len(columns), -1)
        if start == 0:
            np.dot(columns.T, flat, out=self.dw)
        else:
            np.add(self.dw, np.dot(columns.T, flat, out=self.part), out=self.dw)
        if self.scatter:
            self.scatter(start, dz)

    @property
    def dx(self) -> Array:
        """Gradient of the input, (rows, *windows.input_shape); meaningless unless it was asked for."""
        return self.scatter.dx if self.scatter else self.w


class Scatter:
    """Gradient of the input of a convolution: each window's is added to the pixels it covers.

    One product for each position in the window, so that what is added lies row by row, as the pixels do. That is
    fewer multiplications than convolving with the kernel turned round, as only windows count, not pixels.
    """

    def __init__(self, of: Convolver, memory: Memory) -> None:
        self.windows, self.columns, self.grids = of.windows, of.columns, of.grids
        (height, width), filters = self._covered(), of.w.shape[1]
        chunk, area = self.columns.chunk, self.windows.y.window * self.windows.x.window
        self.w = of.w.reshape(area, self.windows.channels, filters).transpose(0, 2, 1)
        self.dx = memory.array((self.columns.rows, *self.windows.input_shape))
        self.padded = memory.array((chunk, *self.windows.padded_shape)) if self.windows.padded else None
        # Windows in the order of the image; those that no grid covers stay zero.
        self.dz = memory.zeros((chunk, height, width, filters)) if len(self.grids) > 1 else None
        self.parts = memory.array((area, chunk * height * width, self.windows.channels))
        self.spans = [
            (self._span(self.windows.y, row, height), self._span(self.windows.x, column, width))
            for row in range(self.windows.y.window)
            for column in range(self.windows.x.window)
        ]

    def _covered(self) -> tuple[int, int]:
        """Height and width, in windows, of what the grids reach."""
        (rows, columns), (down, along), last = self.grids[0].counts, self.grids[0].every, self.grids[-1].first
        return (rows - 1) * down + last[0] + 1, (columns - 1) * along + last[1] + 1

    @staticmethod
    def _span(axis: Axis, offset: int, count: int) -> slice:
        return slice(offset, offset + (count - 1) * axis.stride + 1, axis.stride)

    def __call__(self, start: int, dz: Array) -> None:
        """Fills the chunk of dx that begins at `start`. dz: (images, grids, windows, filters)."""
        n, images = len(dz), self.columns.images(start)
        if self.dz is not None:
            for index, grid in enumerate(self.grids):
                np.copyto(grid.of(self.dz[:n]), dz[:, index].reshape(n, *grid.counts, -1))
            dz = self.dz[:n]
        flat = dz.reshape(-1, self.w.shape[1])
        parts = self.parts[:, : len(flat)]
        np.matmul(flat, self.w, out=parts)
        pixels = self.dx[images] if self.padded is None else self.padded[:n]
        pixels[...] = 0
        for (rows, columns), part in zip(self.spans, parts, strict=True):
            target = pixels[:, rows, columns]
            np.add(target, part.reshape(target.shape), out=target)
        if self.padded is not None:
            np.copyto(self.dx[images], self.windows.inside(self.padded[:n]))


class ConvolutionKernel(Kernel):
    """y = f(x * W + b). W is held as (height, width, channels, filters)."""

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        self.lengths = None
        self.convolver = Convolver(plan, None, tensors, setting)
        self.b, self.db = tensors.parameters["bias"], tensors.gradients.get("bias")
        self.entered: Array | None = None
        self.input_shape, filters = (setting.rows, *plan.input_shape), plan.output_shape[-1]
        self.y = setting.memory.array((setting.rows, *plan.output_shape))
        self.flat = (setting.rows, 1, self.y.size // setting.rows // filters, filters)
        self.activation = ACTIVATIONS[plan.layer.activation](self.y, setting.memory, setting.training)  # type: ignore[attr-defined]
        if setting.training:
            self.ones = setting.memory.ones((self.y.size // filters,))

    def forward(self, x: Array, moment: Moment | None) -> Array:
        if x is not self.entered:  # the same buffer, step after step
            self.entered, self.x = x, x.reshape(-1, *self.convolver.windows.input_shape)
        z = self.y.reshape(self.flat)
        for start in self.convolver.columns.starts:
            self.convolver.forward(self.x, start, z[self.convolver.columns.images(start)])
        np.add(self.y, self.b, out=self.y)
        self.activation.forward()
        return self.y

    def backward(self, dy: Array) -> Array:
        self.activation.backward(dy)
        dz = dy.reshape(self.flat)
        np.dot(self.ones, dz.reshape(-1, dz.shape[-1]), out=self.db)
        for start in self.convolver.columns.starts:
            self.convolver.backward(self.x, start, dz[self.convolver.columns.images(start)])
        return self.convolver.dx.reshape(self.input_shape) if self.convolver.scatter else dy


class PooledConvolutionKernel(Kernel):
    """A Conv2D and the MaxPool2D after it, as one, for pooling windows that do not overlap.

    The windows are convolved in order of their place in the pooling window, so that pooling compares whole blocks, a
    chunk at a time while it is in the cache; what pooling would leave out is not computed. Bias and activation come
    after pooling, on a quarter of the values (of 2x2 windows). As they do not decrease, the largest value stays the
    largest, and the result is the same to the last bit.
    """

    def __init__(self, plans: tuple[LayerPlan, LayerPlan], tensors: Tensors, setting: Setting) -> None:
        conv, pool = plans
        super().__init__(pool, tensors, setting)
        memory, rows, filters = setting.memory, setting.rows, pool.output_shape[-1]
        grids = Grid.by_place(pooled_windows(pool))
        self.convolver = Convolver(conv, grids, tensors, setting)
        self.b, self.db = tensors.parameters["bias"], tensors.gradients.get("bias")
        places, windows = len(grids), prod(grids[0].counts)
        self.z = memory.array((self.convolver.columns.chunk, places, windows, filters))
        self.y = memory.array((rows, *pool.output_shape))
        self.flat = (rows, windows, filters)
        self.activation = ACTIVATIONS[conv.layer.activation](self.y, memory, setting.training)  # type: ignore[attr-defined]
        self.winners = None
        if setting.training:
            self.winners = Winners(places, self.flat, memory)
            self.ones = memory.ones((rows * windows,))

    def forward(self, x: Array, moment: Moment | None) -> Array:
        self.x, y = x, self.y.reshape(self.flat)
        for start in self.convolver.columns.starts:
            rows = self.convolver.columns.images(start)
            z, maxima = self.z[: rows.stop - start], y[rows]
            self.convolver.forward(x, start, z)
            np.maximum(z[:, 0], z[:, -1], out=maxima)
            for place in range(1, z.shape[1] - 1):
                np.maximum(maxima, z[:, place], out=maxima)
            if self.winners:
                self.winners.remember([z[:, place] for place in range(z.shape[1])], maxima, rows)
        np.add(self.y, self.b, out=self.y)
        self.activation.forward()
        return self.y

    def backward(self, dy: Array) -> Array:
        assert self.winners is not None
        self.activation.backward(dy)
        dy = dy.reshape(self.flat)
        np.dot(self.ones, dy.reshape(-1, dy.shape[-1]), out=self.db)
        for start in self.convolver.columns.starts:
            rows = self.convolver.columns.images(start)
            dz = self.z[: rows.stop - start]
            for place in range(dz.shape[1]):
                np.multiply(dy[rows], self.winners.of[place, rows], out=dz[:, place])
            self.convolver.backward(self.x, start, dz)
        return self.convolver.dx


def pooled_windows(pool: LayerPlan) -> Windows:
    assert isinstance(pool.layer, MaxPool2D)
    return windows_of(pool.layer, Place(pool.index, pool.name, pool.layer, pool.input_shape, None))


def can_be_pooled(conv: LayerPlan, pool: LayerPlan) -> bool:
    """Whether two layers in a row can be one `PooledConvolutionKernel`."""
    if not (isinstance(conv.layer, Conv2D) and isinstance(pool.layer, MaxPool2D)):
        return False
    windows = pooled_windows(pool)
    return conv.layer.activation in NON_DECREASING and not windows.padded and not windows.overlapping
