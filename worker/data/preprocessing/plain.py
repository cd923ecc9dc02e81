"""Numbers that enter a network as they are, for a model without preprocessing."""

from __future__ import annotations

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.nn.arrays import Array

from .rows import BadRow, Raw


def plain_numbers(raw: Raw) -> Array:
    """The array itself. Raises InvalidInput when it holds no numbers, BadRow for one that is not finite."""
    if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "biuf":
        raise InvalidInput(Problem("x", "must be an array of numbers for a model without preprocessing"))
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        row = int(np.argwhere(~np.isfinite(raw.reshape(len(raw), -1)).all(axis=1))[0, 0])
        raise BadRow(row, "", "has a value that is missing or infinite")
    return raw
