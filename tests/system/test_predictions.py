"""A prediction on two cores: real children of a real attempt, killed for real."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest

from .machine import Machine, write_rows

ARGUMENTS = ("predict", "--model", "scorer", "--input", "rows.csv", "--output")


@pytest.fixture(scope="module")
def scorer(shared_machine: Machine) -> tuple[Machine, bytes]:
    """A model, rows to score, and what comes of them on one core."""
    machine = shared_machine
    machine.finished(machine.train("scorer", epochs=20))
    write_rows(machine.directory / "rows.csv", repeats=100)
    machine.finished(machine.submit(*ARGUMENTS, "one-core.csv"))
    return machine, (machine.directory / "one-core.csv").read_bytes()


def attempt_itself(machine: Machine, job_id: str) -> int:
    return machine.child_pid(job_id)


def one_of_its_children(machine: Machine, job_id: str) -> int:
    children = psutil.Process(machine.child_pid(job_id)).children()
    assert len(children) == 2
    return int(children[-1].pid)


@pytest.mark.parametrize("victim", [attempt_itself, one_of_its_children])
def test_whichever_process_of_a_prediction_is_killed_every_row_is_written_once(
    scorer: tuple[Machine, bytes], victim: Callable[[Machine, str], int]
) -> None:
    machine, expected = scorer
    with machine.held(lambda: machine.submit(*ARGUMENTS, "two-cores.csv", "--cpu", "2"), "shard.write@5") as job_id:
        os.kill(victim(machine, job_id), signal.SIGKILL)
    assert [attempt.end for attempt in machine.finished(job_id).attempts] == ["killed", "succeeded"]
    assert (machine.directory / "two-cores.csv").read_bytes() == expected
