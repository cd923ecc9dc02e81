"""Values to be learned, brought to mean 0 and deviation 1 for the network, and back in its answers. All in float64.

A network begins near 0 and moves by its learning rate: seconds since 1970 or prices in cents would be out of its reach,
and in float32 they would lose the digits that tell them apart.
"""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.base import Part, Positive
from singlepoint.worker.nn.arrays import Array

Doubles = npt.NDArray[np.float64]


class TargetScale(Part):
    """(value - offset) / scale is what the network learns; one of each for every target."""

    offset: Annotated[tuple[float, ...], Field(min_length=1)]
    scale: Annotated[tuple[Positive, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(self.offset) != len(self.scale):
            raise ValueError("offset and scale must be as many")
        return self

    def inward(self, values: Doubles) -> npt.NDArray[np.float32]:
        """Values (n, k) as the network learns them."""
        learned: npt.NDArray[np.float32] = ((values - self.offset) / np.array(self.scale)).astype(np.float32)
        return learned

    def outward(self, outputs: Array) -> Doubles:
        """What the network answers (n, k), as values."""
        values: Doubles = outputs * np.array(self.scale) + np.array(self.offset)
        return values


def fit_target_scale(values: Doubles) -> TargetScale:
    """Mean and standard deviation (divided by n) of each column of values (n, k).

    A column that never varies but for its last bit has scale 1. Raises InvalidInput for values too large for either.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        offset = values[0] + (values - values[0]).mean(axis=0)  # from near by: a mean of large values would be rounded
        scale = np.sqrt(np.square(values - offset).mean(axis=0))
    if not (np.isfinite(offset).all() and np.isfinite(scale).all()):
        raise InvalidInput(Problem("data.target", "has values too large to scale", "use larger units"))
    scale = np.where(scale <= 4 * np.finfo(np.float64).eps * np.abs(offset), 1.0, scale)
    return TargetScale(offset=tuple(offset.tolist()), scale=tuple(scale.tolist()))
