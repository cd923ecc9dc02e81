"""Layers that bring values to mean 0 and variance 1, and then scale and shift them by trained amounts."""

from __future__ import annotations

from math import prod

import numpy as np

from singlepoint.jobs.spec.network import BatchNorm, LayerNorm, Zeros
from singlepoint.worker.nn.arrays import Array

from .base import Buffer, Kernel, LayerPlan, Moment, Parameter, Place, Setting, Tensors


def plan_batch_norm(layer: BatchNorm, place: Place) -> LayerPlan:
    shape = place.input_shape[-1:]
    buffers = (Buffer("running_mean", shape, 0.0), Buffer("running_var", shape, 1.0))
    return place.plan(place.input_shape, 4 * prod(place.input_shape), _scale_and_shift(shape), buffers)


def plan_layer_norm(layer: LayerNorm, place: Place) -> LayerPlan:
    return place.plan(place.input_shape, 5 * prod(place.input_shape), _scale_and_shift(place.input_shape[-1:]))


def _scale_and_shift(shape: tuple[int, ...]) -> tuple[Parameter, Parameter]:
    weight = Parameter("weight", shape, Zeros(), 1, 1, axes=(0,), offset=1.0)
    return weight, Parameter("bias", shape, Zeros(), 1, 1, axes=(0,))


class _NormKernel(Kernel):
    """Works on (positions, channels).

    unit: the input at mean 0 and variance 1, kept for the backward half.
    """

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        assert isinstance(plan.layer, BatchNorm | LayerNorm)
        self.epsilon = plan.layer.epsilon
        shape, memory = (setting.rows, *plan.input_shape), setting.memory
        self.shape, self.positions = shape, prod(shape[:-1])
        self.weight, self.bias = tensors.parameters["weight"], tensors.parameters["bias"]
        self.y = memory.array(shape)
        self.flat_y = self.y.reshape(self.positions, -1)
        self.unit, self.scratch = memory.array(self.flat_y.shape), memory.array(self.flat_y.shape)
        if setting.training:
            self.dweight, self.dbias = tensors.gradients["weight"], tensors.gradients["bias"]
            self.ones = memory.ones((self.positions,))

    def parameter_gradients(self, dy: Array) -> None:
        """dbias = sum of dy, dweight = sum of dy * unit, over positions."""
        np.dot(self.ones, dy, out=self.dbias)
        np.multiply(dy, self.unit, out=self.scratch)
        np.dot(self.ones, self.scratch, out=self.dweight)


class BatchNormKernel(_NormKernel):
    """Channel statistics of the batch while training, running ones otherwise; PyTorch's definitions.

    The running variance is unbiased. Steps of a sequence that are padding count like any other.
    """

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        assert isinstance(plan.layer, BatchNorm)
        self.momentum, self.training = plan.layer.momentum, setting.training
        self.running_mean, self.running_var = tensors.buffers["running_mean"], tensors.buffers["running_var"]
        self.mean, self.scale, self.var = (setting.memory.array(self.weight.shape) for _ in range(3))

    def forward(self, x: Array, moment: Moment | None) -> Array:
        flat = x.reshape(self.positions, -1)
        if self.training:
            self._take_statistics(flat)
        else:
            np.subtract(flat, self.running_mean, out=self.unit)
            np.copyto(self.var, self.running_var)
        np.add(self.var, self.epsilon, out=self.scale)
        np.sqrt(self.scale, out=self.scale)
        np.divide(self.unit, self.scale, out=self.unit)
        np.multiply(self.unit, self.weight, out=self.flat_y)
        np.add(self.flat_y, self.bias, out=self.flat_y)
        return self.y

    def _take_statistics(self, flat: Array) -> None:
        """unit := x - mean; mean and var of this batch, and their share in the running ones."""
        n, m = self.positions, self.momentum
        np.dot(self.ones, flat, out=self.mean)
        np.divide(self.mean, n, out=self.mean)
        np.subtract(flat, self.mean, out=self.unit)
        np.multiply(self.unit, self.unit, out=self.scratch)
        np.dot(self.ones, self.scratch, out=self.var)
        np.divide(self.var, n, out=self.var)
        for running, newest, share in (
            (self.running_mean, self.mean, m),
            (self.running_var, self.var, m * n / max(n - 1, 1)),
        ):
            np.multiply(running, 1 - m, out=running)
            np.multiply(newest, share, out=self.scale)
            np.add(running, self.scale, out=running)

    def backward(self, dy: Array) -> Array:
        """dx = weight / sqrt(var) * (dy - mean(dy) - unit * mean(dy * unit))."""
        flat = dy.reshape(self.positions, -1)
        self.parameter_gradients(flat)
        np.divide(self.dweight, self.positions, out=self.mean)
        np.multiply(self.unit, self.mean, out=self.scratch)
        np.subtract(flat, self.scratch, out=flat)
        np.divide(self.dbias, self.positions, out=self.mean)
        np.subtract(flat, self.mean, out=flat)
        np.divide(self.weight, self.scale, out=self.mean)
        np.multiply(flat, self.mean, out=flat)
        return dy


class LayerNormKernel(_NormKernel):
    """Statistics over the last axis of each sample."""

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        self.mean, self.scale = (setting.memory.array((self.positions, 1)) for _ in range(2))
        self.channels = plan.input_shape[-1]

    def forward(self, x: Array, moment: Moment | None) -> Array:
        self._row_mean(x.reshape(self.positions, -1))
        np.subtract(x.reshape(self.positions, -1), self.mean, out=self.unit)
        self._row_mean(np.multiply(self.unit, self.unit, out=self.scratch))
        np.add(self.mean, self.epsilon, out=self.scale)
        np.sqrt(self.scale, out=self.scale)
        np.divide(self.unit, self.scale, out=self.unit)
        np.multiply(self.unit, self.weight, out=self.flat_y)
        np.add(self.flat_y, self.bias, out=self.flat_y)
        return self.y

    def _row_mean(self, values: Array) -> None:
        np.add.reduce(values, axis=1, keepdims=True, out=self.mean)
        np.divide(self.mean, self.channels, out=self.mean)

    def backward(self, dy: Array) -> Array:
        """dx = (g - mean(g) - unit * mean(g * unit)) / sqrt(var) with g = dy * weight."""
        flat = dy.reshape(self.positions, -1)
        self.parameter_gradients(flat)
        np.multiply(flat, self.weight, out=flat)
        self._row_mean(np.multiply(flat, self.unit, out=self.scratch))
        np.multiply(self.unit, self.mean, out=self.scratch)
        self._row_mean(flat)
        np.subtract(flat, self.mean, out=flat)
        np.subtract(flat, self.scratch, out=flat)
        np.divide(flat, self.scale, out=flat)
        return dy
