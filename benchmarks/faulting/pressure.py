"""What surrounds the work gives way under it: a disk that fails writes, a budget that is lowered and raised. Whether
what comes out has the bits of an undisturbed run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import cycle

from singlepoint.jobs.lifecycle.records import Job
from tests.system.machine import Machine

from .jobs import NETWORKS, submit_spec, training
from .kills import sha256, succeeded
from .table import Row

PLACES = (
    "checkpoint.write",
    "checkpoint.rename",
    "metrics.write",
    "history.record",
    "publish.model",
    "history.succeed",
)
"""Writes of a training that are failed, as its end comes nearer."""

OPTIMISER = "adam"
BUDGETS = ("cpu=1,memory=700MiB", "cpu=1", "memory=700MiB", "cpu=2,memory=1GiB")
"""Each leaves room for some of what runs, and for none of the rest."""

LONGER = 20
"""Times the epochs: two have to run at once for one of them to be put down."""


def failing_disk(machine: Machine) -> Iterator[Row]:
    """At each place where a training writes, all writes fail (EIO) for two seconds, of one network after another."""
    differing = attempts = runs = 0
    for place, network in zip(PLACES, cycle(NETWORKS), strict=False):
        calm = _calm(machine, network)
        with machine.failing(place, "eio"):
            job_id = _submitted(machine, network, place.replace(".", "-"))
            time.sleep(2.0)
        job = succeeded(machine, job_id)
        differing += _differs(job, calm)
        attempts, runs = attempts + len(job.attempts), runs + 1
    measured = f"{runs} trainings in {attempts} attempts, {differing} differing"
    yield Row("a disk that fails writes (EIO)", measured, "0 differing", differing == 0 and attempts > runs)


def changing_budget(machine: Machine, for_s: float, chance: random.Random) -> Iterator[Row]:
    """Trainings of every kind, submitted one after another, while the budget is lowered and raised all the time."""
    calm = {network: _calm(machine, network, LONGER) for network in NETWORKS}
    jobs: list[tuple[str, str]] = []
    end_s, changes = time.monotonic() + for_s, 0
    while time.monotonic() < end_s:
        if sum(not machine.job(job_id).is_final for _, job_id in jobs) < 4:
            network = chance.choice(list(NETWORKS))
            jobs.append((network, _submitted(machine, network, f"pressed-{len(jobs)}", LONGER)))
        machine.run("budget", chance.choice(BUDGETS))
        time.sleep(chance.uniform(0.2, 2.0))
        machine.run("budget", "--reset")
        time.sleep(chance.uniform(0.0, 1.0))
        changes += 2
    ended = [(succeeded(machine, job_id), calm[network]) for network, job_id in jobs]
    differing = sum(_differs(job, undisturbed) for job, undisturbed in ended)
    preempted = sum(attempt.end == "preempted" for job, _ in ended for attempt in job.attempts)
    measured = f"{len(jobs)} trainings put down {preempted} times, {differing} differing"
    what = f"the budget changed {changes} times in {for_s:.0f} s"
    yield Row(what, measured, "0 differing", differing == 0 and preempted > 0)


def _calm(machine: Machine, network: str, longer: int = 1) -> Job:
    """Undisturbed."""
    return succeeded(machine, _submitted(machine, network, "undisturbed", longer))


def _submitted(machine: Machine, network: str, name: str, longer: int = 1) -> str:
    spec = training(f"{network}-{name}", network, OPTIMISER)
    spec["training"]["epochs"] *= longer
    return submit_spec(machine, spec)


def _differs(job: Job, calm: Job) -> bool:
    return sha256(job) != sha256(calm) or job.bit_identical is not True
