"""Penalties on the size of weights: l1 * sum(|w|) + l2 * sum(w^2), added to the loss and to its gradient."""

from __future__ import annotations

import numpy as np

from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.network import Network


class Penalties:
    """The penalties that a network's layers ask for; costs nothing when none does."""

    def __init__(self, network: Network) -> None:
        self._parts: list[tuple[Array, Array, Array, float, float]] = []
        start = 0
        for parameter in network.plan.parameters:
            part = slice(start, start + parameter.size)
            start = part.stop
            if parameter.l1 or parameter.l2:
                scratch = np.empty(parameter.size, network.dtype)
                self._parts.append(
                    (network.parameters[part], network.gradients[part], scratch, parameter.l1, parameter.l2)
                )

    def apply(self) -> float:
        """Adds the penalties' gradient to the network's; returns their sum."""
        total = 0.0
        for w, dw, scratch, l1, l2 in self._parts:
            if l1:
                total += l1 * float(np.add.reduce(np.abs(w, out=scratch)))
                np.add(dw, np.multiply(np.sign(w, out=scratch), l1, out=scratch), out=dw)
            if l2:
                total += l2 * float(np.dot(w, w))
                np.add(dw, np.multiply(w, 2 * l2, out=scratch), out=dw)
        return total
