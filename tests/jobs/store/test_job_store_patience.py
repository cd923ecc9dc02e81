"""A process that is stopped with a history's lock in hand must not stop all others."""

from __future__ import annotations

import fcntl
import os
import shutil

import pytest

from singlepoint.jobs.errors import HistoryBusy, NotFound
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept


def test_the_lock_of_a_history_is_waited_for_and_then_given_up_with_the_remedy(store: JobStore) -> None:
    job = accept(store)
    hurried = JobStore(store.home, patience_s=0.01)
    lock = os.open(store.home.job(job.id) / "history.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(HistoryBusy) as refused:
        hurried.note(job.id, Note.HOLD, job.submitted_at)
    assert job.id in refused.value.message and "kill -CONT" in (refused.value.hint or "")
    os.close(lock)
    assert hurried.note(job.id, Note.HOLD, job.submitted_at).held


def test_a_job_removed_while_somebody_waited_for_its_history_is_not_there(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = accept(store)
    monkeypatch.setattr(store, "_wait_for", lambda _lock, job_id: shutil.rmtree(store.home.job(job_id)))
    with pytest.raises(NotFound, match=job.id):
        store.note(job.id, Note.HOLD, job.submitted_at)
