"""Commands under real services: they go on after whatever dies, and nothing of a dead attempt lives beside the next."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from tests.worker.making import ends

from .machine import Machine, wait_until

SCRIPT = """
n=$(cat $SINGLEPOINT_CHECKPOINT_DIR/n 2>/dev/null || echo 0)
echo $n >> began
setsid sleep 600 </dev/null >/dev/null 2>&1 &
echo $! >> detached
while [ $n -lt 3 ]; do
    n=$((n + 1))
    echo $n > $SINGLEPOINT_CHECKPOINT_DIR/.n && mv $SINGLEPOINT_CHECKPOINT_DIR/.n $SINGLEPOINT_CHECKPOINT_DIR/n
    echo "{\\"step\\": $n, \\"total\\": 3}" >> $SINGLEPOINT_PROGRESS_FILE
    [ $n -ne 2 ] || while [ ! -e go ]; do sleep 0.02; done
done
echo $n > $SINGLEPOINT_OUTPUT_DIR/n
"""


def the_attempt(machine: Machine, job_id: str) -> None:
    os.kill(machine.child_pid(job_id), signal.SIGKILL)


def the_worker(machine: Machine, job_id: str) -> None:
    os.kill(machine.worker_pid(job_id), signal.SIGKILL)


def all_workers(machine: Machine, _job_id: str) -> None:
    for pid in machine.pids("worker"):
        with suppress(ProcessLookupError):  # it went with its pool
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kill", [the_attempt, the_worker, all_workers])
def test_a_command_goes_on_where_it_was_and_alone_whatever_was_killed(
    machine: Machine, kill: Callable[[Machine, str], None]
) -> None:
    machine.start()
    job_id = machine.submit("run", "--name", "c", "--", "sh", "-c", SCRIPT)
    first = machine.wait(job_id, lambda job: job.state is State.RUNNING)
    saved = machine.directory / "home" / "jobs" / job_id / "checkpoints" / "n"
    wait_until(lambda: saved.exists() and saved.read_text() == "2\n", lambda: first)
    kill(machine, job_id)
    began = machine.directory / "began"
    wait_until(lambda: began.read_text() == "0\n2\n", began.read_text)
    detached = (machine.directory / "detached").read_text().split()
    assert ends(int(detached[0]))
    (machine.directory / "go").touch()

    job: Job = machine.finished(job_id)

    assert [attempt.end for attempt in job.attempts] == ["killed", "succeeded"]
    assert job.result is not None and job.result["files"] == 1
    assert all(ends(int(pid)) for pid in (machine.directory / "detached").read_text().split())


def test_a_command_that_runs_while_redis_loses_everything_is_not_run_again(machine: Machine) -> None:
    machine.start()
    job_id = machine.submit("run", "--", "sh", "-c", "echo . >> runs; while [ ! -e go ]; do sleep 0.02; done")
    wait_until((machine.directory / "runs").exists, lambda: machine.job(job_id))
    os.kill(machine.server_pid(), signal.SIGKILL)
    (machine.directory / "go").touch()

    assert [attempt.end for attempt in machine.finished(job_id).attempts] == ["succeeded"]
    assert (machine.directory / "runs").read_text() == ".\n"


BURN = """
import os, pathlib, time
if os.environ["SINGLEPOINT_RESTARTS"] == "0":
    while time.process_time() < 0.6: pass
    pathlib.Path("burnt").touch()
    time.sleep(600)
"""


@pytest.mark.parametrize("kill", [the_attempt, the_worker])
def test_what_a_killed_command_used_of_the_processor_is_in_the_account(
    machine: Machine, kill: Callable[[Machine, str], None]
) -> None:
    machine.start()
    job_id = machine.submit("run", "--", sys.executable, "-c", BURN)
    wait_until((machine.directory / "burnt").exists, lambda: machine.job(job_id))
    told = machine.home.job_files(job_id).progress
    wait_until(lambda: json.loads(told.read_text())["sample"]["cpu_s"] >= 0.6, told.read_text)
    kill(machine, job_id)

    usage = machine.finished(job_id).attempts[0].usage

    assert usage is not None and usage.cpu_s >= 0.6
