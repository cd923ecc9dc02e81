"""The size of a home: the same commands, and a start, with many ended jobs beside few; the homes are written directly.

    python -m benchmarks.home [--ended 100000] [--waiting 1000]

Prints seconds of whole processes, median of three, of a home with 1,000 ended jobs and of one with `--ended`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.home_maker import fill
from singlepoint.jobs.store.home import Home, open_home
from tests.system.machine import Machine

FEW = 1000
COMMANDS = ("ps", "ps -a --limit 20", "show {id}", "show {id:.6}", "show job-7", "show last", "explain {id}", "report")


def seconds(home: Home, words: list[str]) -> float:
    """Of one command, median of three; its answer does not matter here, that it has one does."""
    took = []
    for _ in range(3):
        began = time.perf_counter()
        command = [sys.executable, "-m", "singlepoint", "--home", str(home.path), *words]
        ended = subprocess.run(command, capture_output=True, check=False)
        took.append(time.perf_counter() - began)
        assert ended.returncode == 0, ended.stderr.decode()
    return statistics.median(took)


def measure(directory: Path, ended: int, waiting: int) -> dict[str, float]:
    """Seconds of a start and of each command, in a home of that size."""
    machine = Machine(directory, workers=1, budget="cpu=1,memory=2GiB")
    spec = directory / "spec.json"
    spec.write_text("{}")
    home = open_home(machine.home.path)
    waits = fill(home, ended=ended, waiting=waiting, spec=spec)
    (home.path / "draining").write_text("")  # what waits is there to wait
    began = time.perf_counter()
    machine.start()
    try:
        found = {"up": time.perf_counter() - began}
        for command in COMMANDS:
            found[command] = seconds(home, command.format(id=waits[0].id).split())
    finally:
        machine.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ended", type=int, default=100_000)
    parser.add_argument("--waiting", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        few = measure(Path(one), FEW, options.waiting)
        many = measure(Path(other), options.ended, options.waiting)
    print(f"{'':20} {FEW:>9,} {options.ended:>9,} ended, beside {options.waiting:,} that wait")
    for name, took in few.items():
        print(f"{name:20} {took:9.2f} {many[name]:9.2f} s")


if __name__ == "__main__":
    main()
