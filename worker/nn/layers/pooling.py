"""Pooling: each window of an image or a sequence becomes one value a channel."""

from __future__ import annotations

from math import prod

import numpy as np

from jobs.spec.network import AveragePool1D, AveragePool2D, GlobalAveragePool, MaxPool1D, MaxPool2D

from ..arrays import Array, Memory
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


class MaxPooler:
    """Max-pooling of up to `rows` images; of equal values in a window the first wins, as in PyTorch.

    winners: (window, rows, *counts, channels), kept only for training.
    """

    def __init__(self, windows: Windows, rows: int, memory: Memory, training: bool) -> None:
        self.windows, self.training = windows, training
        shape = (rows, *windows.counts, windows.channels)
        if training:
            self.winners = memory.array((windows.y.window * windows.x.window, *shape), np.bool_)
            self.taken = memory.array(shape, np.bool_)
            self.share = memory.array(shape) if windows.overlapping else None

    def forward(self, padded: Array, y: Array, start: int = 0) -> None:
        """y (n, *counts, channels) := maxima of padded (n, *padded_shape); these are rows from `start` on."""
        elements = list(self.windows.elements(padded))
        np.copyto(y, elements[0])
        for element in elements[1:]:
            np.maximum(y, element, out=y)
        if self.training:
            self._remember_winners(elements, y, start)

    def _remember_winners(self, elements: list[Array], y: Array, start: int) -> None:
        rows = slice(start, start + len(y))
        taken = self.taken[rows]
        for winner, element in zip(self.winners[:, rows], elements, strict=True):
            np.equal(element, y, out=winner)
            if element is elements[0]:
                np.copyto(taken, winner)
            else:
                np.greater(winner, taken, out=winner)
                np.logical_or(taken, winner, out=taken)

    def backward(self, dy: Array, padded: Array, start: int = 0) -> None:
        """padded := gradient of the images, given that of the maxima."""
        winners = self.winners[:, start : start + len(dy)]
        if not self.windows.tiled:
            padded[...] = 0
        for winner, element in zip(winners, self.windows.elements(padded), strict=True):
            if self.share is None:
                np.multiply(dy, winner, out=element)
            else:
                np.add(element, np.multiply(dy, winner, out=self.share[: len(dy)]), out=element)


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
        self.pooler = MaxPooler(self.windows, setting.rows, setting.memory, setting.training)

    def forward(self, x: Array, moment: Moment | None) -> Array:
        self.pooler.forward(self.image(x), self.y_image)
        return self.y

    def backward(self, dy: Array) -> Array:
        self.pooler.backward(dy.reshape(self.y_image.shape), self.dx_padded)
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
