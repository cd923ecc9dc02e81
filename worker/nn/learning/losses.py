"""Losses: how wrong a batch is, and in which direction.

A loss is called with a batch's outputs and targets and answers with two numbers, a weighted sum and the sum of
the weights, whose quotient is the mean; batches can so be added up exactly. Given a place for it, it also writes the
gradient of the *mean*. Cross-entropies take what enters the last activation (logits): fused with it they neither
overflow nor need its derivative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.spec import training as spec
from singlepoint.jobs.spec.network import Activation
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.layers.activations import sigmoid

Sums = tuple[float, float]
"""(weighted sum of the losses, sum of the weights)."""


@dataclass(frozen=True)
class LossOptions:
    """class_weights: (classes,), or None for all equal.  label_smoothing: share spread over all classes."""

    class_weights: Array | None = None
    label_smoothing: float = 0.0
    huber_delta: float = 1.0


class Loss:
    """A loss for batches of up to `rows` rows of `outputs` values.

    absorbs: the last activation it is fused with; None: it takes the network's outputs as they are.
    """

    absorbs: Activation | None = None

    def __init__(self, rows: int, outputs: int, dtype: npt.DTypeLike, options: LossOptions) -> None:
        self.options = options
        self._scratch = np.empty((3, rows * outputs), dtype)
        self._column = np.empty((3, rows, 1), dtype)

    def scratch(self, like: Array) -> tuple[Array, Array, Array]:
        """Three buffers of this shape, contents undefined."""
        a, b, c = self._scratch[:, : like.size]
        return a.reshape(like.shape), b.reshape(like.shape), c.reshape(like.shape)

    def __call__(self, outputs: Array, targets: Array, gradient: Array | None = None) -> Sums:
        """outputs: (n, k).  targets: see the loss.  gradient: (n, k), overwritten; may be `outputs` itself."""
        raise NotImplementedError


class SoftmaxCrossEntropy(Loss):
    """Cross-entropy, in nats, between the softmax of logits (n, classes) and labels (n,) in [0, classes).

    Class weights and label smoothing are those of PyTorch's CrossEntropyLoss: the mean is divided by the sum of the
    labels' weights, and the smoothed share is weighted class by class.
    """

    absorbs = "softmax"

    def __init__(self, rows: int, outputs: int, dtype: npt.DTypeLike, options: LossOptions) -> None:
        super().__init__(rows, outputs, dtype, options)
        self.plain = options.class_weights is None and not options.label_smoothing
        given = options.class_weights
        self.weights = np.ones(outputs, dtype) if given is None else given.astype(dtype)
        self.one_hot = np.eye(outputs, dtype=dtype)
        self._views: dict[int, tuple[Array, ...]] = {}

    def __call__(self, outputs: Array, targets: Array, gradient: Array | None = None) -> Sums:
        n = len(outputs)
        if n not in self._views:
            self._views[n] = (*self.scratch(outputs), *self._column[:2, :n], np.array(n, outputs.dtype))
        shifted, p, label, row, total, count = self._views[n]
        np.maximum.reduce(outputs, axis=1, keepdims=True, out=row)
        np.subtract(outputs, row, out=shifted)
        np.exp(shifted, out=p)
        np.add.reduce(p, axis=1, keepdims=True, out=total)
        np.log(total, out=row)
        np.take(self.one_hot, targets, axis=0, out=label, mode="clip")
        if not self.plain:
            return self._weighted(shifted, p, targets, label, gradient)
        loss = float(np.add.reduce(row, axis=None)) - float(np.vdot(label, shifted))
        if gradient is not None:
            np.divide(p, total, out=gradient)
            np.subtract(gradient, label, out=gradient)
            np.divide(gradient, count, out=gradient)
        return loss, float(n)

    def _weighted(self, shifted: Array, p: Array, targets: Array, label: Array, gradient: Array | None) -> Sums:
        """With w the weights, e the smoothing and q = -log softmax: (1 - e) w[label] q[label] + e/k sum(w q)."""
        n, classes = p.shape
        e, w = self.options.label_smoothing, self.weights
        log_total, total = self._column[:2, :n]
        own = np.take(w, targets, mode="clip")[:, None]
        np.subtract(log_total, shifted, out=shifted)  # now q
        # Of each row and class: how much of q counts.
        np.multiply(label, (1 - e) * own, out=label)
        np.add(label, e / classes * w, out=label)
        loss, weight = float(np.vdot(label, shifted)), float(np.add.reduce(own, axis=None))
        if gradient is not None:
            np.divide(p, total, out=p)
            np.multiply(p, np.add.reduce(label, axis=1, keepdims=True), out=gradient)
            np.subtract(gradient, label, out=gradient)
            np.divide(gradient, weight, out=gradient)
        return loss, weight


class BinaryCrossEntropy(Loss):
    """Cross-entropy, in nats, between the sigmoid of logits (n, k) and targets (n, k) in [0, 1]; mean over all.

    Class weights (two, for one output) weigh each row by its target; the mean is divided by the sum of weights.
    """

    absorbs = "sigmoid"

    def __call__(self, outputs: Array, targets: Array, gradient: Array | None = None) -> Sums:
        z, p, loss = self.scratch(outputs)
        e, given = self.options.label_smoothing, self.options.class_weights
        t = targets if not e else targets * (1 - e) + e / 2
        np.copyto(z, outputs)
        np.abs(z, out=loss)
        np.negative(loss, out=loss)
        np.exp(loss, out=loss)
        np.log1p(loss, out=loss)
        np.maximum(z, 0, out=p)
        np.add(loss, p, out=loss)
        np.multiply(z, t, out=p)
        np.subtract(loss, p, out=loss)  # max(z, 0) - z t + log(1 + exp(-|z|))
        weight = float(outputs.size)
        rows = None if given is None else targets * (given[1] - given[0]) + given[0]
        if rows is not None:
            np.multiply(loss, rows, out=loss)
            weight = float(np.add.reduce(rows, axis=None))
        if gradient is not None:
            sigmoid(z)
            np.subtract(z, t, out=gradient)
            np.multiply(gradient, 1 / weight, out=gradient)
            if rows is not None:
                np.multiply(gradient, rows, out=gradient)
        return float(np.add.reduce(loss, axis=None)), weight


class MeanSquaredError(Loss):
    """(output - target)^2, mean over all values.  targets: (n, k)."""

    def __call__(self, outputs: Array, targets: Array, gradient: Array | None = None) -> Sums:
        r, square, _ = self.scratch(outputs)
        np.subtract(outputs, targets, out=r)
        np.multiply(r, r, out=square)
        if gradient is not None:
            np.multiply(r, 2 / r.size, out=gradient)
        return float(np.add.reduce(square, axis=None)), float(r.size)


class MeanAbsoluteError(Loss):
    """|output - target|, mean over all values; the gradient at 0 is 0.  targets: (n, k)."""

    def __call__(self, outputs: Array, targets: Array, gradient: Array | None = None) -> Sums:
        r, size, _ = self.scratch(outputs)
        np.subtract(outputs, targets, out=r)
        np.abs(r, out=size)
        if gradient is not None:
            np.sign(r, out=gradient)
            np.multiply(gradient, 1 / r.size, out=gradient)
        return float(np.add.reduce(size, axis=None)), float(r.size)


class Huber(Loss):
    """r^2 / 2 up to |r| = delta, straight beyond, mean over all values.  targets: (n, k). Source: Huber, 1964."""

    def __call__(self, outputs: Array, targets: Array, gradient: Array | None = None) -> Sums:
        r, clipped, loss = self.scratch(outputs)
        delta = self.options.huber_delta
        np.subtract(outputs, targets, out=r)
        np.clip(r, -delta, delta, out=clipped)
        # With c the clipped residual, c (r - c/2) is both branches at once.
        np.multiply(clipped, -0.5, out=loss)
        np.add(loss, r, out=loss)
        np.multiply(loss, clipped, out=loss)
        if gradient is not None:
            np.multiply(clipped, 1 / r.size, out=gradient)
        return float(np.add.reduce(loss, axis=None)), float(r.size)


LOSSES: dict[spec.Loss, type[Loss]] = {
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "huber": Huber,
}
