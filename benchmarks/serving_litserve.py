"""LitServe's part of `serving_peers`: in a file of its own, since its worker processes import it by name."""

from __future__ import annotations

import litserve as ls
import numpy as np

from benchmarks.serving_network import network


class Api(ls.LitAPI):
    """Batches of 32, waiting 1 ms."""

    def __init__(self, path: str) -> None:
        super().__init__(max_batch_size=32, batch_timeout=0.001)
        self.path = path

    def setup(self, device):  # type: ignore[no-untyped-def]
        self.predict_rows = network(self.path)

    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return request["data"]

    def batch(self, inputs):  # type: ignore[no-untyped-def]
        return np.array(inputs, np.float64)

    def predict(self, x):  # type: ignore[no-untyped-def]
        return self.predict_rows(x)

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        return {"probabilities": np.asarray(output).tolist()}
