"""The network that all of `benchmarks.serving` answer with, as those who write it in PyTorch would have it."""

from __future__ import annotations

import numpy as np
import torch


def network(path: str):  # type: ignore[no-untyped-def]
    """The scaling and the network of the benchmark, in PyTorch, as a function from (n, 30) to probabilities."""
    torch.set_num_threads(1)
    saved = np.load(path)
    layers: list[torch.nn.Module] = []
    for number in range(3):
        weight, bias = torch.from_numpy(saved[f"w{number}"]), torch.from_numpy(saved[f"b{number}"])
        linear = torch.nn.Linear(*reversed(weight.shape))
        linear.weight.data, linear.bias.data = weight, bias
        layers += [linear, torch.nn.ReLU()] if number < 2 else [linear, torch.nn.Softmax(1)]
    module = torch.nn.Sequential(*layers).eval()
    offset, scale = (torch.from_numpy(saved[name]) for name in ("offset", "scale"))

    def predict(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(((torch.from_numpy(rows) - offset) / scale).float()).numpy()

    return predict
