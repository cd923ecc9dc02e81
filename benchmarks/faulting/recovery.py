"""Seconds from a death to the job running again: ours, and plain RQ's, on the same fault in the same run.

"Running again" is the claim of the next attempt, "stepping" its first report, which comes after its first step.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.lifecycle.states import State
from tests.system.machine import Machine, wait_until

from .jobs import endless
from .table import Row, seconds_row


def recovery(machine: Machine, times: int) -> Iterator[Row]:
    """Child and worker are killed `times` times each, the supervisor a few times."""
    for what, pid in (("child", machine.child_pid), ("worker and child", machine.worker_pid)):
        running, stepping = _after_kills(machine, what.split()[0], pid, times)
        yield seconds_row(f"{what} killed: running again", running, median_s=0.1, p95_s=1.0)
        yield Row(f"{what} killed: stepping again", _plain(stepping))
    restarts, starts = _after_supervisor_kills(machine, max(2, times // 5))
    without = [total - start for total, start in zip(restarts, starts, strict=True)]
    yield Row("supervisor killed, `up` at once: running again", _plain(restarts))
    yield Row("  of that, beyond the start of the services", _plain(without), "<= 2 s", max(without) <= 2)


def _after_kills(
    machine: Machine, name: str, pid_of: Callable[[str], int], times: int
) -> tuple[list[float], list[float]]:
    job_id = endless(machine, f"endless-{name}")
    running, stepping = [], []
    for number in range(1, times + 1):
        machine.wait(job_id, lambda job, number=number: job.attempt == number and job.state is State.RUNNING)  # type: ignore[misc]
        machine.wait_for_checkpoint(job_id)
        pid = pid_of(job_id)
        killed_at = time.time()
        os.kill(pid, signal.SIGKILL)
        job = machine.wait(job_id, lambda job, number=number: job.attempt > number and job.state is State.RUNNING)  # type: ignore[misc]
        started_at = job.attempts[-1].started_at
        assert started_at is not None
        running.append(started_at - killed_at)
        machine.wait_for_step(job_id, 1)
        stepping.append(time.time() - killed_at)
    machine.ask("cancel", job_id)
    machine.finished(job_id)
    return running, stepping


def _after_supervisor_kills(machine: Machine, times: int) -> tuple[list[float], list[float]]:
    """(death to running again, of that the start of the services: until the pool and the scheduler are there)."""
    job_id = endless(machine, "endless-supervisor")
    totals, starts = [], []
    for number in range(1, times + 1):
        machine.wait(job_id, lambda job, number=number: job.attempt == number and job.state is State.RUNNING)  # type: ignore[misc]
        machine.wait_for_checkpoint(job_id)
        supervisor = holder(machine.home.lock("supervisor"))
        assert supervisor is not None and machine.supervisor is not None
        killed_at = time.time()
        os.kill(supervisor.pid, signal.SIGKILL)
        machine.supervisor.wait()
        log_size = machine.log.stat().st_size
        machine.launch()
        wait_until(lambda: "pool_started" in machine.log.read_text()[log_size:], machine.tail)  # noqa: B023
        starts.append(time.time() - killed_at)
        job = machine.wait(job_id, lambda job, number=number: job.attempt > number and job.state is State.RUNNING)  # type: ignore[misc]
        started_at = job.attempts[-1].started_at
        assert started_at is not None
        totals.append(started_at - killed_at)
    machine.ask("cancel", job_id)
    machine.finished(job_id)
    return totals, starts


def _plain(values: list[float]) -> str:
    ordered = sorted(values)
    return f"median {ordered[len(ordered) // 2]:.3f} s, worst {ordered[-1]:.3f} s (n={len(ordered)})"
