"""100 000 damaged model files: nothing but ModelFormatError, and no more memory than the files declare.

    python -m benchmarks.fuzz_models [--count N] [--seed S]

Damage is a function of the seed: bytes flipped, files cut and spliced, values of the document and of the weights'
header replaced by hostile ones, digests made to fit so that later checks are reached. A file that loads anyway (the
damage was harmless) counts as loaded.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from singlepoint.worker.estimator.model import Model
from singlepoint.worker.models.files import ModelFormatError, load, save
from tests.worker.models.damage import damaged_copies

FIXED_BYTES = 1 << 20  # what parsing and messages may take beside the files

OUT = {"type": "dense", "units": 2, "activation": "softmax"}
DRAW = np.random.default_rng(0)
LABELS = np.array(["a", "b"] * 30)


def table() -> tuple[Model, Any]:
    raw = {"n": DRAW.normal(size=60), "c": np.array(["x", "y", "z"] * 20, object)}
    return Model(hidden=[4], preprocessing={"categorical": ["c"], "impute": "mean"}), raw


def image() -> tuple[Model, Any]:
    layers: list[dict[str, Any]] = [{"type": "conv2d", "filters": 2, "kernel": 3, "activation": "relu"}]
    layers += [{"type": "batch_norm"}, {"type": "max_pool2d"}, {"type": "flatten"}, OUT]
    preprocessing = {"rescale": 255, "denoise": {"type": "median"}}
    return Model(layers=layers, preprocessing=preprocessing), DRAW.integers(0, 256, (60, 8, 8)).astype(np.uint8)


def text() -> tuple[Model, Any]:
    return Model(hidden=[4]), np.array([f"good film {i % 5}" for i in range(60)])


def tokens() -> tuple[Model, Any]:
    layers = [{"type": "embedding", "dimension": 3}, {"type": "gru", "units": 3}, OUT]
    preprocessing = {"text": {"type": "sequence", "length": 6}}
    return Model(layers=layers, preprocessing=preprocessing), np.array([f"good film {i % 5}" for i in range(60)])


MODELS = {"table": table, "image": image, "tf-idf": text, "tokens": tokens}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    escaped = 0
    print(
        f"{'model':8} {'cases':>7} {'refused':>8} {'loaded':>7} {'escaped':>8} "
        f"{'peak bytes':>11} {'allowed':>9} {'ms/case':>8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, make) in enumerate(MODELS.items()):
            escaped += fuzz(name, make, Path(folder) / name, chosen.count // len(MODELS), chosen.seed + number)
    print(f"largest resident set: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    return 1 if escaped else 0


def fuzz(name: str, make: Any, folder: Path, count: int, seed: int) -> int:
    """Prints a line; answers how many cases raised something else or took too much memory."""
    model, x = make()
    save(model.fit(x, LABELS, epochs=1).trained, folder / "sound")
    allowed = FIXED_BYTES + 40 * sum(path.stat().st_size for path in (folder / "sound").iterdir())
    ends: Counter[str] = Counter()
    most, began = 0, time.perf_counter()
    tracemalloc.start()
    for case, damaged in enumerate(damaged_copies(folder / "sound", folder / "damaged", count=count, seed=seed)):
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        end = outcome(damaged)
        taken = tracemalloc.get_traced_memory()[1] - before
        most = max(most, taken)
        ends[end] += 1
        if end not in ("refused", "loaded") or taken > allowed:
            print(f"  {name} case {case}: {end}, {taken} bytes", file=sys.stderr)
            ends["escaped"] += 1
    tracemalloc.stop()
    per_case = 1000 * (time.perf_counter() - began) / max(count, 1)
    print(
        f"{name:8} {count:7} {ends['refused']:8} {ends['loaded']:7} {ends['escaped']:8} "
        f"{most:11} {allowed:9} {per_case:8.2f}",
        flush=True,
    )
    return ends["escaped"]


def outcome(folder: Path) -> str:
    """ "refused", "loaded", or the name of what should not have been raised."""
    try:
        load(folder)
    except ModelFormatError:
        return "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "loaded"


if __name__ == "__main__":
    sys.exit(main())
