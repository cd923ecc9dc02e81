"""Short jobs through a real singlepoint, and what is foreseen of each when it comes."""

from __future__ import annotations

import math
import os
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.faulting.jobs import training, write_digits
from singlepoint import submit
from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.clock import now
from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.reasons import Eta
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.services.policy_choice import choose_policy
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.file import parse_document
from singlepoint.scheduler.foresight import read_scene, with_spec
from singlepoint.scheduler.simulation.forecast import foresee
from singlepoint.scheduler.simulation.scene import Scene
from singlepoint.scheduler.world.learned.experience import Experience
from tests.system.machine import Machine, wait_until

from .tally import Tally

LOAD = 0.8


def short_specs(directory: Path) -> list[Mapping[str, Any]]:
    """Of each kind some: trainings of about a second, longer and shorter ones alike, and commands whose time is
    not always the same."""
    write_digits(directory)
    specs: list[Mapping[str, Any]] = []
    for network, lengths in (("dense", (20, 60)), ("cnn", (2, 5)), ("rnn", (1, 3))):
        for epochs in lengths:
            spec = training(f"train-{network}-{epochs}", network, "adam", interval_s=None)
            spec["data"]["path"] = str(directory / spec["data"]["path"])
            spec["training"]["epochs"] = epochs
            specs.append(spec)
    for rounds, spread in ((200, 0), (400, 100), (900, 400)):
        words = (
            f"import random,hashlib\nfor _ in range({rounds}+random.randint(0,{spread})): hashlib.sha256(bytes(1<<21))"
        )
        specs.append({"kind": "run", "name": f"hash-{rounds}", "command": ["python3", "-c", words]})
    return specs


def live(policy: str, count: int, seed: int = 1) -> tuple[list[Tally], list[float]]:
    """Starts and ends, and by how much the processor time that like jobs told was off, a share, of each job."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place:
        machine = Machine(Path(place), budget=f"cpu={cores}", workers=cores)
        choose_policy(machine.home, policy)
        machine.start()
        try:
            specs = short_specs(machine.directory)
            taught = [submit(dict(spec), home=machine.home.path) for spec in specs for _ in range(4)]
            wait_until(lambda: all(machine.job(one).is_final for one in taught), machine.tail, 600.0)
            pace_s = mean(map(_held_s, map(machine.job, taught))) / cores / LOAD
            told, ids = _handed_in(machine, specs, count, pace_s, seed)
            jobs = {one: machine.job(one) for one in (*taught, *ids)}
        finally:
            machine.stop()
    return _came(policy, told, jobs), _errors([jobs[one] for one in (*taught, *ids)])


def _held_s(job: Job) -> float:
    """From its grant to its end."""
    return (job.ended_at or 0.0) - job.attempts[-1].dispatched_at


def _handed_in(
    machine: Machine, specs: Sequence[Mapping[str, Any]], count: int, pace_s: float, seed: int
) -> tuple[dict[str, Eta], list[str]]:
    """One after another, and what is foreseen of each from what is known when it comes: played afterwards, or the
    machine would be busy with that."""
    chance, scenes, ids = random.Random(seed), dict[str, Scene](), list[str]()
    session, due = open_session(Settings(machine.home.path)), time.monotonic()
    while len(ids) < count:
        due += chance.expovariate(1 / pace_s)
        spec = dict(chance.choice(specs))
        scene, at = read_scene(session), now()
        ids.append(submit(spec, home=machine.home.path))
        wish = Checked(parse_document(spec, Path.cwd(), "job"), reckoned_s=machine.job(ids[-1]).reckoned_s)
        foreseen = scene and with_spec(session, scene, wish, at, "it")
        if foreseen:
            scenes[ids[-1]] = foreseen
        time.sleep(max(0.0, due - time.monotonic()))
    wait_until(lambda: all(machine.job(one).is_final for one in ids), machine.tail, 600.0)
    etas = {job_id: foresee(foreseen).eta.get("it") for job_id, foreseen in scenes.items()}
    return {job_id: eta for job_id, eta in etas.items() if eta is not None}, ids


def _came(policy: str, told: Mapping[str, Eta], jobs: Mapping[str, Job]) -> list[Tally]:
    starts, ends = Tally(f"live, {policy}, starts"), Tally(f"live, {policy}, ends")
    for job_id, eta in told.items():
        job = jobs[job_id]
        if eta.start is not None:
            starts.add(eta.start, job.attempts[0].started_at or math.inf)
        ends.add(eta.end, job.ended_at or math.inf)
    return [starts, ends]


def _errors(jobs: Sequence[Job]) -> list[float]:
    """Of jobs after three like ones: the median of these was to be their processor time."""
    before: dict[str, Experience] = {}
    seen: dict[str, int] = {}
    found = []
    for job in sorted(jobs, key=lambda job: job.ended_at or 0.0):
        entry, known = Entry.of(job), before.setdefault(job.like, Experience())
        expected = known.cpu_time(job.like, job.work) if seen.get(job.like, 0) >= 3 else None
        if expected is not None:
            found.append(abs(expected.median_s / entry.account.cpu_s - 1))
        known.learn([entry])
        seen[job.like] = seen.get(job.like, 0) + 1
    return found
