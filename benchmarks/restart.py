"""From kill -9 to the next step of a training on a large CSV, and to the first step of another job on the same data.

    python -m benchmarks.restart [--gigabytes 1]

A singlepoint of its own, in a temporary home, reads the table once; then its child is killed a few times. The file
itself is never read again: what the first attempt prepared is. Seconds depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import numpy as np

from benchmarks.faulting.jobs import submit_spec
from benchmarks.faulting.table import Row, seconds_row, show
from singlepoint.jobs.lifecycle.states import State
from tests.system.machine import Machine, wait_until

COLUMNS, ROWS_OF_A_BLOCK, KILLS = 20, 20_000, 5
LONGEST_S = 900.0


def write_table(path: Path, size: int) -> None:
    """About `size` bytes of full-precision numbers: one block of rows, over and over."""
    draw = np.random.default_rng(0)
    numbers, classes = draw.normal(size=(ROWS_OF_A_BLOCK, COLUMNS)), draw.integers(0, 2, ROWS_OF_A_BLOCK)
    rows = [",".join([*map(repr, row), str(y)]) for row, y in zip(numbers.tolist(), classes.tolist(), strict=True)]
    block = ("\n".join(rows) + "\n").encode()
    with path.open("wb") as file:
        file.write((",".join([*(f"c{i}" for i in range(COLUMNS)), "y"]) + "\n").encode())
        for _ in range(max(1, size // len(block))):
            file.write(block)


def training(name: str) -> dict[str, object]:
    """A network that would train for hours; it saves once a second."""
    return {
        "kind": "train",
        "name": name,
        "data": {"path": "large.csv", "target": "y"},
        "model": {"hidden": [16]},
        "training": {"epochs": 100_000, "batch_size": 1024},
        "resources": {"cpu": 1, "memory": "3GiB"},
        "checkpoint_interval_s": 1,
    }


def measure(machine: Machine) -> list[Row]:
    """How long the first attempt took to its first step, each restart, and another job."""
    began_at = time.time()
    first = submit_spec(machine, training("first"))
    wait_until(lambda: machine.step(first) >= 1, machine.tail, LONGEST_S)
    rows = [Row("the table read and prepared, to the first step", f"{time.time() - began_at:.1f} s")]
    restarts = []
    for number in range(1, KILLS + 1):
        machine.wait_for_checkpoint(first)
        pid = machine.child_pid(first)
        killed_at = time.time()
        os.kill(pid, signal.SIGKILL)
        machine.wait(first, lambda job, number=number: job.attempt > number and job.state is State.RUNNING)  # type: ignore[misc]
        machine.wait_for_step(first, 1)
        restarts.append(time.time() - killed_at)
    rows.append(seconds_row("child killed: stepping again", restarts, median_s=1.0, p95_s=2.0))
    began_at = time.time()
    second = submit_spec(machine, training("second"))
    wait_until(lambda: machine.step(second) >= 1, machine.tail, LONGEST_S)
    rows.append(Row("another job on the same data, submitted to its first step", f"{time.time() - began_at:.1f} s"))
    for job_id in (first, second):
        machine.ask("cancel", job_id)
        machine.finished(job_id)
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gigabytes", type=float, default=1.0)
    size = int(options.parse_args().gigabytes * 1e9)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_table(directory / "large.csv", size)
        machine = Machine(directory, budget="cpu=2,memory=8GiB").start()
        try:
            show(f"restarting a training on a CSV of {size / 1e9:g} GB", measure(machine))
        finally:
            machine.stop()


if __name__ == "__main__":
    main()
