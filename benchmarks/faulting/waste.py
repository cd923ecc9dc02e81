"""What checkpoints cost: a save by size, their share of the time of real jobs, and the waste under injected failures.

The simulation is of time only: work is done, saved every interval at a cost, and thrown back to the last save by
failures. Our interval is that of `lifecycle.checkpoint_interval`, from a rate learned as the scheduler learns it, prior
included.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from singlepoint.jobs.lifecycle.checkpoint_interval import (
    LEAST_SAVES_APART,
    MOST_LOST_S,
    checkpoint_interval_s,
    young_s,
)
from singlepoint.scheduler.world.learned.reliability import CAUSES, PRIOR_DEATHS, PRIOR_EXPOSURE_S
from singlepoint.worker.checkpoints import checkpoint
from singlepoint.worker.checkpoints.checkpoint import Counters
from tests.system.machine import ROOT, Machine

from .table import Row

SIZES_MB = (0.1, 1, 12, 120)
EXAMPLES = {"medical": 12_000, "image": 200, "worked_example": 60_000}
MAKES_DATA = "worked_example"
"""name -> epochs for about twenty seconds of work, so that the ten-second rule has it save at all."""


def saves(times: int) -> Iterator[Row]:
    """A whole save (written, synced, renamed, read back) beside a plain write of as many bytes, synced and not."""
    for size_mb in SIZES_MB:
        vector = np.random.default_rng(0).standard_normal(int(size_mb * 2**20 / 4), np.float32)
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:  # not /tmp, which may be memory
            ours, plain, synced = _three_ways(Path(directory), vector, times)
        yield Row(f"save of {size_mb:g} MB", f"{ours:.1f} ms; plain write {plain:.1f} ms, with fsync {synced:.1f} ms")


def _three_ways(directory: Path, vector: checkpoint.Vector, times: int) -> list[float]:
    """Median milliseconds of a save, a write, and a write with fsync, taken in turns."""
    acts: list[Callable[[int], None]] = [
        lambda number: _save(directory, number, vector),
        lambda _: _write(directory / "plain", vector, sync=False),
        lambda _: _write(directory / "synced", vector, sync=True),
    ]
    taken = [[_timed(act, number) for act in acts] for number in range(times)]
    return [1000 * statistics.median(values) for values in zip(*taken, strict=True)]


def _save(directory: Path, step: int, vector: checkpoint.Vector) -> None:
    checkpoint.save(directory, Counters(step, 1, "bench", {}, {}), vector, fence=contextlib.nullcontext)


def _write(path: Path, vector: checkpoint.Vector, *, sync: bool) -> None:
    with open(path, "wb") as file:
        file.write(vector.data)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def _timed(act: Callable[[int], None], number: int) -> float:
    began = time.perf_counter()
    act(number)
    return time.perf_counter() - began


def overhead(machine: Machine) -> Iterator[Row]:
    """The examples as they stand, and longer."""
    examples = ROOT / "examples"
    made = machine.directory / f"{MAKES_DATA}.npz"
    runpy.run_path(str(examples / f"{MAKES_DATA}.py"))["make_data"](made)
    for name, epochs in EXAMPLES.items():
        data = ("--set", f"data.path={made}") if name == MAKES_DATA else ()
        for more in ((), ("--set", f"training.epochs={epochs}")):
            spec = str(examples / f"{name}.toml")
            job = machine.finished(machine.submit("train", spec, "--name", f"{name}{len(more)}", *data, *more), 600)
            usage = job.attempts[-1].usage
            if usage is None or job.result is None:
                yield Row(
                    f"checkpoints of examples/{name}.toml", f"it ended {job.state.value}: {job.reason}", met=False
                )
                continue
            share = 100 * usage.overhead_s / usage.wall_s
            what = f"checkpoints of examples/{name}.toml{f', {epochs} epochs' if more else ''}"
            measured = f"{share:.3f} % of {usage.wall_s:.1f} s ({usage.saves} saves)"
            yield Row(what, measured, "<= 1 %", share <= 1)


# --- failures in simulated time ----------------------------------------------------------------------------------

Interval = Callable[[int, float], float]
"""The interval to use after so many failures in so many seconds."""

Failures = Callable[[random.Random], float]
"""Draws the time to the next failure, in seconds."""


def exponential(mtbf_s: float) -> Failures:
    return lambda chance: chance.expovariate(1 / mtbf_s)


def weibull(mtbf_s: float, shape: float = 0.7) -> Failures:
    """Failures that come in bursts: shape below one."""
    scale = mtbf_s / math.gamma(1 + 1 / shape)
    return lambda chance: chance.weibullvariate(scale, shape)


LAWS: dict[str, Callable[[float], Failures]] = {"exponential": exponential, "Weibull 0.7": weibull}
CASES = ((0.01, 60.0), (0.01, 600.0), (0.1, 60.0), (0.1, 300.0), (1.0, 3600.0))
"""(C, M) where the optimum is below the cap of max(10 s, 100 C)."""


def simulated(failures_each: int) -> Iterator[Row]:
    """Waste from the first failure on, when nothing was learned yet, beside the best fixed interval in hindsight."""
    for law, make in LAWS.items():
        for save_s, mtbf_s in CASES:
            assert young_s(save_s, mtbf_s) < max(MOST_LOST_S, LEAST_SAVES_APART * save_s), "the cap binds"
            gaps = _draw(make(mtbf_s), failures_each)
            ours = wasted(gaps, save_s, _learning(save_s))
            best = min(wasted(gaps, save_s, _always(s)) for s in _grid(save_s, mtbf_s))
            yield Row(
                f"waste, {law}, C={save_s:g} s, M={mtbf_s:g} s",
                f"{100 * ours:.2f} %; best {100 * best:.2f} %",
                "<= 1.05 x best fixed",
                ours <= 1.05 * best,
            )


def _always(interval_s: float) -> Interval:
    return lambda _failures, _ran_s: interval_s


def _draw(failures: Failures, count: int) -> list[float]:
    chance = random.Random(1)
    return [failures(chance) for _ in range(count)]


def _grid(save_s: float, mtbf_s: float) -> list[float]:
    middle = young_s(save_s, mtbf_s)
    return [middle * 10 ** (k / 20) for k in range(-20, 21)]


def _learning(save_s: float) -> Interval:
    """What singlepoint does."""
    shape = PRIOR_DEATHS * len(CAUSES)
    return lambda failures, ran_s: checkpoint_interval_s(save_s, (shape + failures) / (PRIOR_EXPOSURE_S + ran_s))


def wasted(gaps: Sequence[float], save_s: float, interval: Interval) -> float:
    """Time lost to saves and repeated work, as a share of the work that lasted."""
    useful = total = 0.0
    for failures, gap in enumerate(gaps):
        interval_s = interval(failures, total)
        useful += math.floor(gap / (interval_s + save_s)) * interval_s
        total += gap
    return total / useful - 1 if useful else math.inf
