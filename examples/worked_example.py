"""The worked example: its data, its training, and its report at epoch t = 100.

    python examples/worked_example.py [--failure-rate 1e-4] [--budget-cpu 2]

Prints the metrics at epoch 100, the utilisation U(100) = C(100) / C_max of a budget while this job runs alone in
it, and the reliability R(100) = exp(-λ·100) for the given λ: the chance that an attempt survives 100 seconds.
To run it as a job: this script once, for the data, then `singlepoint submit train examples/worked_example.toml`.
"""

from __future__ import annotations

import argparse
import math
import tomllib
from pathlib import Path

import numpy as np

from singlepoint.jobs.amounts import parse_bytes
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.spec.job import TrainSpec, parse
from singlepoint.scheduler.reporting.utilisation import shares
from singlepoint.worker.fitting.loading import load_training_set
from singlepoint.worker.fitting.training import new_network, new_trainer
from singlepoint.worker.nn.learning.trainer import EpochReport

HERE = Path(__file__).parent
ROWS = 400


def make_data(path: Path) -> None:
    """Rows of 10 standard normal values, and the 5 answers of a fixed two-layer rule, none negative."""
    source = np.random.Philox(key=(2026, 0))
    words = source.random_raw(ROWS * 10 + 10 * 5).astype(np.float64) / 2**64
    normal = np.sqrt(-2 * np.log1p(-words)) * np.cos(2 * math.pi * np.roll(words, 1))
    x, rule = normal[: ROWS * 10].reshape(ROWS, 10), normal[ROWS * 10 :].reshape(10, 5)
    np.savez(path, x=x.astype(np.float32), y=np.maximum(x @ rule / math.sqrt(10), 0).astype(np.float32))


def train(spec: TrainSpec) -> EpochReport:
    """The report of the last epoch."""
    data = load_training_set(spec, HERE)
    trainer = new_trainer(new_network(spec, data), spec.training, data)
    return list(trainer.reports())[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--failure-rate", type=float, default=1e-4, help="λ, failures a second")
    parser.add_argument("--budget-cpu", type=int, default=2, help="C_max, cores")
    parser.add_argument("--budget-memory", default="4GiB", help="C_max, memory")
    options = parser.parse_args()
    data = HERE / "worked_example.npz"
    if not data.exists():
        make_data(data)
    document = tomllib.loads((HERE / "worked_example.toml").read_text())
    spec = parse(document, lambda path: str(HERE / path))
    assert isinstance(spec, TrainSpec)
    report = train(spec)
    print(f"epoch t = {report.epoch}: loss {report.loss:.6f}, validation loss {report.validation_loss:.6f}")
    for name, value in report.metrics.items():
        print(f"  {name:<5} {value:.6f}")
    budget = Resources(1000 * options.budget_cpu, parse_bytes(options.budget_memory))
    for name, share in shares(spec.resources.amounts(), budget).items():
        print(f"U(100) {name:<13} {share:.4f}")
    print(f"R(100) at λ = {options.failure_rate:g}/s   {math.exp(-options.failure_rate * 100):.6f}")


if __name__ == "__main__":
    main()
