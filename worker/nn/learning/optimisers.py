"""Optimisers: one update of a flat parameter vector from a flat gradient, with flat slots in between.

The updates are PyTorch's. Two things differ in form, not in value: running averages are kept without their factor
(1 - beta), which saves two passes, and the vectors are walked in blocks, so that scratch is small and stays in cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.training import GD, SGD, Adam, AdamW, Optimiser, RMSProp
from singlepoint.worker.nn.arrays import Array, aligned_zeros

BLOCK = 65_536  # values; with smaller ones the calls cost more than the cache saves

Scalars = tuple[Array, ...]
"""Numbers of one step, as 0-d arrays: ufuncs take those at half the price of Python numbers."""


@dataclass(frozen=True)
class Block:
    """Views of one stretch of the vectors: parameters, gradient, slots, and scratch of the same length."""

    p: Array
    g: Array
    slots: tuple[Array, ...]
    scratch: Array


@dataclass(frozen=True)
class Rule:
    """An optimiser's arithmetic.

    slots: values it keeps for each parameter.  numbers: (options, learning rate, step from 1) to what `update` needs.
    update: changes block.p and block.slots.
    """

    slots: int
    numbers: Callable[[Any, float, int], tuple[float, ...]]
    update: Callable[[Block, Scalars], None]


def _descend(block: Block, scalars: Scalars) -> None:
    """p -= rate * g."""
    (rate,) = scalars
    np.multiply(block.g, rate, out=block.scratch)
    np.subtract(block.p, block.scratch, out=block.p)


def _momentum(block: Block, scalars: Scalars) -> None:
    """velocity := momentum * velocity + g; p -= rate * velocity."""
    (rate, momentum), (velocity,), scratch = scalars, block.slots, block.scratch
    np.multiply(velocity, momentum, out=velocity)
    np.add(velocity, block.g, out=velocity)
    np.multiply(velocity, rate, out=scratch)
    np.subtract(block.p, scratch, out=block.p)


def _nesterov(block: Block, scalars: Scalars) -> None:
    """velocity := momentum * velocity + g; p -= rate * (g + momentum * velocity)."""
    (rate, momentum), (velocity,), scratch = scalars, block.slots, block.scratch
    np.multiply(velocity, momentum, out=velocity)
    np.add(velocity, block.g, out=velocity)
    np.multiply(velocity, momentum, out=scratch)
    np.add(scratch, block.g, out=scratch)
    np.multiply(scratch, rate, out=scratch)
    np.subtract(block.p, scratch, out=block.p)


def _rmsprop(block: Block, scalars: Scalars) -> None:
    """square := decay * square + g^2; p -= rate * g / (sqrt(square) + epsilon), in the scale of the square."""
    (rate, decay, epsilon), (square,), scratch = scalars, block.slots, block.scratch
    np.multiply(block.g, block.g, out=scratch)
    np.multiply(square, decay, out=square)
    np.add(square, scratch, out=square)
    np.sqrt(square, out=scratch)
    np.add(scratch, epsilon, out=scratch)
    np.divide(block.g, scratch, out=scratch)
    np.multiply(scratch, rate, out=scratch)
    np.subtract(block.p, scratch, out=block.p)


def _rmsprop_numbers(options: RMSProp, rate: float, step: int) -> tuple[float, ...]:
    unit = sqrt(1 - options.decay)
    return rate / unit, options.decay, options.epsilon / unit


def _adam(block: Block, scalars: Scalars) -> None:
    """mean := beta1 mean + g; square := beta2 square + g^2; p := shrink p - rate * mean / (sqrt(square) + epsilon)."""
    (rate, beta1, beta2, epsilon, *shrink), (mean, square), scratch = scalars, block.slots, block.scratch
    np.multiply(mean, beta1, out=mean)
    np.add(mean, block.g, out=mean)
    np.multiply(block.g, block.g, out=scratch)
    np.multiply(square, beta2, out=square)
    np.add(square, scratch, out=square)
    np.sqrt(square, out=scratch)
    np.add(scratch, epsilon, out=scratch)
    np.divide(mean, scratch, out=scratch)
    np.multiply(scratch, rate, out=scratch)
    if shrink:
        np.multiply(block.p, shrink[0], out=block.p)
    np.subtract(block.p, scratch, out=block.p)


def _adam_numbers(options: Adam | AdamW, rate: float, step: int) -> tuple[float, ...]:
    """The averages started at zero: the rate makes up for that, and for the factors (1 - beta) left out."""
    m_scale = (1 - options.beta1) / (1 - options.beta1**step)
    v_scale = sqrt((1 - options.beta2) / (1 - options.beta2**step))
    return rate * m_scale / v_scale, options.beta1, options.beta2, options.epsilon / v_scale


def _adamw_numbers(options: AdamW, rate: float, step: int) -> tuple[float, ...]:
    """The weights shrink by rate * weight_decay, apart from Adam's step."""
    return (*_adam_numbers(options, rate, step), 1 - rate * options.weight_decay)


_DESCENT = Rule(0, lambda _, rate, __: (rate,), _descend)


def _sgd_rule(options: SGD) -> Rule:
    if not options.momentum:
        return _DESCENT
    update = _nesterov if options.nesterov else _momentum
    return Rule(1, lambda options, rate, _: (rate, options.momentum), update)


_RULES: dict[type[Part], Callable[[Any], Rule]] = {
    GD: lambda _: _DESCENT,
    SGD: _sgd_rule,
    RMSProp: lambda _: Rule(1, _rmsprop_numbers, _rmsprop),
    Adam: lambda _: Rule(2, _adam_numbers, _adam),
    AdamW: lambda _: Rule(2, _adamw_numbers, _adam),
}


def slot_count(optimiser: Optimiser) -> int:
    """How many values an optimiser keeps for each parameter."""
    return _RULES[type(optimiser)](optimiser).slots


class Updater:
    """An optimiser bound to the vectors it works on.

    slots: (slot_count * parameters,), all that the optimiser remembers beside the step; zeros at the start.
    """

    def __init__(self, optimiser: Optimiser, parameters: Array, gradients: Array) -> None:
        self.optimiser = optimiser
        self._rule = _RULES[type(optimiser)](optimiser)
        self._numbers = np.zeros(len(self._rule.numbers(optimiser, 0.0, 1)), parameters.dtype)
        self._scalars = tuple(self._numbers[i : i + 1].reshape(()) for i in range(len(self._numbers)))
        count, size = self._rule.slots, parameters.size
        self.slots = aligned_zeros(count * size, parameters.dtype)
        by_slot = self.slots.reshape(count, size)
        scratch = aligned_zeros(min(BLOCK, size), parameters.dtype)
        self._blocks = []
        for start in range(0, size, BLOCK):
            part = slice(start, min(start + BLOCK, size))
            self._blocks.append(
                Block(parameters[part], gradients[part], tuple(by_slot[:, part]), scratch[: part.stop - start])
            )

    def apply(self, rate: float, step: int) -> None:
        """One update. rate: the learning rate now.  step: updates done, this one included."""
        self._numbers[:] = self._rule.numbers(self.optimiser, rate, step)
        for block in self._blocks:
            self._rule.update(block, self._scalars)


def clip_gradients(gradients: Array, norm: float | None, value: float | None) -> None:
    """Cuts each component to ±value, then the whole to Euclidean length `norm`; None leaves as is.

    The norm is cut as PyTorch's clip_grad_norm_ does it.
    """
    if value is not None:
        np.clip(gradients, -value, value, out=gradients)
    if norm is not None:
        length = sqrt(float(np.dot(gradients, gradients)))
        if length > norm:
            np.multiply(gradients, norm / (length + 1e-6), out=gradients)
