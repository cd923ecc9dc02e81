"""Losses and their gradients."""

from __future__ import annotations

import numpy as np
import pytest

from singlepoint.worker.nn.learning.losses import (
    BinaryCrossEntropy,
    Huber,
    LossOptions,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)
from tests.worker.nn.checks import relative_gradient_error

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 9)
VALUES = RNG.standard_normal((9, 4))
BITS = RNG.integers(0, 2, (9, 4)).astype(float)
WEIGHTS = np.array([0.5, 1.0, 2.0, 3.0])

CASES = {
    "softmax": (SoftmaxCrossEntropy, LABELS, LossOptions()),
    "softmax, weighted": (SoftmaxCrossEntropy, LABELS, LossOptions(class_weights=WEIGHTS)),
    "softmax, smoothed": (SoftmaxCrossEntropy, LABELS, LossOptions(label_smoothing=0.1)),
    "softmax, both": (SoftmaxCrossEntropy, LABELS, LossOptions(class_weights=WEIGHTS, label_smoothing=0.1)),
    "binary": (BinaryCrossEntropy, BITS, LossOptions()),
    "binary, smoothed": (BinaryCrossEntropy, BITS, LossOptions(label_smoothing=0.1)),
    "binary, weighted": (BinaryCrossEntropy, BITS, LossOptions(class_weights=np.array([0.5, 3.0]))),
    "squared": (MeanSquaredError, VALUES, LossOptions()),
    "absolute": (MeanAbsoluteError, VALUES, LossOptions()),
    "huber": (Huber, VALUES, LossOptions(huber_delta=0.7)),
}


@pytest.mark.parametrize("name", CASES)
def test_each_loss_matches_its_numerical_derivative(name):
    kind, targets, options = CASES[name]
    loss = kind(12, 4, np.float64, options)  # room for more rows than it is given
    outputs, gradient = np.random.default_rng(1).standard_normal((9, 4)), np.empty((9, 4))
    loss(outputs, targets, gradient)

    def mean() -> float:
        total, weight = loss(outputs, targets)
        return total / weight

    assert relative_gradient_error(mean, gradient.reshape(-1).copy(), outputs.reshape(-1)) < 1e-8


@pytest.mark.parametrize("name", CASES)
def test_each_loss_equals_pytorchs(name):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    kind, targets, options = CASES[name]
    outputs = np.random.default_rng(1).standard_normal((9, 4)) * 3
    gradient = np.empty((9, 4))
    total, weight = kind(9, 4, np.float64, options)(outputs, targets, gradient)
    z, t = torch.tensor(outputs, requires_grad=True), torch.tensor(targets)
    weights = None if options.class_weights is None else torch.tensor(options.class_weights)
    e = options.label_smoothing
    if kind is SoftmaxCrossEntropy:
        theirs = f.cross_entropy(z, t, weight=weights, label_smoothing=e)
    elif kind is BinaryCrossEntropy:
        rows = None if weights is None else torch.where(t > 0, weights[1], weights[0])
        theirs = f.binary_cross_entropy_with_logits(z, t * (1 - e) + e / 2, weight=rows)
        theirs = theirs if rows is None else theirs * t.numel() / rows.sum()
    else:
        theirs = {
            MeanSquaredError: f.mse_loss,
            MeanAbsoluteError: f.l1_loss,
            Huber: lambda a, b: f.huber_loss(a, b, delta=options.huber_delta),
        }[kind](z, t)
    theirs.backward()
    assert total / weight == pytest.approx(theirs.item(), rel=1e-12)
    assert np.allclose(gradient, z.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", [SoftmaxCrossEntropy, BinaryCrossEntropy])
def test_a_cross_entropy_of_huge_logits_stays_finite(kind):
    outputs = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    targets = np.array([1, 1]) if kind is SoftmaxCrossEntropy else np.array([[0, 1], [0, 1]], np.float32)
    gradient = np.empty_like(outputs)
    total, _ = kind(2, 2, np.float32, LossOptions())(outputs, targets, gradient)
    assert total == 2e4
    assert np.isfinite(gradient).all()


def test_sums_of_batches_add_up_to_the_mean_of_all():
    loss = SoftmaxCrossEntropy(9, 4, np.float64, LossOptions(class_weights=WEIGHTS))
    outputs = np.random.default_rng(1).standard_normal((9, 4))
    parts = [loss(outputs[part], LABELS[part]) for part in (slice(0, 4), slice(4, 9))]
    total, weight = loss(outputs, LABELS)
    assert sum(p[0] for p in parts) / sum(p[1] for p in parts) == pytest.approx(total / weight, rel=1e-14)
