"""Is what a training takes what `submit` says it takes? Each is granted exactly the estimate, and has to succeed.

    python -m benchmarks.memory [NAME…]

Attempts are made as a worker makes them: in a process of their own, held to the grant by a limit, and watched. The peak
is what they had besides what their process began with; checkpoints are saved all the while, and the model is published.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.spec.job import TrainSpec
from singlepoint.worker.fitting.check import check_training
from singlepoint.worker.ground.process import resident_bytes
from singlepoint.worker.pool.preload import rehearse
from tests.worker.making import Maker

DRAW = np.random.default_rng(0)
OUT = {"type": "dense", "units": 3, "activation": "softmax"}


def rows(folder: Path, shape: tuple[int, ...], count: int, *, bytes_: bool = False) -> dict[str, Any]:
    """A `[data]` section, and its files."""
    x = DRAW.integers(0, 255, (count, *shape)).astype(np.uint8) if bytes_ else DRAW.normal(size=(count, *shape))
    np.save(folder / "x.npy", x if bytes_ else x.astype(np.float32))
    np.save(folder / "y.npy", np.arange(count) % 3)
    return {"path": "x.npy", "target_path": "y.npy", "task": "classification"}


def texts(folder: Path, words: int) -> dict[str, Any]:
    """Sentences of twenty words each, of which every one occurs once."""
    with (folder / "text.csv").open("w") as file:
        file.write("text,label\n")
        for start in range(0, words, 20):
            file.write(" ".join(f"w{word}" for word in range(start, start + 20)) + f",{'abc'[start // 20 % 3]}\n")
    return {"path": "text.csv", "target": "label", "text": "text"}


def dense(folder: Path, hidden: list[int], **training: Any) -> dict[str, Any]:
    return {"data": rows(folder, (100,), 500), "model": {"hidden": hidden}, "training": training}


def cnn(folder: Path, filters: int) -> dict[str, Any]:
    conv = {"type": "conv2d", "kernel": 3, "activation": "relu"}
    layers = [
        {**conv, "filters": filters},
        {"type": "max_pool2d"},
        {**conv, "filters": 2 * filters},
        {"type": "flatten"},
        {"type": "dense", "units": 256, "activation": "relu"},
        OUT,
    ]
    data = rows(folder, (28, 28), 1200, bytes_=True)
    return {"data": data, "model": {"layers": layers}, "training": {"batch_size": 64}}


def lstm(folder: Path, units: int) -> dict[str, Any]:
    layers = [{"type": "lstm", "units": units, "return_sequence": True}, {"type": "lstm", "units": units}, OUT]
    data = rows(folder, (40, 32), 160)
    return {"data": data, "model": {"layers": layers}, "training": {"batch_size": 64}}


def embedding(folder: Path, words: int) -> dict[str, Any]:
    layers = [{"type": "embedding", "dimension": 64}, {"type": "gru", "units": 32}, OUT]
    text = {"type": "sequence", "length": 20, "min_count": 1, "max_vocabulary": words}
    return {"data": texts(folder, words), "preprocessing": {"text": text}, "model": {"layers": layers}}


CASES = {
    "[1100]*10": lambda folder: dense(folder, [1100] * 10),
    "[3000, 3000]": lambda folder: dense(folder, [3000, 3000]),
    "[3000, 3000], early stopping": lambda folder: dense(folder, [3000, 3000], early_stopping={"patience": 2}),
    "[3000, 3000], plain SGD": lambda folder: dense(folder, [3000, 3000], optimiser={"type": "sgd"}),
    "CNN": lambda folder: cnn(folder, 32),
    "LSTM": lambda folder: lstm(folder, 512),
    "embedding of 200,000 words": lambda folder: embedding(folder, 200_000),
}


def at_the_estimate(folder: Path, sections: Mapping[str, Any], every_s: float = 1.0) -> tuple[int, int, str]:
    """A training granted what the check says it takes: the estimate, the peak, both in bytes, and how it ended.

    every_s: how often it saves.
    """
    maker = Maker(folder)
    document = {"kind": "train", "name": "memory", "checkpoint_interval_s": every_s, **sections}
    document["training"] = {"epochs": 1, **document.get("training", {})}
    spec = parse_document(document, folder, "job")
    assert isinstance(spec, TrainSpec)
    estimate = check_training(spec, folder).memory.total
    job_id = maker.submit(document, resources={"cpu": 1, "memory": estimate})
    begun, pid = resident_bytes(os.getpid()) or 0, maker.begin(job_id)
    with ThreadPoolExecutor(1) as beside:
        watching = beside.submit(most_bytes, pid)
        attempt = maker.oversee(job_id, pid).attempts[-1]
    job, peak = maker.store.load(job_id), watching.result() - begun
    return estimate, peak, attempt.end if job.state is State.SUCCEEDED else f"{attempt.end}: {attempt.cause}"


def most_bytes(pid: int) -> int:
    """The most memory that a process has until it ends, looked at every millisecond: some peaks are short."""
    most = 0
    while (now := resident_bytes(pid)) is not None:
        most = max(most, now)
        time.sleep(0.001)
    return most


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("names", nargs="*", help="cases whose name has one of these words; by default all")
    wanted = options.parse_args().names
    rehearse()
    failed = 0
    print(f"{'training':<30}{'estimate':>10}{'peak':>10}{'ratio':>7}  end")
    for name, make in CASES.items():
        if wanted and not any(word in name for word in wanted):
            continue
        with tempfile.TemporaryDirectory(prefix="singlepoint-") as folder:
            estimate, peak, end = at_the_estimate(Path(folder), make(Path(folder)))
        print(
            f"{name:<30}{estimate / 2**20:>6.0f} MiB{peak / 2**20:>6.0f} MiB{estimate / max(peak, 1):>7.2f}  {end}",
            flush=True,
        )
        failed += end != "succeeded" or estimate > 1.3 * peak
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
