"""Many jobs are accepted at the price of one sync, and each of them whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from singlepoint.jobs.errors import StorageFull
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.store import durable, job_store
from singlepoint.jobs.store.job_store import JobStore, NewJob, new_id

FACTS = {"name": "a", "kind": "train", "requests": Resources(1000, 1).to_json()}


def wanted(count: int) -> list[NewJob]:
    return [NewJob(new_id(), b'{"number": %d}' % number, FACTS, {"KEY": "value"}) for number in range(count)]


@pytest.mark.skipif(not durable.can_sync_filesystem(), reason="this machine has no syncfs")
def test_the_file_system_is_synced_once_before_any_directory_has_its_name(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill cannot prove what a power cut would leave, so the calls are recorded."""
    store.going_on.add([])  # its directory is there
    calls: list[str] = []
    write_new, sync, rename, sync_directory = (
        job_store.write_new,
        job_store.sync_filesystem,
        os.rename,
        job_store.sync_directory,
    )

    def told(name: str, call: object) -> object:
        return lambda *given, **more: (calls.append(name), call(*given, **more))[1]  # type: ignore[operator]

    monkeypatch.setattr(job_store, "write_new", told("write", write_new))
    monkeypatch.setattr(job_store, "sync_filesystem", told("sync file system", sync))
    monkeypatch.setattr(job_store, "sync_directory", told("sync directory", sync_directory))
    monkeypatch.setattr(os, "rename", told("rename", rename))
    monkeypatch.setattr(os, "fsync", told("fsync", os.fsync))
    store.create_all(wanted(3), 1.0)

    named = ["fsync"]  # of the directory that says who goes on
    assert calls == ["write"] * 9 + ["sync file system", *named] + ["rename"] * 3 + ["sync directory", "fsync"]


KILLED = f"""
import sys
from singlepoint.jobs.store.home import open_home
from singlepoint.jobs.store.job_store import JobStore, NewJob, new_id

JobStore(open_home(sys.argv[1])).create_all([NewJob(new_id(), b"{{}}", {FACTS!r}) for _ in range(3)], 1.0)
"""


@pytest.mark.parametrize(
    ("place", "kept"),
    [("submit.history@2", 0), ("submit.sync", 0), ("going_on.add", 0), ("submit.accept", 0), ("submit.accept@3", 2)],
)
def test_whoever_is_killed_amid_a_batch_leaves_whole_jobs_and_what_is_swept(
    store: JobStore, place: str, kept: int
) -> None:
    environment = {**os.environ, "SINGLEPOINT_FAILPOINT": f"{place}:kill"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.home.path)], env=environment, check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    assert len(store.ids()) == kept
    for job_id in store.ids():
        assert store.accepted_spec(store.load(job_id)) == b"{}"
    store.sweep_unaccepted(float("inf"))
    assert sorted(os.listdir(store.home.jobs)) == sorted(store.ids())


def test_nothing_is_left_of_a_batch_that_finds_no_room(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_store, "can_sync_filesystem", lambda: True)
    monkeypatch.setattr(job_store, "sync_filesystem", full)
    with pytest.raises(StorageFull):
        store.create_all(wanted(3), 1.0)
    assert os.listdir(store.home.jobs) == []
