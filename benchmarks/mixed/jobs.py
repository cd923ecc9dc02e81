"""The load itself: forty jobs, each as a spec for singlepoint and as the plain command that does the same work.

Trainings (dense, convolutional, recurrent), predictions with models trained beforehand, and scripts of scikit-learn.
They take one to ten seconds of a core, a minute and more of two cores in all, or as many times as much as is asked for;
their order is shuffled by a seed and the same for everybody.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faulting.jobs import training, write_digits
from tests.system.machine import ROOT

HERE = Path(__file__).parent
ALONE, LEARN = str(HERE / "alone.py"), str(HERE / "learn.py")

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""What a careful user of a shell sets."""

SCORED_TIMES = 120
"""How often the digits are repeated in what predictions score."""

TRAININGS = (
    *(("dense", epochs) for epochs in (40, 80, 120, 160, 240)),
    *(("cnn", epochs) for epochs in (6, 12, 18, 30)),
    *(("rnn", epochs) for epochs in (5, 10, 15, 20, 30)),
)
PREDICTIONS = (*(("cnn", share) for share in (0.3, 0.6, 1.0, 1.0)), *(("rnn", share) for share in (0.2, 0.4, 0.6, 1.0)))
SCRIPTS = (
    *(("forest", size) for size in (1, 2, 4)),
    *(("boosting", size) for size in (1, 2, 4)),
    *(("logistic", size) for size in (1, 2, 4)),
    *(("vectors", size) for size in (1, 2, 3)),
    *(("clusters", size) for size in (1, 2, 4)),
    *(("network", size) for size in (1, 2, 4)),
)


@dataclass(frozen=True)
class MixedJob:
    """One job. spec: for singlepoint, its paths absolute.  command: the same work as a program, without a queue."""

    name: str
    spec: Mapping[str, Any]
    command: tuple[str, ...]


def mixed_load(directory: Path, seed: int = 1, times: int = 1) -> list[MixedJob]:
    """All forty, their data written into `directory` and the models of the predictions trained there.

    times: so many times the epochs, the rows to score, the sets that a script learns.
    """
    write_digits(directory)
    for network in ("cnn", "rnn"):
        _train_before(directory, network, times)
    found = [*_trainings(directory, times), *_predictions(directory), *_scripts(directory, times)]
    random.Random(seed).shuffle(found)
    return found


def _trainings(directory: Path, times: int) -> Iterator[MixedJob]:
    for network, epochs in TRAININGS:
        spec = _training(directory, f"train-{network}-{epochs}", network, times * epochs)
        yield MixedJob(spec["name"], spec, _alone(directory, "train", spec))


def _training(directory: Path, name: str, network: str, epochs: int) -> dict[str, Any]:
    spec = training(name, network, "adam", interval_s=None)
    spec["data"]["path"] = str(directory / spec["data"]["path"])
    spec["training"]["epochs"] = epochs
    return spec


def _train_before(directory: Path, network: str, times: int) -> None:
    spec = _training(directory, f"before-{network}", network, 2)
    subprocess.run(_alone(directory, "train", spec), check=True, env=one_thread(), cwd=directory)
    images = np.load(directory / spec["data"]["path"])["x"]
    np.save(directory / f"score-{network}.npy", np.concatenate([images] * SCORED_TIMES * times))


def _predictions(directory: Path) -> Iterator[MixedJob]:
    for number, (network, share) in enumerate(PREDICTIONS):
        name, rows = f"predict-{network}-{number}", np.load(directory / f"score-{network}.npy", mmap_mode="r")
        np.save(directory / f"{name}.npy", rows[: int(share * len(rows))])
        spec = {
            "kind": "predict",
            "name": name,
            "model": str(directory / f"before-{network}"),
            "input": str(directory / f"{name}.npy"),
            "output": str(directory / f"{name}-answers.npy"),
        }
        yield MixedJob(name, spec, _alone(directory, "predict", spec))


def _scripts(directory: Path, times: int) -> Iterator[MixedJob]:
    for what, size in SCRIPTS:
        name, command = f"learn-{what}-{size}", (sys.executable, LEARN, what, str(size), str(times))
        spec = {"kind": "run", "name": name, "command": list(command), "cwd": str(directory)}
        yield MixedJob(name, spec, command)


def _alone(directory: Path, what: str, spec: Mapping[str, Any]) -> tuple[str, ...]:
    path = directory / f"{spec['name']}.json"
    path.write_text(json.dumps(spec))
    return (sys.executable, ALONE, what, str(path))


def one_thread() -> dict[str, str]:
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
