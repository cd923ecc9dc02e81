"""A process that was stopped is told of by whoever needs it, with the remedy; a real one, really stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

import singlepoint
from singlepoint.jobs.broker.address import locate
from singlepoint.jobs.broker.connection import connect
from singlepoint.jobs.client.query import from_disk
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.errors import EXIT_BROKER_AWAY, EXIT_NOT_NOW, BrokerAway, NotNow
from singlepoint.jobs.host.capacity import Capacity, publish_capacity
from singlepoint.jobs.host.processes import identify, is_stopped
from singlepoint.jobs.host.standstill import all_halted, scheduler_complaint
from singlepoint.jobs.lifecycle.reasons import Surroundings, Told, with_reason
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.services import doctor
from singlepoint.jobs.services.doctor import Grade, Patient, exit_code
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.worker.supervision import starting
from tests.conftest import accept


@pytest.fixture
def stopped() -> Iterator[int]:
    """The pid of a process that stands still."""
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    yield process.pid
    process.kill()
    process.wait()


def sign(home: Home, name: str, pid: int) -> None:
    process = identify(pid)
    assert process is not None
    home.lock(name).write_text(json.dumps(process.to_json()))


def publish(home: Home, pid: int) -> Resources:
    process, budget = identify(pid), Resources(2000, 2**32)
    assert process is not None
    publish_capacity(home, Capacity(budget, Resources(), (0, 1), process, 0.0))
    return budget


def test_a_stopped_process_lives_and_stands_still(stopped: int) -> None:
    assert identify(stopped) is not None
    assert is_stopped(stopped)
    assert not is_stopped(os.getpid())
    assert not is_stopped(2**22 + 1), "there is no such process"


@pytest.mark.parametrize("name", ["supervisor", "broker", "scheduler"])
def test_doctor_names_what_stands_still_and_calls_it_broken(home: Home, stopped: int, name: str) -> None:
    sign(home, name, stopped)

    finding = doctor.standstill(Patient(home.path, None))

    assert (finding.grade, finding.remedy) == (Grade.BROKEN, f"kill -CONT {stopped}")
    assert f"process {stopped} ({name}) stands still" in finding.found
    assert exit_code([finding]) == 1


def test_what_stands_still_below_the_supervisor_is_found_though_it_signed_nothing(home: Home, stopped: int) -> None:
    sign(home, "supervisor", os.getpid())

    assert ("worker", stopped) in list(all_halted(home))


def test_where_nothing_runs_nothing_stands_still(home: Home) -> None:
    assert doctor.standstill(Patient(home.path, None)).grade is Grade.OK


def test_jobs_wait_for_a_scheduler_that_stands_still_and_say_so(home: Home, store: JobStore, stopped: int) -> None:
    budget, job = publish(home, stopped), accept(store)

    complaint = scheduler_complaint(home)
    [row] = from_disk(Session(home, store))
    row = with_reason(row, Surroundings(0.0, {}, budget, Told(), complaint=complaint))

    assert (row["id"], row["reason"]) == (job.id, f"the scheduler stands still: `kill -CONT {stopped}` wakes it")
    os.kill(stopped, signal.SIGCONT)
    os.waitid(os.P_PID, stopped, os.WCONTINUED)
    assert scheduler_complaint(home) == ""


def test_a_redis_that_stands_still_is_told_at_once_and_not_after_a_timeout(
    home: Home, stopped: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(home, "broker", stopped)
    sign(home, "supervisor", os.getpid())  # which would start it again, had it died

    with pytest.raises(BrokerAway, match=f"process {stopped} stands still"):
        connect(locate(home))
    assert singlepoint.main(["--home", str(home.path), "ps"]) == EXIT_BROKER_AWAY
    assert f"kill -CONT {stopped}" in capsys.readouterr().err


def test_a_supervisor_that_stands_still_is_neither_up_nor_waited_for(
    home: Home, stopped: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(home, "supervisor", stopped)

    with pytest.raises(NotNow, match="stands still") as caught:
        starting.up_detached(home, None, lambda: pytest.fail("never started"), workers=1)
    assert f"kill -CONT {stopped}" in str(caught.value.hint)
    assert singlepoint.main(["--home", str(home.path), "down"]) == EXIT_NOT_NOW
    assert "singlepoint down --now" in capsys.readouterr().err
