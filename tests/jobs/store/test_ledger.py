"""The ledger knows which jobs have ended, and keeps what they taught when they are gone, whatever dies in between."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from singlepoint.jobs.errors import NotFound
from singlepoint.jobs.ledger.catalogue import by_end, id_of
from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.records import Job, Resources, Terms, Usage
from singlepoint.jobs.lifecycle.spent import account
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.store import ledger as ledger_file
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept

TERMS = Terms(Resources(2000, 2**20), (0, 1)).to_json()
USAGE = Usage(wall_s=8.0, cpu_s=6.0, peak_memory_bytes=1000, saves=2, save_s=0.75, overhead_s=1.5).to_json()


def run_once(store: JobStore, job: Job, event: Event, at: float = 100.0, **facts: object) -> Job:
    """An attempt from its grant to its end: granted at `at`, begun two seconds later, ended after ten."""
    number = job.attempt + 1
    store.move(job.id, Event.DISPATCH, at, attempt=number, terms=TERMS)
    store.move(job.id, Event.CLAIM, at + 2, attempt=number)
    return store.move(job.id, event, at + 10, attempt=number, steps=50, usage=USAGE, **facts)


def listed(store: JobStore) -> list[str]:
    return [id_of(line) for line in by_end(store.catalogue.lines())]


def test_a_job_that_ends_is_in_the_ledger_with_what_its_attempts_came_to(store: JobStore) -> None:
    job = accept(store, like="like-it", at=1.0)
    assert listed(store) == []
    run_once(store, job, Event.LOSE, end="killed", lost_s=3.0)
    ended = run_once(store, store.load(job.id), Event.SUCCEED, at=200.0, end="succeeded")
    entry = Entry.from_line(store.ledger.path.read_bytes())
    assert entry is not None
    assert (entry.id, entry.state, entry.like, entry.attempt, entry.cores) == (
        job.id,
        State.SUCCEEDED,
        "like-it",
        2,
        2,
    )
    assert (entry.submitted_at, entry.ended_at, entry.size) == (1.0, 210.0, ended.size)
    came_to = entry.account
    assert came_to.ends == {"killed": 1, "succeeded": 1} and came_to.own_ends == {}
    assert (came_to.wall_s, came_to.cpu_s, came_to.steps, came_to.saves, came_to.lost_s) == (16.0, 12.0, 100, 4, 3.0)
    assert (came_to.granted_core_s, came_to.granted_byte_s) == (40.0, 20.0 * 2**20)
    assert (came_to.used_byte_s, came_to.began_at) == (20000.0, 100.0)
    assert came_to.useful_core_s == pytest.approx((6 - 1.5) * (1 - 3 / 8) + (6 - 1.5), abs=0.001)
    assert Entry.from_line(entry.line()) == entry


def test_accounts_add_up_to_that_of_all_attempts(store: JobStore) -> None:
    job = accept(store)
    run_once(store, job, Event.LOSE, end="out_of_memory")
    job = run_once(store, store.load(job.id), Event.FAIL, at=300.0, end="failed", reason="it raised")
    parts = [account([attempt]) for attempt in job.attempts]
    assert sum(parts, Account()) == account(job.attempts)
    assert parts[1].useful_core_s == 0.0 and parts[1].own_ends == {"failed": 1}


def test_a_retried_job_has_not_ended_and_its_next_end_counts_its_newer_attempts_only(store: JobStore) -> None:
    job = accept(store)
    run_once(store, job, Event.FAIL, end="failed", reason="r")
    store.move(job.id, Event.RETRY, 150.0)
    assert listed(store) == []
    run_once(store, store.load(job.id), Event.SUCCEED, at=200.0, end="succeeded")
    assert listed(store) == [job.id]
    assert store.ledger.account() == account(store.load(job.id).attempts)


def test_what_a_job_taught_outlives_it(store: JobStore) -> None:
    job = accept(store)
    run_once(store, job, Event.SUCCEED, end="succeeded")
    store.ledger.path.unlink()  # as if its line had never been written
    came_to = account(store.load(job.id).attempts)
    store.remove(job.id)
    assert listed(store) == [] and store.ledger.account() == came_to


def test_what_was_summed_up_is_not_read_again_unless_the_ledger_is_another(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_file, "SLICE_BYTES", 1)
    for _ in range(3):
        run_once(store, accept(store), Event.SUCCEED, end="succeeded")
    whole = store.ledger.account()
    assert whole.ends == {"succeeded": 3} and len(list(store.ledger.sum_up())) == 3
    read: list[bytes] = []
    monkeypatch.setattr(ledger_file, "add_lines", lambda sums, lines: read.extend(lines) or sums)
    assert store.ledger.account() == whole and read == [b""]
    monkeypatch.undo()
    run_once(store, accept(store), Event.FAIL, end="failed", reason="r")
    assert store.ledger.account().ends == {"succeeded": 3, "failed": 1}
    store.ledger.path.write_bytes(b"\n".join(store.ledger.path.read_bytes().splitlines()[1:]) + b"\n")
    assert store.ledger.account().ends == {"succeeded": 2, "failed": 1}
    store.ledger.sums_path.write_text('{"upto": "all"}')
    assert store.ledger.account().ends == {"succeeded": 2, "failed": 1}


def test_the_last_to_end_is_listed_first(store: JobStore) -> None:
    first, second, third = (accept(store, at=float(n)) for n in range(3))
    for number, (job, event) in enumerate(
        ((second, Event.CANCEL), (third, Event.FAIL), (first, Event.CANCEL)),
    ):
        store.move(job.id, event, 10.0 + number, end="x", reason="r")
    assert listed(store) == [first.id, third.id, second.id]


def test_a_torn_or_foreign_line_costs_only_itself(store: JobStore) -> None:
    first, second = accept(store), accept(store)
    store.move(first.id, Event.CANCEL, 2.0, end="cancelled", reason="r")
    with open(store.ledger.path, "ab") as file:
        file.write(b'[1]\n{"id":"abcdefgh","size":1,"state":7}\n\xff\n{"id":"torn')
    store.move(second.id, Event.CANCEL, 3.0, end="cancelled", reason="r")
    assert listed(store) == [second.id, first.id]


def test_a_job_ends_though_its_line_cannot_be_written(store: JobStore) -> None:
    job = accept(store)
    store.ledger.path.mkdir()
    assert store.move(job.id, Event.CANCEL, 2.0, end="cancelled", reason="r").is_final


def test_a_writer_that_stands_still_keeps_nobody_waiting(store: JobStore) -> None:
    one, other = accept(store), accept(store)
    store.move(one.id, Event.CANCEL, 2.0, end="cancelled", reason="r")
    descriptor = os.open(store.ledger.path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    store.move(other.id, Event.CANCEL, 3.0, end="cancelled", reason="r")
    assert len(listed(store)) == 2
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # a compaction that was stopped: the end is not told, and nobody waits
    assert not store.ledger.note(store.load(other.id))
    os.close(descriptor)


def test_a_line_is_written_to_the_file_that_has_the_name(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job = accept(store)
    store.move(job.id, Event.CANCEL, 2.0, end="cancelled", reason="r")
    shorter = store.ledger.path.with_name("shorter")

    def put_in_place(descriptor: int, how: int) -> bool:
        if not shorter.exists():
            shorter.write_bytes(store.ledger.path.read_bytes())
            os.replace(shorter, store.ledger.path)
            shorter.touch()
        return locked(descriptor, how)

    locked = ledger_file._locked
    monkeypatch.setattr(ledger_file, "_locked", put_in_place)
    assert store.ledger.note(store.load(job.id))
    assert len(store.ledger.path.read_bytes().splitlines()) == 2


_ACT = """
import sys
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.home import open_home
from singlepoint.jobs.store.job_store import JobStore
store = JobStore(open_home(sys.argv[1]))
if sys.argv[3] == "remove":
    store.remove(sys.argv[2])
else:
    store.move(sys.argv[2], Event(sys.argv[3]), 5.0, end="cancelled", reason="r")
"""


def killed_at(store: JobStore, place: str, job_id: str, act: str) -> None:
    environment = {**os.environ, "SINGLEPOINT_FAILPOINT": f"{place}:kill"}
    words = [sys.executable, "-c", _ACT, str(store.home.path), job_id, act]
    ended = subprocess.run(words, env=environment, cwd=Path(__file__).parents[3], check=False)
    assert ended.returncode == -signal.SIGKILL, f"{place} was never reached"


def test_killed_between_history_and_ledger_a_job_has_ended_and_is_only_not_listed_yet(store: JobStore) -> None:
    job = accept(store)
    killed_at(store, "ledger.note", job.id, "cancel")
    assert store.load(job.id).state is State.CANCELLED and listed(store) == []


def test_killed_while_it_is_retried_a_job_is_listed_as_ended_only_if_it_has(store: JobStore) -> None:
    job = accept(store)
    store.move(job.id, Event.CANCEL, 2.0, end="cancelled", reason="r")
    killed_at(store, "ledger.retried", job.id, "retry")
    assert store.load(job.id).is_final and listed(store) == [job.id]
    killed_at(store, "history.retry", job.id, "retry")
    assert store.load(job.id).is_final and listed(store) == []


@pytest.mark.parametrize("place", ["ledger.removed", "remove"])
def test_killed_while_it_is_removed_a_job_is_there_or_what_it_taught_is(store: JobStore, place: str) -> None:
    job = accept(store)
    run_once(store, job, Event.SUCCEED, end="succeeded")
    killed_at(store, place, job.id, "remove")
    assert store.load(job.id).is_final
    store.remove(job.id)
    with pytest.raises(NotFound):
        store.load(job.id)
    assert store.ledger.account().ends == {"succeeded": 1} and listed(store) == []
