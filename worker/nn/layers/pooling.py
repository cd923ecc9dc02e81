"""Pooling: each window of an image or a sequence becomes one value a channel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from singlepoint.jobs.spec.network import AveragePool1D, AveragePool2D, GlobalAveragePool, MaxPool1D, MaxPool2D
from singlepoint.worker.nn.arrays import Array, Memory, Shape

from .base import Kernel, LayerPlan, Moment, Place, Setting, Tensors
from .windows import Windows

Pool = MaxPool1D | MaxPool2D | AveragePool1D | AveragePool2D


def plan_pool(layer: Pool, place: Place) -> LayerPlan:
    flat = layer.type.endswith("1d")
    axes, remedy = ("(steps, features)", "use a 2d pool for images") if flat else ("(height, width, channels)", "")
    place.need_rank(2 if flat else 3, axes, remedy or "give images a channel axis, as in (28, 28, 1)")
    if flat and (isinstance(layer.size, tuple) or isinstance(layer.stride, tuple)):
        raise place.error(f"needs one size and stride, got {layer.size} and {layer.stride}")
    windows = windows_of(layer, place)
    output = (*windows.counts[1 if flat else 0 :], windows.channels)
    return place.plan(output, floats_per_row=4 * prod(output) + 2 * prod(windows.padded_shape))


def windows_of(layer: Pool, place: Place) -> Windows:
    return Windows.over(place, layer.size, layer.stride or layer.size, layer.padding)


class Winners:
    """Which value of each pooling window was the largest; of equal ones the first, as in PyTorch.

    of: (places in a window, *shape), true for the winner.
    """

    def __init__(self, places: int, shape: Shape, memory: Memory) -> None:
        self.of = memory.array((places, *shape), np.bool_)
        self._taken = memory.array(shape, np.bool_)

    def remember(self, values: Sequence[Array], maxima: Array, rows: slice) -> None:
        """values: of each place.  maxima: over the places, of these rows."""
        taken = self._taken[rows]
        *winners, last = self.of[:, rows]
        np.equal(values[0], maxima, out=taken)
        np.copyto(self.of[0, rows], taken)
        for winner, value in zip(winners[1:], values[1:], strict=False):
            np.equal(value, maxima, out=winner)
            np.greater(winner, taken, out=winner)
            np.logical_or(taken, winner, out=taken)
        if winners:
            np.logical_not(taken, out=last)  # whoever is left


class _PoolKernel(Kernel):
    """Padding, and images for sequences; `fill` is what padding holds."""

    fill: float

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        self.lengths = None
        assert isinstance(plan.layer, Pool)
        place = Place(plan.index, plan.name, plan.layer, plan.input_shape, None)
        self.windows, memory, rows = windows_of(plan.layer, place), setting.memory, setting.rows
        self.y = memory.array((rows, *plan.output_shape))
        self.y_image = self.y.reshape(rows, *self.windows.counts, self.windows.channels)
        self.padded = memory.zeros((rows, *self.windows.padded_shape)) if self.windows.padded else None
        if self.padded is not None:
            self.padded[...] = self.fill
        if setting.training:
            self.dx_padded = memory.array((rows, *self.windows.padded_shape))
            self.dx = memory.array((rows, *plan.input_shape)) if self.windows.padded else self.dx_padded
            self.dx = self.dx.reshape(rows, *plan.input_shape)

    def image(self, x: Array) -> Array:
        """x as (rows, *padded_shape)."""
        x = x.reshape(len(x), *self.windows.input_shape)
        if self.padded is None:
            return x
        np.copyto(self.windows.inside(self.padded), x)
        return self.padded

    def unpadded(self) -> Array:
        """The gradient of the input, from that of the padded image."""
        if self.windows.padded:
            np.copyto(self.dx.reshape(-1, *self.windows.input_shape), self.windows.inside(self.dx_padded))
        return self.dx


class MaxPoolKernel(_PoolKernel):
    fill = -np.inf

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        self.winners = None
        if setting.training:
            places = self.windows.y.window * self.windows.x.window
            self.winners = Winners(places, self.y_image.shape, setting.memory)
            self.share = setting.memory.array(self.y_image.shape)

    def forward(self, x: Array, moment: Moment | None) -> Array:
        values = list(self.windows.elements(self.image(x)))
        np.copyto(self.y_image, values[0])
        for value in values[1:]:
            np.maximum(self.y_image, value, out=self.y_image)
        if self.winners:
            self.winners.remember(values, self.y_image, slice(0, len(x)))
        return self.y

    def backward(self, dy: Array) -> Array:
        assert self.winners is not None
        dy = dy.reshape(self.y_image.shape)
        self.dx_padded[...] = 0
        for winner, pixels in zip(self.winners.of, self.windows.elements(self.dx_padded), strict=True):
            np.add(pixels, np.multiply(dy, winner, out=self.share), out=pixels)
        return self.unpadded()


class AveragePoolKernel(_PoolKernel):
    """The mean of the pixels that are not padding."""

    fill = 0.0

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        real = np.zeros((1, *self.windows.padded_shape[:2], 1), self.y.dtype)
        self.windows.inside(real)[...] = 1
        self.weight = 1 / sum(self.windows.elements(real))

    def forward(self, x: Array, moment: Moment | None) -> Array:
        elements = self.windows.elements(self.image(x))
        np.copyto(self.y_image, next(elements))
        for element in elements:
            np.add(self.y_image, element, out=self.y_image)
        np.multiply(self.y_image, self.weight, out=self.y_image)
        return self.y

    def backward(self, dy: Array) -> Array:
        dy = dy.reshape(self.y_image.shape)
        np.multiply(dy, self.weight, out=dy)
        self.dx_padded[...] = 0
        for element in self.windows.elements(self.dx_padded):
            np.add(element, dy, out=element)
        return self.unpadded()


def plan_global(layer: GlobalAveragePool, place: Place) -> LayerPlan:
    if len(place.input_shape) < 2:
        raise place.error(f"needs images or sequences, got {place.input_shape}; leave it out")
    return place.plan(place.input_shape[-1:], floats_per_row=3 * prod(place.input_shape))


class GlobalAveragePoolKernel(Kernel):
    """The mean over all positions; of a sequence with padding, over the steps that are real."""

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        rows, channels = setting.rows, plan.input_shape[-1]
        positions = prod(plan.input_shape[:-1])
        self.flat = (rows, positions, channels)
        self.y = setting.memory.array((rows, channels))
        self.steps, self.lengths = setting.lengths, None
        self.ordinal = np.arange(positions)
        self.weights = setting.memory.array((rows, 1, positions))
        self.dx = setting.memory.array((rows, *plan.input_shape))

    def forward(self, x: Array, moment: Moment | None) -> Array:
        if self.steps is None:
            self.weights[...] = 1 / self.flat[1]
        else:
            np.less(self.ordinal, self.steps[:, None], out=self.weights[:, 0])
            # A row of nothing but padding has mean 0.
            np.divide(self.weights[:, 0], np.maximum(self.steps, 1)[:, None], out=self.weights[:, 0])
        np.matmul(self.weights, x.reshape(self.flat), out=self.y[:, None])
        return self.y

    def backward(self, dy: Array) -> Array:
        np.multiply(self.weights.transpose(0, 2, 1), dy[:, None], out=self.dx.reshape(self.flat))
        return self.dx
