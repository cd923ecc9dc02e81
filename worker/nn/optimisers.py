"""Optimisers: one update of a flat parameter vector from a flat gradient, with flat slots in between.

The updates are PyTorch's. Two things differ in form, not in value: running averages are kept without their factor
(1 - beta), which saves two passes, and the vectors are walked in blocks that stay in the second-level cache
through all the passes of an update.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from jobs.spec.base import Part
from jobs.spec.training import GD, SGD, Adam, AdamW, Optimiser, RMSProp

from .arrays import Array

BLOCK = 65_536  # values; smaller ones save memory traffic that is not the bottleneck, and cost calls


@dataclass(frozen=True)
class Block:
    """Views of one stretch of the vectors: parameters, gradient, slots, and scratch of the same length."""

    p: Array
    g: Array
    slots: tuple[Array, ...]
    scratch: Array


Update = Callable[[Any, Block, float, int], None]
"""(options, block, learning rate, step from 1) -> None; changes block.p and block.slots."""


def _gradient_descent(_: GD, block: Block, rate: float, step: int) -> None:
    np.multiply(block.g, rate, out=block.scratch)
    np.subtract(block.p, block.scratch, out=block.p)


def _momentum(options: SGD, block: Block, rate: float, step: int) -> None:
    """velocity := momentum * velocity + g; p -= rate * (velocity, or with Nesterov g + momentum * velocity)."""
    if not block.slots:
        _gradient_descent(GD(type="gd"), block, rate, step)
        return
    (velocity,), scratch = block.slots, block.scratch
    np.multiply(velocity, options.momentum, out=velocity)
    np.add(velocity, block.g, out=velocity)
    if options.nesterov:
        np.multiply(velocity, options.momentum, out=scratch)
        np.add(scratch, block.g, out=scratch)
        np.multiply(scratch, rate, out=scratch)
    else:
        np.multiply(velocity, rate, out=scratch)
    np.subtract(block.p, scratch, out=block.p)


def _rmsprop(options: RMSProp, block: Block, rate: float, step: int) -> None:
    """square := decay * square + g^2; p -= rate * g / (sqrt((1 - decay) square) + epsilon)."""
    (square,), scratch = block.slots, block.scratch
    unit = sqrt(1 - options.decay)
    np.multiply(block.g, block.g, out=scratch)
    np.multiply(square, options.decay, out=square)
    np.add(square, scratch, out=square)
    np.sqrt(square, out=scratch)
    np.add(scratch, options.epsilon / unit, out=scratch)
    np.divide(block.g, scratch, out=scratch)
    np.multiply(scratch, rate / unit, out=scratch)
    np.subtract(block.p, scratch, out=block.p)


def _adam(options: Adam | AdamW, block: Block, rate: float, step: int) -> None:
    """mean := beta1 mean + g; square := beta2 square + g^2; p -= rate * m / (sqrt(v) + epsilon).

    m and v are mean and square, scaled to be averages that started without bias.
    """
    (mean, square), scratch = block.slots, block.scratch
    beta1, beta2 = options.beta1, options.beta2
    m_scale = (1 - beta1) / (1 - beta1**step)
    v_scale = sqrt((1 - beta2) / (1 - beta2**step))
    np.multiply(mean, beta1, out=mean)
    np.add(mean, block.g, out=mean)
    np.multiply(block.g, block.g, out=scratch)
    np.multiply(square, beta2, out=square)
    np.add(square, scratch, out=square)
    np.sqrt(square, out=scratch)
    np.add(scratch, options.epsilon / v_scale, out=scratch)
    np.divide(mean, scratch, out=scratch)
    np.multiply(scratch, rate * m_scale / v_scale, out=scratch)
    np.subtract(block.p, scratch, out=block.p)


def _adamw(options: AdamW, block: Block, rate: float, step: int) -> None:
    """The weights shrink by rate * weight_decay, apart from Adam's step."""
    np.multiply(block.p, 1 - rate * options.weight_decay, out=block.p)
    _adam(options, block, rate, step)


_UPDATES: dict[type[Part], tuple[int, Update]] = {
    GD: (0, _gradient_descent),
    SGD: (1, _momentum),
    RMSProp: (1, _rmsprop),
    Adam: (2, _adam),
    AdamW: (2, _adamw),
}


def slot_count(optimiser: Optimiser) -> int:
    """How many values an optimiser keeps for each parameter."""
    if isinstance(optimiser, SGD) and not optimiser.momentum:
        return 0
    return _UPDATES[type(optimiser)][0]


class Updater:
    """An optimiser bound to the vectors it works on.

    slots: (slot_count * parameters,), all that the optimiser remembers beside the step; zeros at the start.
    """

    def __init__(self, optimiser: Optimiser, parameters: Array, gradients: Array) -> None:
        self.optimiser = optimiser
        self._update = _UPDATES[type(optimiser)][1]
        count, size = slot_count(optimiser), parameters.size
        self.slots = np.zeros(count * size, parameters.dtype)
        by_slot = self.slots.reshape(count, size)
        scratch = np.empty(min(BLOCK, size), parameters.dtype)
        self._blocks = []
        for start in range(0, size, BLOCK):
            part = slice(start, min(start + BLOCK, size))
            self._blocks.append(
                Block(parameters[part], gradients[part], tuple(by_slot[:, part]), scratch[: part.stop - start])
            )

    def apply(self, rate: float, step: int) -> None:
        """One update. rate: the learning rate now.  step: updates done, this one included."""
        for block in self._blocks:
            self._update(self.optimiser, block, rate, step)


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
