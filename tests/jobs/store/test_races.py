"""Removing a job and sending it round again, against each other, wherever one stands still: one of them wins."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from singlepoint.jobs import failpoints
from singlepoint.jobs.client.control import _check_final
from singlepoint.jobs.errors import HistoryBusy, NotFound, NotNow
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept

Act = Callable[[JobStore, str], object]

remove: Act = lambda store, job_id: store.remove(job_id, _check_final)  # noqa: E731
retry: Act = lambda store, job_id: store.move(job_id, Event.RETRY, 3.0)  # noqa: E731


def ended(store: JobStore) -> str:
    job = accept(store)
    store.move(job.id, Event.CANCEL, 2.0, end="cancelled", reason="r")
    return job.id


def standing_still(act: Act, store: JobStore, job_id: str, failpoint: str) -> int:
    """A process that acts and stops itself there; its pid."""
    pid = os.fork()
    if not pid:
        failpoints._SETTING = f"{failpoint}:stop"
        status = 1
        try:
            act(store, job_id)
            status = 0
        finally:
            os._exit(status)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]), "it went through without standing still"
    return pid


def goes_on(pid: int) -> int:
    os.kill(pid, signal.SIGCONT)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_retry_waits_for_a_removal_and_then_finds_nothing(home: Home) -> None:
    store = JobStore(home, patience_s=0.1)
    job_id = ended(store)
    remover = standing_still(remove, JobStore(home), job_id, "remove")
    with pytest.raises(HistoryBusy):
        retry(store, job_id)
    assert goes_on(remover) == 0
    with pytest.raises(NotFound):
        retry(store, job_id)


def test_a_removal_waits_for_a_retry_and_then_refuses(home: Home) -> None:
    store = JobStore(home, patience_s=0.1)
    job_id = ended(store)
    retrier = standing_still(retry, JobStore(home), job_id, "history.retry")
    with pytest.raises(HistoryBusy):
        remove(store, job_id)
    assert goes_on(retrier) == 0
    with pytest.raises(NotNow, match="is pending, so it cannot be removed"):
        remove(store, job_id)
    assert store.load(job_id).state is State.PENDING


@pytest.mark.parametrize("failpoint", ["remove", "history.retry"])
def test_whoever_dies_in_the_middle_leaves_the_job_as_it_was(home: Home, failpoint: str) -> None:
    store = JobStore(home, patience_s=0.1)
    job_id = ended(store)
    pid = standing_still(remove if failpoint == "remove" else retry, JobStore(home), job_id, failpoint)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert store.load(job_id).state is State.CANCELLED
    retry(store, job_id)
    assert store.load(job_id).state is State.PENDING


def test_two_who_ask_whether_a_job_is_worked_on_do_not_take_each_other_for_work(home: Home) -> None:
    import fcntl

    store = JobStore(home)
    job_id = ended(store)
    descriptor = os.open(store.lock_path(job_id), os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # as somebody who asks
    assert not store.is_being_worked_on(job_id)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as somebody who works
    assert store.is_being_worked_on(job_id)
    with pytest.raises(NotNow, match="still ending"):
        store.remove(job_id)
    os.close(descriptor)
