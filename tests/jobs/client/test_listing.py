"""A list shows exactly the jobs that match, newest first, wherever each stands and however it came to its end."""

from __future__ import annotations

from itertools import product

import pytest

from singlepoint.jobs.client.listing import Wanted, ids_of, select
from singlepoint.jobs.client.query import Row
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.lifecycle.states import FINAL, Event
from singlepoint.jobs.lifecycle.summary import summary
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept, fill

NAMES, KINDS, PROJECTS = ("iris", 'tab\tand "quote"', "wdbc-é"), ("train", "predict"), ("default", "risk")


@pytest.fixture
def jobs(session: Session, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Three dozen, three submitted at each time: those that go on, that were cancelled, and that were cancelled and
    retried; the ends of some of them the ledger does not know. All of them, newest first."""
    ids = []
    for count, (name, kind, project, fate) in enumerate(product(NAMES, KINDS, PROJECTS, range(3))):
        job_id = accept(store, at=float(count // 3), name=name, kind=kind, project=project).id
        ids.append(job_id)
        with monkeypatch.context() as crash:
            if count % 4 == 0:
                crash.setattr(store.ledger, "note", lambda _job: False)
            if fate:
                store.move(job_id, Event.CANCEL, 100.0, end="cancelled", reason="cancelled")
        if fate == 2:
            store.move(job_id, Event.RETRY, 101.0, fresh=True)
    rows = [summary(store.load(job_id)) for job_id in ids]
    return sorted(rows, key=lambda row: (row["submitted_at"], row["id"]), reverse=True)


def ids(rows: list[Row]) -> list[str]:
    return [row["id"] for row in rows]


def matches(row: Row, wanted: Wanted) -> bool:
    """As the documents say it, one job at a time."""
    is_final = row["state"] in FINAL
    words = {row["state"], "ended" if is_final else "waiting"}
    return (
        (bool(words & wanted.statuses) if wanted.statuses else wanted.ended or not is_final)
        and (wanted.name is None or row["name"].startswith(wanted.name.removesuffix("*")))
        and wanted.kind in (None, row["kind"])
        and wanted.project in (None, row["project"])
    )


@pytest.mark.parametrize("statuses", [(), ("ended",), ("waiting",), ("cancelled", "pending"), ("failed",)])
@pytest.mark.parametrize("ended", [False, True])
def test_a_list_is_of_all_jobs_that_match_and_of_no_other(
    session: Session, jobs: list[Row], ended: bool, statuses: tuple[str, ...]
) -> None:
    for name, kind, project in product((None, "iris", "tab*"), (None, "train"), (None, "risk")):
        wanted = Wanted(ended, frozenset(statuses), name, kind, project)
        expected = [row for row in jobs if matches(row, wanted)]
        found = select(session, wanted)
        assert ids(found.rows) == ids(expected) and found.matched == len(expected)
        assert ids_of(session, wanted) == ids(expected)[::-1]


def test_what_several_lists_have_in_common_is_what_all_of_them_take(session: Session, jobs: list[Row]) -> None:
    one, other = Wanted(statuses=frozenset({"ended", "waiting"})), Wanted(ended=True, name="iris")
    assert ids_of(session, one, other) == ids([row for row in jobs if row["name"] == "iris"])[::-1]


def test_pages_come_to_the_whole_list_however_many_were_submitted_at_a_time(session: Session, jobs: list[Row]) -> None:
    seen: list[Row] = []
    while len(seen) < len(jobs):
        before = (seen[-1]["submitted_at"], seen[-1]["id"]) if seen else None
        page = select(session, Wanted(ended=True, limit=5, before=before))
        assert page.rows
        seen += page.rows
        assert page.matched == len(jobs) and page.behind == len(jobs) - len(seen)
    assert ids(seen) == ids(jobs)


def test_a_list_counts_by_state_all_that_was_looked_at(session: Session, jobs: list[Row]) -> None:
    assert select(session, Wanted(limit=1)).counts == {"pending": 24}
    assert select(session, Wanted(ended=True, name="iris")).counts == {"pending": 24, "cancelled": 12}


@pytest.mark.parametrize("is_noted", [False, True])
def test_a_job_that_ends_while_the_list_is_made_is_shown_once(
    session: Session, store: JobStore, monkeypatch: pytest.MonkeyPatch, is_noted: bool
) -> None:
    job = accept(store)
    fill(session.index, [job])
    if not is_noted:
        monkeypatch.setattr(store.ledger, "note", lambda _job: False)
    store.move(job.id, Event.CANCEL, 100.0, end="cancelled", reason="cancelled")
    found = select(session, Wanted(ended=True))
    assert (ids(found.rows), found.matched, found.counts) == ([job.id], 1, {"pending": 1})
