"""The jobs that are disturbed: five kinds of network, two optimisers, on data that comes with the project."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.system.machine import ROOT, Machine, write_training


@dataclass(frozen=True)
class Network:
    """data: its file.  layers: all but the last two.  epochs: for two or three seconds of work."""

    data: str
    layers: list[dict[str, Any]]
    epochs: int
    preprocessing: Mapping[str, Any] = field(default_factory=dict)


_CNN: list[dict[str, Any]] = [
    {"type": "conv2d", "filters": 8, "kernel": 3, "padding": "same", "activation": "relu"},
    {"type": "max_pool2d", "size": 2},
    {"type": "flatten"},
]

NETWORKS: dict[str, Network] = {
    "dense": Network(
        "rows.npz",
        [{"type": "dense", "units": 64, "activation": "relu"}, {"type": "dense", "units": 32, "activation": "relu"}],
        60,
    ),
    "cnn": Network("images.npz", _CNN, 20),
    "rnn": Network("sequences.npz", [{"type": "gru", "units": 16}], 15),
    "pool1d": Network(
        "sequences.npz",
        [
            {"type": "conv1d", "filters": 16, "kernel": 3, "padding": "same", "activation": "relu"},
            {"type": "max_pool1d", "size": 2},
            {"type": "average_pool1d", "size": 2},
            {"type": "flatten"},
        ],
        40,
    ),
    "denoised": Network("images.npz", _CNN, 20, {"denoise": {"type": "median"}}),
}

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
    made = NETWORKS[network]
    dropout = [{"type": "dropout", "rate": 0.2}] if optimiser == "adam" else []
    return {
        "kind": "train",
        "name": name,
        "data": {"path": made.data, "validation": 0.2},
        "preprocessing": {"normalise": "none", "rescale": 16, **made.preprocessing},
        "model": {"layers": [*made.layers, *dropout, {"type": "dense", "units": 10, "activation": "softmax"}]},
        "training": {"epochs": made.epochs, "batch_size": 16, "optimiser": OPTIMISERS[optimiser], "seed": 3},
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
