"""A ledger is kept short, and says the same; whatever dies meanwhile, and whoever writes to it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from singlepoint.jobs.errors import NotNow
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.ledger import run
from tests.conftest import accept
from tests.jobs.store.test_ledger import listed, run_once


def a_past(store: JobStore) -> list[Job]:
    """Jobs that ended: some were removed since, one went round again and ended again, one goes on."""
    jobs = [accept(store, at=float(number)) for number in range(8)]
    for number, job in enumerate(jobs):
        run_once(store, job, Event.SUCCEED if number % 2 else Event.FAIL, at=100.0 + number, end="succeeded")
    for job in jobs[:4]:
        store.remove(job.id)
    for job in (jobs[4], jobs[6]):
        store.move(job.id, Event.RETRY, 300.0)
    store.move(jobs[4].id, Event.CANCEL, 301.0, end="cancelled", reason="r")
    return jobs


@pytest.mark.parametrize("keep", [0, 3, 100])
def test_a_ledger_made_shorter_lists_and_counts_the_same(store: JobStore, keep: int) -> None:
    a_past(store)
    for _ in range(2):  # again, with what came since and the account of the first time
        told, account, lines = listed(store), store.ledger.account(), store.ledger.path.read_bytes().splitlines()
        run(store.ledger.compact(keep))
        assert (listed(store), store.unlisted_ids()) == (told, JobStore(store.home).unlisted_ids())
        assert store.ledger.account() == account
        short = store.ledger.path.read_bytes().splitlines()
        assert len(short) <= len(told) + keep + 1 and set(short[:-1]) <= set(lines)
        store.move(accept(store).id, Event.CANCEL, 400.0, end="cancelled", reason="r")


def test_the_ends_of_removed_jobs_that_are_dropped_first_are_the_oldest(store: JobStore) -> None:
    jobs = a_past(store)
    run(store.ledger.compact(keep=5))
    assert store.fate(jobs[0].id) is None and store.fate(jobs[7].id) is State.SUCCEEDED
    assert store.fate(jobs[6].id) is State.PENDING


def test_what_is_written_while_a_ledger_is_made_shorter_is_in_the_shorter_one(store: JobStore) -> None:
    a_past(store)
    slices = store.ledger.compact()
    next(slices)
    late = accept(store)
    store.move(late.id, Event.CANCEL, 500.0, end="cancelled", reason="r")
    run(slices)
    assert listed(store)[0] == late.id


def test_a_ledger_somebody_writes_to_stays_as_it_is_until_the_next_time(store: JobStore) -> None:
    a_past(store)
    before = store.ledger.path.read_bytes()
    with open(store.ledger.path, "rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_SH)
        with pytest.raises(NotNow):
            run(store.ledger.compact())
    assert store.ledger.path.read_bytes() == before and [*store.home.path.glob(".*.tmp")] == []


_COMPACT = """
import sys
from singlepoint.jobs.store.home import open_home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.ledger import run
run(JobStore(open_home(sys.argv[1])).ledger.compact())
"""


def test_killed_while_it_is_made_shorter_a_ledger_is_the_old_one(store: JobStore) -> None:
    a_past(store)
    told, before = listed(store), store.ledger.path.read_bytes()
    environment = {**os.environ, "SINGLEPOINT_FAILPOINT": "ledger.compact.rename:kill"}
    words = [sys.executable, "-c", _COMPACT, str(store.home.path)]
    ended = subprocess.run(words, env=environment, cwd=Path(__file__).parents[3], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert store.ledger.path.read_bytes() == before and listed(store) == told
    run(store.ledger.compact(keep=0))
    assert listed(store) == told
