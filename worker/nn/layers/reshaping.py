"""Flatten and Dropout: layers that move or drop values and learn nothing."""

from __future__ import annotations

from math import prod

import numpy as np

from singlepoint.jobs.spec.network import Dropout, Flatten
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.random import Purpose, random_words

from .base import Kernel, LayerPlan, Moment, Place, Setting, Tensors


def plan_flatten(layer: Flatten, place: Place) -> LayerPlan:
    size = prod(place.input_shape)
    return place.plan((size,), floats_per_row=2 * size)


class FlattenKernel(Kernel):
    """Images are flattened channel by channel, as in PyTorch, so that a dense layer after it has PyTorch's weights.

    Sequences are flattened step by step.
    """

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        self.lengths = None
        self.input_shape = (setting.rows, *plan.input_shape)
        self.moves = len(plan.input_shape) == 3 and plan.input_shape[2] > 1
        if not self.moves:
            return
        height, width, channels = plan.input_shape
        self.y = setting.memory.array((setting.rows, *plan.output_shape))
        self.y_image = self.y.reshape(setting.rows, channels, height, width).transpose(0, 2, 3, 1)
        if setting.input_gradient:
            self.dx = setting.memory.array(self.input_shape)

    def forward(self, x: Array, moment: Moment | None) -> Array:
        if not self.moves:
            self.y = x.reshape(self.input_shape[0], -1)
        else:
            np.copyto(self.y_image, x)
        return self.y

    def backward(self, dy: Array) -> Array:
        if not self.moves:
            return dy.reshape(self.input_shape)
        np.copyto(self.dx, dy.reshape(*self.y_image.transpose(0, 3, 1, 2).shape).transpose(0, 2, 3, 1))
        return self.dx


def plan_dropout(layer: Dropout, place: Place) -> LayerPlan:
    return place.plan(place.input_shape, floats_per_row=3 * prod(place.input_shape))


class DropoutKernel(Kernel):
    """y = x * keep / P(keep) while training, x otherwise. One random byte a value: rates are in steps of 1/256.

    Source: Srivastava et al., JMLR 2014.
    """

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        layer, memory = plan.layer, setting.memory
        assert isinstance(layer, Dropout)
        self.threshold = min(round(layer.rate * 256), 255)
        self.stream = plan.index
        self.active = setting.training and self.threshold > 0
        if self.active:
            shape = (setting.rows, *plan.input_shape)
            self.keep = memory.array(shape, np.bool_)
            self.scale = memory.array(shape)
            self.y = memory.array(shape)

    def forward(self, x: Array, moment: Moment | None) -> Array:
        if not self.active:
            return x
        assert moment is not None
        size = self.y.size
        stream = self.stream + (moment.part << 32)
        words = random_words(
            moment.seed, Purpose.DROPOUT, -(-size // 8), stream=stream, epoch=moment.epoch, step=moment.step
        )
        lots = words.view(np.uint8)[:size].reshape(self.y.shape)
        np.greater_equal(lots, self.threshold, out=self.keep)
        np.copyto(self.scale, self.keep)
        np.multiply(self.scale, 256 / (256 - self.threshold), out=self.scale)
        return np.multiply(x, self.scale, out=self.y)

    def backward(self, dy: Array) -> Array:
        return np.multiply(dy, self.scale, out=dy) if self.active else dy
