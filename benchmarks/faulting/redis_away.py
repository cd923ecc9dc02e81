"""Redis gone for a while, and all of its data gone for good."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import redis

from singlepoint.jobs.lifecycle.states import FINAL, State
from tests.system.machine import Machine, write_training

from .jobs import endless
from .table import Row


def outages(machine: Machine, lengths_s: Sequence[float]) -> Iterator[Row]:
    """Each with one job running through, one ending in it, and one waiting for room."""
    for length_s in lengths_s:
        through = endless(machine, f"through{length_s:g}")
        machine.wait_for_checkpoint(through)
        ending = machine.train(f"ending{length_s:g}")
        waiting = machine.train(f"waiting{length_s:g}", epochs=2)
        machine.wait_for_checkpoint(ending)
        with machine.without_redis():
            time.sleep(length_s)
            refused = machine.run("ps", check=False).returncode
        back_at = time.time()
        jobs = [machine.finished(one, timeout_s=120) for one in (ending, waiting)]
        machine.ask("cancel", through)
        jobs.append(machine.finished(through))
        attempts = max(len(job.attempts) for job in jobs)
        started = jobs[1].attempts[0].started_at
        assert started is not None
        good = refused == 69 and attempts == 1 and [job.state for job in jobs[:2]] == [State.SUCCEEDED] * 2
        yield Row(
            f"Redis away for {length_s:g} s: running, ending, waiting",
            f"{attempts} attempt each, next began {max(0.0, started - back_at):.2f} s after",
            "1 attempt, all end",
            good,
        )


def wiped(machine: Machine) -> Iterator[Row]:
    """FLUSHALL with 50 jobs in every state a job can be in."""
    ids = {
        State.SUCCEEDED: [machine.train(f"done{n}", epochs=1) for n in range(15)],
        State.FAILED: [_doomed(machine, f"doomed{n}") for n in range(5)],
    }
    for job_id in [one for group in ids.values() for one in group]:
        machine.finished(job_id, timeout_s=120)
    running = [machine.train(f"running{n}", epochs=1500) for n in range(2)]
    for job_id in running:
        machine.wait_for_checkpoint(job_id)
    held = [machine.train(f"held{n}", epochs=1) for n in range(5)]
    for job_id in held:
        machine.ask("pause", job_id)
    ids[State.CANCELLED] = [machine.train(f"cancelled{n}", epochs=1) for n in range(5)]
    for job_id in ids[State.CANCELLED]:
        machine.ask("cancel", job_id)
    waiting = [machine.train(f"waiting{n}", epochs=1) for n in range(18)]
    everybody = machine.store.ids()
    before = {job_id: machine.job(job_id) for job_id in everybody}
    redis.Redis(unix_socket_path=str(machine.home.redis / "redis.sock")).flushall()
    for job_id in held:
        machine.wait(job_id, lambda job: job.held)
        machine.ask("resume", job_id)
    for job_id in [*running, *held, *waiting]:
        machine.finished(job_id, timeout_s=180)
    after = {job_id: machine.job(job_id) for job_id in everybody}
    ended = Counter(after[job_id].state.value for job_id in [*running, *held, *waiting])
    changed = sum(after[one] != job for one, job in before.items() if job.state in FINAL)
    twice = sum(len(after[job_id].attempts) != 1 for job_id in [*running, *held, *waiting])
    good = ended == {"succeeded": len(running) + len(held) + len(waiting)} and not changed and not twice
    yield Row(
        f"all of Redis's data lost, {len(running) + len(held) + len(waiting) + sum(map(len, ids.values()))} jobs",
        f"{dict(ended)}, {changed} finished changed, {twice} run twice",
        "all end, 0, 0",
        good,
    )


def _doomed(machine: Machine, name: str) -> str:
    """A training whose data vanishes after it was accepted."""
    spec = machine.directory / write_training(machine.directory, name=name, epochs=1)
    data = machine.directory / f"{name}.csv"
    data.write_bytes((machine.directory / "wdbc.csv").read_bytes())
    spec.write_text(spec.read_text().replace("wdbc.csv", data.name))
    job_id = machine.submit("train", spec.name)
    data.unlink(missing_ok=True)
    return job_id
