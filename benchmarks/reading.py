"""Reading a table for training, against pandas and pyarrow, in one run: time and the most memory.

    python -m benchmarks.reading [ROWS] [--in FOLDER] [--pandas PYTHON]

Each reading is a process of its own, so that its memory is its own. Ratios below 1 are in our favour. pandas reads to a
DataFrame, pyarrow a Parquet file to a Table; we read to the columns a training is made of, of CSV with pyarrow and
as if it were not installed. All do it on one core, and on two: a ratio is to the other on as many. Seconds are the
clock's, and beside them the processor's, which a busy machine changes less. Tables in FOLDER are made once, and stay.
PYTHON is an interpreter with another version of pandas: 3.1 parses numbers three times as fast as 2.3, in two threads.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS", "OMP", "MKL", "ARROW"):
    os.environ[f"{name}_NUM_THREADS"] = "1"

import json
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.needs import needed

ROWS = 1_000_000
COLUMNS = 20


def make(folder: Path, rows: int) -> None:
    """numeric.csv, mixed.csv and numeric.parquet."""
    import pandas

    draw = np.random.default_rng(0)
    numbers = {f"c{i}": draw.normal(size=rows) for i in range(COLUMNS)}
    frame = pandas.DataFrame(numbers | {"y": draw.integers(0, 2, rows)})
    frame.to_csv(folder / "numeric.csv", index=False)
    frame.to_parquet(folder / "numeric.parquet", row_group_size=100_000)
    words = np.array(["red", "green, or so", "blue", "a longer word"])
    mixed = {f"w{i}": words[draw.integers(0, 4, rows)] for i in range(4)}
    few = {name: np.round(numbers[name], 3) for name in list(numbers)[:6]}
    pandas.DataFrame(few | mixed | {"y": draw.integers(0, 2, rows)}).to_csv(folder / "mixed.csv", index=False)


def ours(path: Path) -> None:
    from singlepoint.jobs.host.free_memory import keep_free_memory
    from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
    from singlepoint.worker.data.formats.training import read_training_data

    keep_free_memory()  # as a job does
    data = DataSpec(path=str(path), target="y")
    read_training_data(data, PreprocessingSpec(categorical="auto"), path.parent)


def pandas_csv(path: Path) -> None:
    import pandas

    pandas.read_csv(path)


def pyarrow_parquet(path: Path) -> None:
    import pyarrow.parquet as parquet

    parquet.read_table(path, use_threads=len(os.sched_getaffinity(0)) > 1)


def ours_by_numpy(path: Path) -> None:
    sys.modules["pyarrow"] = None  # type: ignore[assignment]  # as if it were not installed
    ours(path)


READERS: dict[str, Callable[[Path], None]] = {
    "ours": ours,
    "ours, numpy alone": ours_by_numpy,
    "pandas": pandas_csv,
    "pyarrow": pyarrow_parquet,
}
COMPARED = {
    "numeric.csv": ("pandas", ("ours, numpy alone", "ours")),
    "mixed.csv": ("pandas", ("ours, numpy alone", "ours")),
    "numeric.parquet": ("pyarrow", ("ours",)),
}


def measure(reader: str, cores: int, path: Path) -> dict[str, float]:
    """In this process, on so many cores: seconds, those of the processor, and the memory above what imports took."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ["OMP_NUM_THREADS"] = str(cores)  # so many threads pyarrow takes, and pandas 3.1
    small = path.with_name(f"small{path.suffix}")
    READERS[reader](small)  # imports and first calls
    before = most_kib()
    began, began_cpu = time.perf_counter(), time.process_time()
    READERS[reader](path)
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    return {"seconds": seconds, "cpu": cpu, "mib": (most_kib() - before) / 1024}


def most_kib() -> int:
    """The most memory this process has had; getrusage would begin with that of the process it was forked from."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def apart(reader: str, cores: int, path: Path, times: int = 3, python: str = sys.executable) -> dict[str, float]:
    """The best of some processes."""
    command = [python, "-m", "benchmarks.reading", "--measure", reader, str(cores), str(path)]
    runs: list[dict[str, Any]] = [json.loads(subprocess.check_output(command)) for _ in range(times)]
    return {name: min(run[name] for run in runs) for name in runs[0]}


def main(rows: int, folder: Path | None, python: str) -> None:
    with needed("parity,parquet"):
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
    with tempfile.TemporaryDirectory() as name:
        place = folder or Path(name)
        place.mkdir(parents=True, exist_ok=True)
        if not (place / "mixed.csv").exists():
            make(place, rows)
        most_cores = min(2, len(os.sched_getaffinity(0)))
        print(f"{'table':18}{'read by':20}{'cores':>6}{'s':>8}{'cpu s':>8}{'MiB':>8}{'s':>8}{'cpu s':>8}{'MiB':>8}")
        for file, (other, readers) in COMPARED.items():
            path = place / file
            shrink(path)
            theirs = python if other == "pandas" else sys.executable
            for cores in range(1, most_cores + 1):
                they = apart(other, cores, path, python=theirs)
                print(f"{file:18}{other:20}{cores:6}{shown(they)}", flush=True)
                for reader in readers:
                    we = apart(reader, cores, path)
                    ratios = "".join(f"{we[name] / max(they[name], 1e-9):8.2f}" for name in we)
                    print(f"{'':18}{reader:20}{cores:6}{shown(we)}{ratios}", flush=True)


def shown(figures: dict[str, float]) -> str:
    return f"{figures['seconds']:8.2f}{figures['cpu']:8.2f}{figures['mib']:8.0f}"


def shrink(path: Path) -> None:
    """A small table of the same kind beside it."""
    import pandas

    small = path.with_name(f"small{path.suffix}")
    if path.suffix == ".parquet":
        pandas.read_parquet(path).head(1000).to_parquet(small)
    else:
        with path.open() as file:
            small.write_text("".join(line for line, _ in zip(file, range(1000), strict=False)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))))
    else:
        options = ArgumentParser()
        options.add_argument("rows", nargs="?", type=int, default=ROWS)
        options.add_argument("--in", dest="folder", type=Path)
        options.add_argument("--pandas", default=sys.executable)
        given = options.parse_args()
        main(given.rows, given.folder, given.pandas)
