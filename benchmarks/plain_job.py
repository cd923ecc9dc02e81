"""What a user of plain RQ would write for one training: the baseline of `throughput` and `faults`."""

from __future__ import annotations


def train_once(csv: str) -> float:
    """What a plain RQ user would write: read a table, train, answer the accuracy."""
    import numpy as np

    from singlepoint import Model

    table = np.genfromtxt(csv, delimiter=",", skip_header=1, dtype=str)
    x, y = table[:, 1:].astype(np.float32), table[:, 0]
    x = (x - x.mean(0)) / x.std(0)
    return Model(hidden=(32, 16), task="classification").fit(x, y, epochs=1, batch_size=32).score(x, y)
