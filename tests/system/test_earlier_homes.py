"""A home that an earlier release left, killed in the middle of its work, is opened by this version and goes on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from singlepoint.jobs.errors import NotPermitted
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.store.home import open_home
from tests.homes.unpack import EarlierHome, releases, unpack

from .machine import Machine

pytestmark = pytest.mark.system


@pytest.fixture(params=releases())
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> EarlierHome:
    return unpack(request.param, tmp_path)


@pytest.fixture
def machine(earlier: EarlierHome) -> Iterator[Machine]:
    machine = Machine(earlier.path.parent)
    try:
        yield machine
    finally:
        machine.stop()


def test_the_interrupted_training_goes_on_from_its_checkpoint_and_ends_as_the_undisturbed_one(
    earlier: EarlierHome, machine: Machine
) -> None:
    machine.start()
    job = machine.finished(earlier.jobs["running"])
    undisturbed = machine.job(earlier.jobs["undisturbed"])

    assert job.state is State.SUCCEEDED, job.reason
    assert job.attempts[-1].first_step > 0, "it began anew: the checkpoint was not taken"
    assert job.result is not None and undisturbed.result is not None
    if job.bit_identical:  # only a machine that computes as the one did where the home was made can promise that
        assert job.result["sha256"] == undisturbed.result["sha256"]
    else:
        assert job.reason is not None and job.reason.startswith("bits may differ: ")


def test_every_job_is_what_it_was_and_those_that_waited_run(earlier: EarlierHome, machine: Machine) -> None:
    before = {what: machine.job(job_id) for what, job_id in earlier.jobs.items()}
    assert {what: job.state.value for what, job in before.items()} == {
        "undisturbed": "succeeded",
        "scored": "succeeded",
        "failed": "failed",
        "running": "running",
        "queued": "queued",
        "after": "pending",
        "held": "pending",
        "cancelled": "cancelled",
    }

    machine.start()
    for what in ("queued", "after"):
        assert machine.finished(earlier.jobs[what]).state is State.SUCCEEDED
    for what in ("undisturbed", "scored", "failed", "cancelled"):
        assert machine.job(earlier.jobs[what]) == before[what]
    assert machine.job(earlier.jobs["held"]).held
    machine.run("resume", earlier.jobs["held"])
    assert machine.finished(earlier.jobs["held"]).state is State.SUCCEEDED


def test_its_model_gives_the_answers_it_gave(earlier: EarlierHome, machine: Machine) -> None:
    machine.start()
    words = ("--model", "undisturbed", "--input", "wdbc.csv", "--output", "again.csv")
    machine.run("submit", "predict", *words, "--wait")
    again = list(csv.reader((machine.directory / "again.csv").read_text().splitlines()))
    then = list(csv.reader(earlier.answers.decode().splitlines()))

    def probabilities(rows: list[list[str]]) -> list[list[float]]:
        """Under whatever names: those of the answers changed after 0.1.0."""
        wanted = [number for number, name in enumerate(rows[0]) if name.startswith("p_")]
        return [[float(row[number]) for number in wanted] for row in rows[1:]]

    assert probabilities(again) == [pytest.approx(row, abs=1e-6) for row in probabilities(then)]


def test_a_home_of_a_later_version_is_refused_and_left_alone(earlier: EarlierHome) -> None:
    record = earlier.path / "home.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "format": 99}))

    with pytest.raises(NotPermitted, match="has format 99"):
        open_home(earlier.path)
