"""SIGKILL at random moments, and whether the bits of the results are those of an undisturbed run."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from tests.system.machine import Machine, write_rows

from .jobs import NETWORKS, OPTIMISERS, submit_spec, training
from .table import Row

PREDICTION_SHARE = 0.15


def kills(machine: Machine, count: int, chance: random.Random) -> Iterator[Row]:
    """`count` kills, spread over every network and optimiser, and over predictions."""
    kinds = [(network, optimiser) for network in NETWORKS for optimiser in OPTIMISERS]
    on_predictions = max(1, round(count * PREDICTION_SHARE))
    each = -(-(count - on_predictions) // len(kinds))
    total = differing = torn = 0
    for network, optimiser in kinds:
        done, wrong, bad_epochs = _disturbed_trainings(
            machine, f"{network}-{optimiser}", network, optimiser, each, chance
        )
        total, differing, torn = total + done, differing + wrong, torn + bad_epochs
        yield Row(f"{network}, {optimiser}: {done} kills", f"{wrong} results differ", "0", wrong == 0)
    yield Row("epochs missing or twice in metrics.jsonl", str(torn), "0", torn == 0)
    done, wrong, rows = _disturbed_predictions(machine, on_predictions, chance)
    yield Row(f"prediction: {done} kills", f"{wrong} outputs differ", "0", wrong == 0)
    yield Row("rows skipped or repeated", str(rows), "0", rows == 0)
    yield Row(
        "all kills", f"{total + done} kills, {differing + wrong} differing", "0 differing", differing + wrong == 0
    )


def _disturbed_trainings(
    machine: Machine, name: str, network: str, optimiser: str, count: int, chance: random.Random
) -> tuple[int, int, int]:
    """(kills, results that differ, results whose metrics are not one line an epoch)."""

    def submit(run: str) -> str:
        return submit_spec(machine, training(f"{name}-{run}", network, optimiser))

    calm = succeeded(machine, submit("calm"))
    done = wrong = torn = number = 0
    while done < count:
        number += 1
        job_id = submit(f"disturbed{number}")
        done += _kill_until_it_ends(machine, job_id, count - done, chance)
        job = succeeded(machine, job_id)
        wrong += sha256(job) != sha256(calm) or job.bit_identical is not True
        lines = (machine.home.job(job_id) / "metrics.jsonl").read_text().splitlines()
        torn += [json.loads(line)["epoch"] for line in lines] != list(range(1, NETWORKS[network].epochs + 1))
    return done, wrong, torn


def _disturbed_predictions(machine: Machine, count: int, chance: random.Random) -> tuple[int, int, int]:
    """(kills, outputs that differ, rows that are not there exactly once)."""
    succeeded(machine, machine.train("scorer", epochs=5))
    repeats = 150
    write_rows(machine.directory / "many.csv", repeats)

    def submit(run: str) -> str:
        spec = {"kind": "predict", "name": run, "model": "scorer", "input": "many.csv", "output": f"{run}.csv"}
        return submit_spec(machine, {**spec, "checkpoint_interval_s": 0.1})

    succeeded(machine, submit("calm"))
    expected = (machine.directory / "calm.csv").read_bytes()
    done = wrong = lost = number = 0
    while done < count:
        number += 1
        job_id = submit(f"disturbed{number}")
        done += _kill_until_it_ends(machine, job_id, count - done, chance)
        succeeded(machine, job_id)
        output = machine.directory / f"disturbed{number}.csv"
        wrong += output.read_bytes() != expected
        ids = [int(row["id"]) for row in csv.DictReader(output.open())]
        lost += len(set(range(repeats * 569)) ^ set(ids)) + len(ids) - len(set(ids))
    return done, wrong, lost


def _kill_until_it_ends(machine: Machine, job_id: str, most: int, chance: random.Random) -> int:
    """Kill the child, again and again, somewhere in its first half second; how often that was done."""
    done = 0
    while done < most:
        machine.wait(job_id, lambda job: job.is_final or job.state is State.RUNNING)
        time.sleep(chance.uniform(0.0, 0.5))
        before = machine.job(job_id)
        if before.is_final:
            break
        done += _kill(lambda: machine.child_pid(job_id))
        machine.wait(job_id, partial(_went_on, before))
    return done


def _went_on(before: Job, job: Job) -> bool:
    return job.is_final or job.attempt > before.attempt


def _kill(pid: Callable[[], int]) -> int:
    with contextlib.suppress(IndexError, ProcessLookupError, AssertionError):  # it ended by itself just now
        os.kill(pid(), signal.SIGKILL)
        return 1
    return 0


def succeeded(machine: Machine, job_id: str) -> Job:
    """The job, once it has; ends the run when it fails."""
    job = machine.finished(job_id, timeout_s=300)
    if job.state is not State.SUCCEEDED:
        raise SystemExit(f"{job.name} ended {job.state.value}: {job.reason}\n{machine.tail()}")
    return job


def sha256(job: Job) -> object:
    """Of its result."""
    return None if job.result is None else job.result["sha256"]
