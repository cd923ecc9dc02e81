"""A key that one living job bears: a second submission is answered with it, also against each other and after kills."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from singlepoint.jobs import failpoints
from singlepoint.jobs.client import control
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.client.submit import Submitted, submit
from singlepoint.jobs.errors import NotNow
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.store import unique
from singlepoint.jobs.store.job_store import JobStore

PLACES = ("submit.mkdir", "submit.spec", "submit.environment", "submit.history", "submit.accept", "index.tell")


def ask(session: Session, **fields: object) -> Submitted:
    document = {"kind": "run", "command": ["true"], "unique": "nightly", **fields}
    return submit(session, parse_document(document, Path("/"), "job"), 1000.0)


def living(store: JobStore) -> list[Job]:
    return [job for job_id in store.ids() if not (job := store.load(job_id)).is_final]


def test_while_one_lives_a_second_is_answered_with_it_and_nothing_is_kept(session: Session, store: JobStore) -> None:
    first, second = ask(session), ask(session, command=["false"])
    assert (first.is_new, second.is_new, second.job.id) == (True, False, first.job.id)
    assert len(store.ids()) == 1
    assert ask(session, unique="weekly").is_new and ask(session, unique=False).is_new


def test_once_it_has_ended_another_is_accepted_and_then_the_first_cannot_come_back(session: Session) -> None:
    first = ask(session).job
    control.cancel(session, first.id, 1001.0)
    second = ask(session).job
    assert second.id != first.id
    with pytest.raises(NotNow, match=f"{second.id}, with the same key"):
        control.retry(session, first.id, 1002.0)
    control.cancel(session, second.id, 1003.0)
    control.retry(session, first.id, 1004.0)
    assert ask(session).job.id == first.id


def test_without_a_key_the_same_wish_is_the_same_and_another_is_not(session: Session) -> None:
    assert ask(session, unique=True, begin="+2h", env={"SEED": "1"}).is_new
    assert not ask(session, unique=True, begin="+3h", env={"SEED": "1"}).is_new, "only its time is another"
    assert ask(session, unique=True, begin="+2h", env={"SEED": "2"}).is_new, "a masked value counts as well"


@pytest.mark.parametrize("place", PLACES)
def test_killed_before_any_write_one_job_of_a_key_lives_in_the_end(
    session: Session, store: JobStore, place: str
) -> None:
    pid = in_a_process_of_its_own(session, f"{place}:kill")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    answered = ask(session)
    assert answered.is_new is (place != "index.tell"), "whoever was killed after the rename had its job accepted"
    assert [job.id for job in living(store)] == [answered.job.id]


@pytest.mark.parametrize("place", PLACES[:-1])
def test_of_two_at_once_the_second_waits_wherever_the_first_stands_and_is_answered_with_its_job(
    session: Session, store: JobStore, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = in_a_process_of_its_own(session, f"{place}:stop")
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    with monkeypatch.context() as hasty:
        hasty.setattr(unique, "PATIENCE_S", 0.05)
        with pytest.raises(NotNow, match=r"unique\.lock"):
            ask(session)
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    [job] = living(store)
    assert ask(session).job.id == job.id


def in_a_process_of_its_own(session: Session, failpoint: str) -> int:
    pid = os.fork()
    if not pid:
        status = 1
        try:
            failpoints._SETTING = failpoint
            ask(session)
            status = 0
        finally:
            os._exit(status)
    return pid


def test_a_job_that_was_submitted_without_a_key_is_nobodys_second(session: Session, store: JobStore) -> None:
    plain = ask(session, unique=False)
    store.move(plain.job.id, Event.CANCEL, 1001.0)
    assert ask(session).is_new
