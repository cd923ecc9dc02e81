"""One look at predictions under the kernel that OpenBLAS was told to use: `python -m tests.worker.nn.every_kernel`.

Prints which kernel that is, whether its lanes are equal, how many rows it multiplies at once by weights of (128, 784),
and the networks whose rows do not have the bits in company that they have alone. A process of its own, since the kernel
is chosen when numpy is loaded.
"""

from __future__ import annotations

import json

import numpy as np

from singlepoint.jobs.spec.network import GRU, LSTM, Conv2D, Dense, Flatten, SimpleRNN
from singlepoint.worker.ground.numeric_environment import fingerprint
from singlepoint.worker.nn.inference import InferenceSession
from singlepoint.worker.nn.layers.products import in_lanes, lanes_are_equal, one_by_one, way, ways_by_row
from singlepoint.worker.nn.network import Network
from tests.worker.nn.test_inference import NETWORKS, rows_for

NARROW = Dense(type="dense", units=1)
FEATURES = (3, 40, 100, 500)
CASES = {
    **NETWORKS,
    **{f"{features} to one": ([NARROW], (features,)) for features in FEATURES},
    **{f"{features} to three": ([Dense(type="dense", units=3)], (features,)) for features in FEATURES},
    "one filter": ([Conv2D(type="conv2d", filters=1, kernel=3), Flatten(type="flatten"), NARROW], (9, 9, 4)),
    **{
        f"one unit of {kind.__name__}": ([kind(type=name, units=1), NARROW], (4, 39))
        for kind, name in ((SimpleRNN, "simple_rnn"), (GRU, "gru"), (LSTM, "lstm"))
    },
    "wide": ([Dense(type="dense", units=units) for units in (128, 64, 32, 10)], (784,)),
    "wider": ([Dense(type="dense", units=units) for units in (192, 128, 10)], (1000,)),
    "wide and odd": ([Dense(type="dense", units=units) for units in (257, 129, 33, 2)], (131,)),
    **{
        f"many units of {kind.__name__}": ([kind(type=name, units=64), NARROW], (5, 31))
        for kind, name in ((SimpleRNN, "simple_rnn"), (GRU, "gru"), (LSTM, "lstm"))
    },
}
SIZES = (1, 7, 16, 32, 64, 128)
ROWS = 3 * 64 + 256 + 7


def dependent(name: str) -> bool:
    """Whether some row has other bits in company."""
    layers, shape = CASES[name]
    network = Network.build(layers, shape, vocabulary=50)
    network.initialise(1)
    x = rows_for(network, ROWS)
    session = InferenceSession(network, product=in_lanes if lanes_are_equal() else one_by_one)
    whole = session.predict(x)
    parts = [np.concatenate([session.predict(x[i : i + size]) for i in range(0, len(x), size)]) for size in SIZES]
    return any(not np.array_equal(part, whole) for part in parts)


if __name__ == "__main__":
    found = {
        "lanes": way(256, [(512, 784)], in_lanes, ways_by_row(256, 512, 784)).lanes,
        "lanes_are_equal": lanes_are_equal(),
        "dependent": [name for name in CASES if dependent(name)],
    }
    print(json.dumps({"kernel": fingerprint(1)["blas_architecture"], **found}))
