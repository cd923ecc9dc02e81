"""How much memory a training will take, told from its data and the shapes of its network before anything is allocated.

What is accepted at this figure trains, saves and publishes within it: `benchmarks.memory` measures it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from singlepoint.worker.data.preprocessing import (
    LazyRows,
    Preprocessor,
    Raw,
    SequencePreprocessor,
    TfIdfPreprocessor,
)
from singlepoint.worker.nn.arrays import Array, Input
from singlepoint.worker.nn.learning.footprint import Footprint

from .training_set import Examples, TrainingSet

FIXED_BYTES = 16 * 2**20
"""What does not grow with the training: buffers of the BLAS, the saving thread, small objects."""

ALLOCATOR_SHARE = 1 / 32
"""What allocators keep of what was given back, and lose to pages that are not full."""

WORD_BYTES = 220
"""Of a word of a vocabulary, in the tables that look it up."""

LOOKED_AT = 1000
"""Cells of a column of text whose sizes are looked at."""


@dataclass(frozen=True)
class MemoryEstimate:
    """In bytes.  loading: raw rows, beside the prepared ones.  rows: prepared ones and targets.
    words: of vocabularies.  network: see `Footprint`.
    """

    loading: int
    rows: int
    words: int
    network: Footprint

    @property
    def total(self) -> int:
        """At its fullest: raw rows are gone when the network is there."""
        used = self.words + self.rows + max(self.loading, self.network.total)
        return FIXED_BYTES + int((1 + ALLOCATOR_SHARE) * used)

    def __str__(self) -> str:
        network = self.network
        parts = {
            "data": self.rows + self.words,
            "weights and optimiser": network.state,
            "gradients": network.gradients,
            "batches": network.batches + network.answering + network.order,
            "checkpoints": network.snapshot,
        }
        return ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in parts.items())


def estimate(examples: Examples, data: TrainingSet, network: Footprint, times: float) -> MemoryEstimate:
    """times: how much more rows there are than these."""
    prepared = [data.x, data.y, data.x_validation, data.y_validation]
    return MemoryEstimate(
        loading=int(times * (_raw_bytes(examples.x) + 2 * _array_bytes(examples.target.y))),
        rows=int(times * sum(_prepared_bytes(part) for part in prepared if part is not None)),
        words=_word_bytes(data.preprocessor),
        network=network,
    )


def _raw_bytes(raw: Raw) -> int:
    columns: Iterable[Array] = raw.values() if isinstance(raw, Mapping) else (raw,)
    return sum(map(_array_bytes, columns))


def _array_bytes(column: Array) -> int:
    if isinstance(column, np.memmap):
        return 0  # pages of the file, which are nobody's
    if column.dtype.kind != "O" or not column.size:
        return column.nbytes
    some = column.reshape(-1)[:: max(1, column.size // LOOKED_AT)]
    return column.nbytes + column.size * sum(map(sys.getsizeof, some)) // some.size


def _prepared_bytes(rows: Input) -> int:
    if isinstance(rows, np.ndarray):
        return _array_bytes(rows)
    if isinstance(rows, LazyRows):
        return _array_bytes(rows.raw) + rows.rows.nbytes
    return sum(array.nbytes for array in vars(rows).values() if isinstance(array, np.ndarray))


def _word_bytes(preprocessor: Preprocessor | None) -> int:
    if isinstance(preprocessor, SequencePreprocessor):
        return WORD_BYTES * len(preprocessor.words)
    return WORD_BYTES * len(preprocessor.terms) if isinstance(preprocessor, TfIdfPreprocessor) else 0
