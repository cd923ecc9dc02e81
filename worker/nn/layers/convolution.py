"""Convolutions, as one matrix product over the windows of a few images at a time.

The windows of a *chunk* of images are copied into a column buffer that stays in the cache until the product is
done. They are copied again for the gradient of the weights: that costs a tenth of a product, keeping them for a
whole batch costs memory and a trip to it. With stride 1 the gradient of the input is itself a convolution: of
the output's gradient, with the kernel turned by 180 degrees.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from jobs.spec.network import Activation, Conv1D, Conv2D, MaxPool2D

from ..activations import ACTIVATIONS
from ..arrays import Array, Memory
from .base import Kernel, LayerPlan, Moment, Parameter, Place, Setting, Tensors, default_initialiser
from .pooling import MaxPooler, windows_of
from .windows import Axis, Windows

CHUNK_VALUES = 1 << 18  # of columns: 1 MiB in float32
FEW_CHANNELS = 8  # below this a window's runs are so short that copying element by element is faster


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
    return place.plan(output, 3 * prod(output) + prod(place.input_shape), (weight, bias))


class Columns:
    """The windows of chunks of images, as matrices (images * windows, window values)."""

    def __init__(self, windows: Windows, rows: int, memory: Memory) -> None:
        self.windows, self.rows = windows, rows
        values = windows.y.window * windows.x.window * windows.channels
        per_image = prod(windows.counts) * values
        self.chunk = min(rows, _power_of_two_up_to(CHUNK_VALUES // per_image))
        self.padded = memory.zeros((self.chunk, *windows.padded_shape)) if windows.padded else None
        self.blocks = memory.array((self.chunk, *windows.counts, windows.y.window, windows.x.window, windows.channels))
        self.matrix = self.blocks.reshape(-1, values)

    def of(self, x: Array, start: int) -> Array:
        """Of images start.. of x (rows, *input_shape): (images * windows, values), until the next call."""
        images = x[start : start + self.chunk]
        blocks = self.blocks[: len(images)]
        if self.padded is not None:
            padded = self.padded[: len(images)]
            np.copyto(self.windows.inside(padded), images)
            images = padded
        if self.windows.channels < FEW_CHANNELS:
            for element, block in zip(self.windows.elements(images), self._by_element(blocks), strict=True):
                np.copyto(block, element)
        else:
            np.copyto(blocks, self.windows.view(images))
        return self.matrix[: len(images) * prod(self.windows.counts)]

    @staticmethod
    def _by_element(blocks: Array) -> Iterator[Array]:
        for row in range(blocks.shape[3]):
            for column in range(blocks.shape[4]):
                yield blocks[:, :, :, row, column]


class Convolver:
    """The arithmetic of a convolution without bias, chunk by chunk.

    w, dw: (window values, filters).
    """

    def __init__(self, windows: Windows, w: Array, dw: Array | None, setting: Setting) -> None:
        memory, rows = setting.memory, setting.rows
        self.windows, self.w, self.dw = windows, w, dw
        self.columns = Columns(windows, rows, memory)
        self.starts = range(0, rows, self.columns.chunk)
        if dw is not None:
            self.part = memory.array(dw.shape)
        self.turned: Columns | None = None
        if setting.input_gradient:
            self.dx = memory.array((rows, *windows.input_shape))
            if windows.y.stride == windows.x.stride == 1:
                self._prepare_turned(rows, memory)
            else:
                self.scattered = memory.array((self.columns.chunk, *windows.padded_shape))

    def _prepare_turned(self, rows: int, memory: Memory) -> None:
        """Windows over the output's gradient that give the input's, padded so that each window lies inside."""
        y, x = (
            Axis(axis.count, axis.window, 1, axis.window - 1 - axis.before, axis.window - 1 - axis.after, axis.size)
            for axis in (self.windows.y, self.windows.x)
        )
        filters = self.w.shape[1]
        self.turned = Columns(Windows(y, x, filters), rows, memory)
        self.w_turned = memory.array((y.window, x.window, filters, self.windows.channels))

    def chunk(self, start: int) -> slice:
        return slice(start, min(start + self.columns.chunk, self.columns.rows))

    def forward(self, x: Array, start: int, z: Array) -> None:
        """z (images, *counts, filters) := the convolution of the chunk of x that begins at `start`."""
        columns = self.columns.of(x, start)
        if self.dw is None:
            # One product an image: the bits of a prediction must not depend on the images beside it.
            np.matmul(columns.reshape(len(z), -1, self.w.shape[0]), self.w, out=z.reshape(len(z), -1, z.shape[-1]))
        else:
            np.dot(columns, self.w, out=z.reshape(-1, self.w.shape[1]))

    def backward_weights(self, x: Array, start: int, dz: Array) -> None:
        """Adds a chunk to the gradient of the weights; the first one begins it."""
        assert self.dw is not None
        columns = self.columns.of(x, start)
        dz = dz.reshape(len(columns), -1)
        if start == 0:
            np.dot(columns.T, dz, out=self.dw)
        else:
            np.add(self.dw, np.dot(columns.T, dz, out=self.part), out=self.dw)

    def turn(self) -> None:
        """Takes note of the weights, once before the chunks of `backward_input`."""
        if self.turned is not None:
            height, width, filters, channels = self.w_turned.shape
            w = self.w.reshape(height, width, channels, filters)
            np.copyto(self.w_turned, w[::-1, ::-1].transpose(0, 1, 3, 2))

    def backward_input(self, start: int, dz: Array) -> None:
        """Fills the chunk of dx that begins at `start`. dz: (images, *counts, filters)."""
        if self.turned is None:
            self._scatter(start, dz)
            return
        # The turned columns may come in smaller chunks than the images do.
        for inner in range(0, len(dz), self.turned.chunk):
            columns = self.turned.of(dz, inner)
            stop = min(inner + self.turned.chunk, len(dz))
            out = self.dx[start + inner : start + stop].reshape(-1, self.windows.channels)
            np.dot(columns, self.w_turned.reshape(-1, self.windows.channels), out=out)

    def _scatter(self, start: int, dz: Array) -> None:
        """Each window's gradient is added to the pixels it covers."""
        columns = self.columns.matrix[: len(dz) * prod(self.windows.counts)]
        np.dot(dz.reshape(len(columns), -1), self.w.T, out=columns)
        scattered = self.scattered[: len(dz)]
        scattered[...] = 0
        blocks = Columns._by_element(self.columns.blocks[: len(dz)])
        for element, block in zip(self.windows.elements(scattered), blocks, strict=True):
            np.add(element, block, out=element)
        np.copyto(self.dx[start : start + len(dz)], self.windows.inside(scattered))


class ConvolutionKernel(Kernel):
    """Conv1D and Conv2D: y = f(x * W + b). W is held as (height, width, channels, filters)."""

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        self.lengths = None
        self.convolver, self.b, self.db = _bind(plan, tensors, setting)
        self.input_shape = (setting.rows, *plan.input_shape)
        windows, filters = self.convolver.windows, plan.output_shape[-1]
        self.y = setting.memory.array((setting.rows, *plan.output_shape))
        self.image = self.y.reshape(setting.rows, *windows.counts, filters)
        self.activation = ACTIVATIONS[plan.layer.activation](self.y, setting.memory, setting.training)  # type: ignore[attr-defined]
        self.input_gradient = setting.input_gradient
        if setting.training:
            self.ones = setting.memory.ones((self.y.size // filters,))

    def forward(self, x: Array, moment: Moment | None) -> Array:
        self.x = x.reshape(-1, *self.convolver.windows.input_shape)
        for start in self.convolver.starts:
            self.convolver.forward(self.x, start, self.image[self.convolver.chunk(start)])
        np.add(self.y, self.b, out=self.y)
        self.activation.forward()
        return self.y

    def backward(self, dy: Array) -> Array:
        self.activation.backward(dy)
        dz = dy.reshape(self.image.shape)
        np.dot(self.ones, dz.reshape(-1, dz.shape[-1]), out=self.db)
        self.convolver.turn()
        for start in self.convolver.starts:
            part = dz[self.convolver.chunk(start)]
            self.convolver.backward_weights(self.x, start, part)
            if self.input_gradient:
                self.convolver.backward_input(start, part)
        return self.convolver.dx.reshape(self.input_shape) if self.input_gradient else dy


class PooledConvolutionKernel(Kernel):
    """A Conv2D and the MaxPool2D after it, as one: a chunk is pooled while it is in the cache.

    Bias and activation come after pooling, on a quarter of the values (of 2x2 windows). As they do not decrease, the
    largest value stays the largest, and the result is the same to the last bit.
    """

    def __init__(self, plans: tuple[LayerPlan, LayerPlan], tensors: Tensors, setting: Setting) -> None:
        conv, pool = plans
        self.lengths = None
        memory, rows, filters = setting.memory, setting.rows, pool.output_shape[-1]
        self.convolver, self.b, self.db = _bind(conv, tensors, setting)
        place = Place(pool.index, pool.name, pool.layer, pool.input_shape, None)
        self.pooled = windows_of(pool.layer, place)  # type: ignore[arg-type]
        self.pooler = MaxPooler(self.pooled, rows, memory, setting.training)
        chunk = self.convolver.columns.chunk
        self.z = memory.array((chunk, *conv.output_shape))
        self.z_padded = memory.zeros((chunk, *self.pooled.padded_shape)) if self.pooled.padded else self.z
        self.y = memory.array((rows, *pool.output_shape))
        self.activation = ACTIVATIONS[conv.layer.activation](self.y, memory, setting.training)  # type: ignore[attr-defined]
        self.input_gradient = setting.input_gradient
        if setting.training:
            self.ones = memory.ones((self.y.size // filters,))

    def forward(self, x: Array, moment: Moment | None) -> Array:
        self.x = x
        if self.z_padded is not self.z:
            self.z_padded[...] = -np.inf
        for start in self.convolver.starts:
            rows = self.convolver.chunk(start)
            n = rows.stop - start
            self.convolver.forward(x, start, self.z[:n])
            if self.z_padded is not self.z:
                np.copyto(self.pooled.inside(self.z_padded[:n]), self.z[:n])
            self.pooler.forward(self.z_padded[:n], self.y[rows], start)
        np.add(self.y, self.b, out=self.y)
        self.activation.forward()
        return self.y

    def backward(self, dy: Array) -> Array:
        self.activation.backward(dy)
        np.dot(self.ones, dy.reshape(-1, dy.shape[-1]), out=self.db)
        self.convolver.turn()
        for start in self.convolver.starts:
            rows = self.convolver.chunk(start)
            n = rows.stop - start
            dz = self.z[:n]
            self.pooler.backward(dy[rows], self.z_padded[:n], start)
            if self.z_padded is not self.z:
                np.copyto(dz, self.pooled.inside(self.z_padded[:n]))
            self.convolver.backward_weights(self.x, start, dz)
            if self.input_gradient:
                self.convolver.backward_input(start, dz)
        return self.convolver.dx if self.input_gradient else dy


NON_DECREASING: frozenset[Activation] = frozenset({"linear", "relu", "leaky_relu"})
"""Activations whose rounded values never decrease, so that they may change places with a maximum."""


def can_be_pooled(conv: LayerPlan, pool: LayerPlan) -> bool:
    """Whether two layers in a row can be one `PooledConvolutionKernel`."""
    return (
        isinstance(conv.layer, Conv2D) and isinstance(pool.layer, MaxPool2D) and conv.layer.activation in NON_DECREASING
    )


def _bind(plan: LayerPlan, tensors: Tensors, setting: Setting) -> tuple[Convolver, Array, Array]:
    """The convolver of a planned layer, its bias, and the bias's gradient (without training: the bias again)."""
    layer = plan.layer
    assert isinstance(layer, Conv1D | Conv2D)
    place = Place(plan.index, plan.name, layer, plan.input_shape, None)
    windows = Windows.over(place, layer.kernel, layer.stride, layer.padding)
    w, b = tensors.parameters["weight"].reshape(-1, layer.filters), tensors.parameters["bias"]
    dw = tensors.gradients["weight"].reshape(w.shape) if setting.training else None
    return Convolver(windows, w, dw, setting), b, tensors.gradients.get("bias", b)


def _power_of_two_up_to(limit: int) -> int:
    return 1 << max(limit.bit_length() - 1, 0)
