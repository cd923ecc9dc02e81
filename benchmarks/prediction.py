"""Rows a second of a prediction granted one core and two: whole attempts, interleaved, the best of each.

    SINGLEPOINT_DATA=… python -m benchmarks.prediction [--repeats 3] [--rows 250000]

KDD Cup 99 is a table of 41 columns, all copied into a CSV, for a dense network: reading and formatting are most of the
work. Fashion-MNIST is an array for a convolutional network: predicting is. The outputs are compared byte for byte.
Processor seconds are printed too: on a machine that others use, the ratio of the wall clocks falls below what they
would allow, which is 2 x (those of one core) / (those of two).
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from tests.worker.making import Maker

DATA = Path(os.environ.get("SINGLEPOINT_DATA", "data"))
RESOURCES = {"cpu": 2, "memory": "1GiB"}
CATEGORICAL = ("1", "2", "3")
LABEL = "41"
TRAINED_ON = 5000


def kdd(directory: Path, rows: int) -> dict[str, Any]:
    """Writes the table without a header, as it is; the sections of a training on some of it."""
    with gzip.open(DATA / "kddcup99-10pct" / "kddcup.data_10_percent.gz", "rb") as file:
        lines = list(islice(file, rows))
    (directory / "kdd.csv").write_bytes(b"".join(lines))
    (directory / "kdd-train.csv").write_bytes(b"".join(lines[:: max(1, len(lines) // TRAINED_ON)]))
    return {
        "data": {"path": "kdd-train.csv", "target": LABEL, "header": False},
        "preprocessing": {"categorical": CATEGORICAL},
        "model": {"hidden": [32, 16]},
    }


def fashion(directory: Path, rows: int) -> dict[str, Any]:
    """Writes the images as .npy; the sections of a training on some of them."""
    source = DATA / "fashion-mnist"
    images = np.frombuffer(gzip.decompress((source / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((source / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    images = images.reshape(-1, 28, 28)[:rows]
    np.save(directory / "fashion.npy", images)
    np.save(directory / "fashion-train.npy", images[:1000])
    np.save(directory / "fashion-labels.npy", labels[:1000])
    block = [{"type": "conv2d", "filters": 16, "kernel": 3, "activation": "relu"}, {"type": "max_pool2d"}]
    return {
        "data": {"path": "fashion-train.npy", "target_path": "fashion-labels.npy"},
        "preprocessing": {"rescale": 255},
        "model": {
            "layers": [*block, *block, {"type": "flatten"}, {"type": "dense", "units": 10, "activation": "softmax"}]
        },
    }


CASES: dict[str, tuple[Callable[[Path, int], dict[str, Any]], str, str]] = {
    "kdd": (kdd, "kdd.csv", ".csv"),
    "fashion": (fashion, "fashion.npy", ".npy"),
}
"""By name: what writes the input and says how to train for it, the input, and the kind of output."""


def succeeded(job: Job) -> Job:
    """The job, or the end of the benchmark."""
    if job.state is not State.SUCCEEDED:
        sys.exit(f"{job.name} ended as {job.state}: {job.reason}")
    return job


def measure(maker: Maker, name: str, rows: int, repeats: int) -> None:
    """Train a model for a case, score its input again and again, and print the best of each number of children."""
    sections, source, kind = CASES[name][0](maker.directory, rows), *CASES[name][1:]
    sections["training"] = {"epochs": 1, "seed": 7}
    succeeded(maker.make(maker.submit({"kind": "train", "name": name, "resources": RESOURCES, **sections})))
    prediction = {"kind": "predict", "name": name, "model": name, "input": source, "output": f"{name}.out{kind}"}
    best: dict[int, tuple[float, float, int]] = {}
    digests = set()
    for _ in range(repeats):
        for cores in (1, 2):
            job = succeeded(maker.make(maker.submit({**prediction, "resources": RESOURCES}), cores=cores))
            usage = job.attempts[-1].usage
            assert usage is not None and job.result is not None
            best[cores] = min(best.get(cores, (float("inf"), 0.0, 0)), (usage.wall_s, usage.cpu_s, job.result["rows"]))
            digests.add(job.result["sha256"])
    for cores, (wall_s, cpu_s, scored) in best.items():
        print(f"  {name:8} cores {cores}   {scored / wall_s:9.0f} rows/s   {cpu_s:6.2f} processor seconds")
    ratio, allowed = best[1][0] / best[2][0], 2 * best[1][1] / best[2][1]
    same = "same bytes" if len(digests) == 1 else "THE BYTES DIFFER"
    print(f"  {name:8} ratio {ratio:.2f} ({allowed:.2f} by processor seconds), {same}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=250_000, help="at most, of each input")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"no data in {DATA}: set SINGLEPOINT_DATA")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("this benchmark needs two cores")
    with tempfile.TemporaryDirectory() as directory:
        maker = Maker(Path(directory))
        for name in CASES:
            measure(maker, name, options.rows, options.repeats)


if __name__ == "__main__":
    main()
