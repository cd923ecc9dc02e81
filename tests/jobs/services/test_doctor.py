"""What `doctor` finds, and what its exit code says."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from singlepoint.jobs.host.capacity import Capacity, publish_capacity
from singlepoint.jobs.host.neighbours import neighbours
from singlepoint.jobs.host.processes import this_process
from singlepoint.jobs.host.singleton import acquire
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.services import doctor
from singlepoint.jobs.services.doctor import Finding, Grade, Patient, examine, exit_code
from singlepoint.jobs.services.live import Services
from singlepoint.jobs.store.home import open_home


def graded(*grades: Grade) -> list[Finding]:
    return [Finding("x", grade, "") for grade in grades]


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patient:
    monkeypatch.delenv("SINGLEPOINT_REDIS_URL", raising=False)
    return Patient(tmp_path / "home", None)


def test_the_exit_code_tells_broken_from_not_running_from_well() -> None:
    assert exit_code(graded(Grade.OK, Grade.LIMITED)) == 0
    assert exit_code(graded(Grade.OK, Grade.AWAY)) == 69
    assert exit_code(graded(Grade.AWAY, Grade.BROKEN)) == 1


def test_nothing_running_is_away_and_says_how_to_start_it(patient: Patient) -> None:
    findings = examine(patient, (doctor.broker, doctor.scheduler, doctor.workers))

    assert [finding.grade for finding in findings] == [Grade.AWAY] * 3
    assert all("singlepoint up --detach" in finding.remedy for finding in findings)


def test_a_home_that_cannot_be_one_is_a_finding_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = examine(Patient(tmp_path / "file", None), doctor.QUESTIONS)

    by_name = {finding.name: finding for finding in findings}
    assert by_name["home"].grade is Grade.BROKEN
    assert "--home" in by_name["home"].remedy
    assert by_name["python"].grade is Grade.OK


def test_little_space_is_told_and_none_is_broken(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, grade in ((2**40, Grade.OK), (2**28, Grade.LIMITED), (2**12, Grade.BROKEN)):
        monkeypatch.setattr("singlepoint.jobs.services.doctor.free_bytes", lambda _path, free=free: free)
        assert doctor.disk(patient).grade is grade


def test_other_homes_at_work_on_the_machine_are_named_with_what_all_may_grant(
    tmp_path: Path, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_home(tmp_path / "other")
    with contextlib.ExitStack() as held:
        for home in (patient.home, other):
            held.callback(os.close, acquire(home.lock("scheduler")))
            capacity = Capacity(Resources(2000, 4 * 2**30), Resources(), (0, 1), this_process(), 0.0)
            publish_capacity(home, capacity)
        found = neighbours(patient.home)
    assert found[other.path] == capacity and patient.home.path not in found
    assert other.path not in neighbours(patient.home), "its scheduler has ended"

    monkeypatch.setattr(doctor, "all_neighbours", lambda _home: {other.path: capacity})
    told = doctor.neighbours(patient)
    assert told.grade is Grade.LIMITED and f"{other.path} (2 cores and 4 GiB)" in told.found
    assert "together 4 cores and 8 GiB" in told.found and "singlepoint budget" in told.remedy


def test_a_redis_url_needs_no_server_here(tmp_path: Path) -> None:
    finding = doctor.server(Patient(tmp_path / "home", "redis://:secret@elsewhere/0"))

    assert finding.grade is Grade.OK
    assert "secret" not in finding.found


def test_what_is_missing_is_named_in_the_order_of_need() -> None:
    assert next(Services().missing(1)) == "Redis does not answer"
    assert next(Services(None, True).missing(1)) == "the scheduler has not published its budget"
    assert next(Services(None, True, this_process(), ("a",)).missing(2)) == "1 of 2 workers have registered"
    assert list(Services(None, True, this_process(), ("a", "b")).missing(2)) == []
