"""`explain` and `report`, from the disk alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from singlepoint import main, scheduler
from singlepoint.jobs.host.capacity import Capacity, publish_capacity
from singlepoint.jobs.host.processes import this_process
from singlepoint.jobs.lifecycle.reasons import NOTHING_RUNS
from singlepoint.jobs.lifecycle.records import Resources, Terms, Usage
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept

AT = 1_900_000_000.0


@pytest.fixture
def lived(store: JobStore) -> str:
    """A job that was killed after 100 s and succeeded after 200 s more."""
    job = accept(store, at=AT)
    terms = Terms(Resources(1000, 2**20), (0,)).to_json()
    usage = Usage(wall_s=200, cpu_s=190, peak_memory_bytes=2**19, saves=10, save_s=0.02, overhead_s=0.2)
    store.move(job.id, Event.DISPATCH, AT, attempt=1, terms=terms)
    store.move(job.id, Event.CLAIM, AT, attempt=1)
    store.move(job.id, Event.LOSE, AT + 100, attempt=1, end="killed", cause="SIGKILL", steps=50, lost_s=6.0)
    store.move(job.id, Event.DISPATCH, AT + 100, attempt=2, terms=terms)
    store.move(job.id, Event.CLAIM, AT + 100, attempt=2)
    store.move(job.id, Event.SUCCEED, AT + 300, attempt=2, end="succeeded", steps=90, usage=usage.to_json())
    return job.id


def run(capsys: pytest.CaptureFixture[str], home: Home, *words: str) -> str:
    capsys.readouterr()
    assert main(["--home", str(home.path), *words]) == 0
    return capsys.readouterr().out


def test_report_of_all_counts_deaths_exposure_and_waste(
    home: Home, lived: str, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(run(capsys, home, "report", "--json"))
    assert document["schema"] == 1
    assert document["exposure_s"] == 300
    assert document["causes"]["crash"]["deaths"] == 1
    assert document["ends"] == {"killed": 1, "succeeded": 1}
    assert document["save_s"] == pytest.approx(0.02)
    assert document["waste"]["actual"] == pytest.approx(6.2 / (300 - 6.2))
    assert 0 < document["waste"]["predicted"] < 0.01
    assert document["failures_per_hour"]["low"] < document["failures_per_hour"]["mean"]
    survival = document["survival_1h"]
    assert survival["low"] < survival["exponential"] < survival["predictive"] < survival["high"]


def test_report_of_one_job_for_people(home: Home, lived: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = run(capsys, home, "report", "last")
    assert "R(1 h)" in page
    assert "killed 1, succeeded 1" in page
    assert "a save costs      20.0 ms" in page


def test_report_before_anything_ran_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    page = run(capsys, home, "report")
    assert "not measured yet" in page
    assert "none yet" in page


def test_explain_needs_no_redis(home: Home, store: JobStore, lived: str, capsys: pytest.CaptureFixture[str]) -> None:
    waits = accept(store, at=AT, after=[lived])
    blocked = accept(store, at=AT + 1, after=[waits.id])
    assert run(capsys, home, "explain", lived) == "succeeded\n"
    assert run(capsys, home, "explain", waits.id) == f"{NOTHING_RUNS}\n"
    document = json.loads(run(capsys, home, "explain", blocked.id, "--json"))
    assert document == {
        "schema": 1,
        "id": blocked.id,
        "state": "pending",
        "reason": NOTHING_RUNS,
        "stands": "pending",
        **dict.fromkeys(("eta", "deadline_at", "deadline_probability")),
    }


@pytest.mark.parametrize("command", ["explain", "report"])
def test_an_unknown_job_is_66(home: Home, command: str) -> None:
    assert main(["--home", str(home.path), command, "nosuchjob"]) == 66


def test_a_senseless_budget_is_64_before_anything_starts(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(home.path), "scheduler", "--budget", "cpus=1"]) == 64
    assert "did you mean cpu?" in capsys.readouterr().err
    assert not home.capacity_record.exists()


def test_a_budget_that_was_chosen_is_in_force_once_the_scheduler_goes_by_these_words(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else it publishes meanwhile: its own reserve, say."""
    published = Capacity(Resources(1000, 2**30), Resources(), (0,), this_process(), 2 * AT, chosen="memory=1GiB")
    publish_capacity(home, published)
    run(capsys, home, "budget", "memory=1GiB")

    monkeypatch.setattr(scheduler.commands, "TAKEN_UP_WITHIN_S", 0.0)
    assert main(["--home", str(home.path), "budget", "--reset"]) == 0
    assert "not taken this up yet" in capsys.readouterr().err

    publish_capacity(home, replace(published, chosen=""))
    assert main(["--home", str(home.path), "budget", "--reset"]) == 0
    assert capsys.readouterr().err == ""
