"""Gradient checks in float64: a derivative along one random direction, by two evaluations and by backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.layers.base import Moment
from singlepoint.worker.nn.network import Network
from singlepoint.worker.nn.passes import Pass

MOMENT = Moment(seed=5, epoch=0, step=3)


def a_network(layers: list, input_shape: tuple[int, ...], vocabulary: int | None = None) -> Network:
    """In float64, with every value drawn: a bias of zero would hide mistakes."""
    network = Network.build(layers, input_shape, vocabulary=vocabulary, dtype=np.float64)
    network.initialise(3)
    rng = np.random.default_rng(1)
    nudge = rng.standard_normal(network.parameters.size) * 0.1
    network.parameters += nudge
    for layer, tensors in zip(network.plan.layers, network.tensors(training=False), strict=True):
        for parameter in layer.parameters:
            if parameter.padding_row:
                tensors.parameters[parameter.name][0] = 0
    return network


def out_of(vector: Array) -> Callable[[Sequence[Array]], None]:
    """What `Trainer.restore` takes, of a snapshot in memory."""

    def fill(parts: Sequence[Array]) -> None:
        start = 0
        for part in parts:
            part[...] = vector[start : start + part.size]
            start += part.size
        assert start == vector.size

    return fill


def relative_gradient_error(
    value: Callable[[], float], gradient: Array, point: Array, trained: Array | float = 1.0, eps: float = 1e-6
) -> float:
    """|difference - gradient . direction| relative to |gradient|, along a random direction of length 1.

    value: of the function at `point`, which is moved in place.  trained: 0 where it is not to be moved.
    """
    direction = np.random.default_rng(2).standard_normal(point.size) * trained
    direction /= np.linalg.norm(direction)
    start = point.copy()
    point[...] = start + eps * direction
    above = value()
    point[...] = start - eps * direction
    below = value()
    point[...] = start
    scale = np.linalg.norm(gradient)
    assert scale > 1e-3, "a gradient of zero proves nothing"
    return abs((above - below) / (2 * eps) - gradient @ direction) / float(scale)


def network_gradient_error(network: Network, x: Array, trained: Array | float = 1.0) -> float:
    """The check for all parameters of a network, with a random linear function of its outputs as the loss."""
    bound = Pass(network, len(x), training=True)
    weights = np.random.default_rng(4).standard_normal((len(x), *network.output_shape))
    buffers = network.buffers.copy()

    def value() -> float:
        network.buffers[...] = buffers
        return float(np.sum(weights * bound.forward(x, MOMENT)))

    value()
    network.gradients[...] = np.nan  # whatever backward does not write shows
    bound.backward(weights.copy())
    padding = ~np.isfinite(network.gradients)
    assert not padding.any(), "backward left gradients unwritten"
    gradient = network.gradients.copy()
    return relative_gradient_error(value, gradient, network.parameters, trained)
