"""The jobs that are disturbed: three kinds of network, two optimisers, on data that comes with the project."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.system.machine import ROOT, Machine, write_training

NETWORKS: dict[str, tuple[str, list[dict[str, Any]], int]] = {
    "dense": (
        "rows.npz",
        [{"type": "dense", "units": 64, "activation": "relu"}, {"type": "dense", "units": 32, "activation": "relu"}],
        60,
    ),
    "cnn": (
        "images.npz",
        [
            {"type": "conv2d", "filters": 8, "kernel": 3, "padding": "same", "activation": "relu"},
            {"type": "max_pool2d", "size": 2},
            {"type": "flatten"},
        ],
        20,
    ),
    "rnn": ("sequences.npz", [{"type": "gru", "units": 16}], 15),
}
"""name -> its data, its layers but the last two, and epochs for two or three seconds of work."""

OPTIMISERS: dict[str, dict[str, Any]] = {
    "sgd": {"type": "sgd", "learning_rate": 0.05},
    "adam": {"type": "adam", "learning_rate": 0.002},
}


def write_digits(directory: Path) -> None:
    """The digits of examples/ as rows, images and sequences."""
    x = _idx(ROOT / "examples" / "digits-images.idx.gz").astype(np.float32)
    y = _idx(ROOT / "examples" / "digits-labels.idx.gz").astype(np.int64)
    shapes = {"rows": (len(x), 64), "images": (len(x), 8, 8, 1), "sequences": (len(x), 8, 8)}
    for name, shape in shapes.items():
        np.savez(directory / f"{name}.npz", x=x.reshape(shape), y=y)


def _idx(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    content = gzip.decompress(path.read_bytes())
    sizes = [int.from_bytes(content[4 + 4 * n : 8 + 4 * n], "big") for n in range(content[3])]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


def training(name: str, network: str, optimiser: str, *, interval_s: float | None = 0.1) -> dict[str, Any]:
    """A spec. Adam comes with dropout, so that randomness is disturbed too."""
    data, layers, epochs = NETWORKS[network]
    dropout = [{"type": "dropout", "rate": 0.2}] if optimiser == "adam" else []
    return {
        "kind": "train",
        "name": name,
        "data": {"path": data, "validation": 0.2},
        "preprocessing": {"normalise": "none", "rescale": 16},
        "model": {"layers": [*layers, *dropout, {"type": "dense", "units": 10, "activation": "softmax"}]},
        "training": {"epochs": epochs, "batch_size": 16, "optimiser": OPTIMISERS[optimiser], "seed": 3},
        "resources": {"cpu": 1, "memory": "256MiB"},
        **({"checkpoint_interval_s": interval_s} if interval_s else {}),
    }


def submit_spec(machine: Machine, spec: Mapping[str, Any]) -> str:
    path = machine.directory / f"{spec['name']}.json"
    path.write_text(json.dumps(spec))
    return machine.submit(str(spec["kind"]), path.name)


def endless(machine: Machine, name: str) -> str:
    """A training that runs until it is cancelled, and saves often."""
    return machine.submit("train", write_training(machine.directory, name=name, epochs=1_000_000))
