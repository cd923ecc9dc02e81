"""What a job asks of memory when its owner names none: by what like jobs used, else reckoned, else by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from singlepoint.jobs.client.session import Session
from singlepoint.jobs.client.submit import submit
from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.ledger.learned import LEAST_BYTES, learned_memory_bytes
from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.records import Job, Usage
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.spec.file import parse_document

MIB = 2**20


def entry(peak_mib: int, state: State = State.SUCCEEDED, end: str = "succeeded") -> Entry:
    account = Account(ends={end: 1}, peak_memory_bytes=peak_mib * MIB)
    return Entry("a", 1, state, "a", "run", 1.0, 2.0, account=account)


@pytest.mark.parametrize(
    ("like", "mib"),
    [
        ([], None),
        ([entry(400)], 512),
        ([entry(10)], LEAST_BYTES // MIB),
        ([entry(400), entry(800)], 1008),  # the most of the newest few, in whole steps of 16 MiB
        ([entry(100)] * 5 + [entry(4000)], 128),
        ([entry(1000, State.FAILED, "out_of_memory")], 1504),  # the next one starts where it would have gone on
        ([entry(1000, State.CANCELLED, "cancelled"), entry(1000, State.FAILED, "failed")], None),
    ],
)
def test_what_like_jobs_teach(like: list[Entry], mib: int | None) -> None:
    assert learned_memory_bytes(like) == (None if mib is None else mib * MIB)


def asked(session: Session, *command: str, **resources: Any) -> Job:
    document = {"kind": "run", "name": "c", "command": list(command), "resources": resources}
    return submit(session, parse_document(document, Path("/"), "c"), 1_900_000_000.0).job


def ran(session: Session, job: Job, peak_mib: int) -> None:
    store, at = session.store, 1_900_000_001.0
    store.move(job.id, Event.DISPATCH, at, attempt=1, terms={"resources": job.requests.to_json(), **TERMS})
    store.move(job.id, Event.CLAIM, at, attempt=1)
    usage = Usage(wall_s=10.0, peak_memory_bytes=peak_mib * MIB).to_json()
    store.move(job.id, Event.SUCCEED, at, attempt=1, end="succeeded", usage=usage)


TERMS = {"checkpoint_interval_s": 10.0, "failure_rate_per_s": 0.0, "revision": 0, "cores": [0]}


def test_the_next_like_job_asks_for_what_the_last_one_used_and_says_so(session: Session) -> None:
    first = asked(session, "train", "--lr", "1")
    assert (first.requests.memory_bytes, first.memory_from) == (512 * MIB, "default")
    ran(session, first, peak_mib=1200)

    like, other = asked(session, "train", "--lr", "1"), asked(session, "train", "--lr", "2")

    assert (like.requests.memory_bytes, like.memory_from) == (1504 * MIB, "learned")
    assert (other.requests.memory_bytes, other.memory_from) == (512 * MIB, "default")
    assert like.fingerprint == first.fingerprint, "it is the same wish"


def test_what_the_owner_names_stands(session: Session) -> None:
    ran(session, asked(session, "train"), peak_mib=1200)
    job = asked(session, "train", memory="100MiB")
    assert (job.requests.memory_bytes, job.memory_from) == (100 * MIB, "spec")
