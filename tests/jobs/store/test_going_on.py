"""Who goes on is told without a list of all jobs, and is what the directories of all jobs say."""

from __future__ import annotations

import os
import random

import pytest

from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.ledger import Ledger, run
from tests.conftest import accept

EVER = float("inf")


def by_all_directories(store: JobStore) -> set[str]:
    return store.catalogue.listed().others(os.listdir(store.home.jobs)) & set(store.ids())


def say(store: JobStore, older_than: float = 0.0) -> None:
    """What the scheduler does every half minute."""
    store.going_on.bring_in_line(by_all_directories(store), store.going_on.ledger_seen(), older_than)


def end(store: JobStore, job_id: str) -> None:
    store.move(job_id, Event.CANCEL, 2.0, end="cancelled", reason="r")


@pytest.fixture
def said(store: JobStore) -> JobStore:
    """A home with one job that has ended, of which all is known."""
    end(store, accept(store).id)
    say(store)
    return store


def test_whatever_happens_those_that_go_on_are_told_as_all_directories_tell_them(said: JobStore) -> None:
    chance = random.Random(5)
    ended: list[str] = []
    for step in range(200):
        going_on = sorted(by_all_directories(said))
        match chance.randrange(6):
            case 0 | 1:
                accept(said)
            case 2 if going_on:
                ended.append(chance.choice(going_on))
                end(said, ended[-1])
            case 3 if ended:
                said.remove(ended.pop(chance.randrange(len(ended))))
            case 4 if ended:
                said.move(ended.pop(chance.randrange(len(ended))), Event.RETRY, 3.0)
            case 5:
                say(said, chance.choice([0.0, EVER]))
        if step % 40 == 0:
            run(said.catalogue.write())
        assert said.going_on.names() is not None
        assert set(said.unlisted_ids()) == by_all_directories(said)


def test_the_directories_of_all_jobs_are_not_listed_for_it(said: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, listed, list_directory = accept(said).id, [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (listed.append(str(path)), list_directory(path))[1])
    assert said.unlisted_ids() == [job_id] == [newest for _, newest in said.latest(1)]
    assert str(said.home.jobs) not in listed


@pytest.mark.parametrize("change", ["gone", "another", "cut short", "no mark", "damaged mark"])
def test_beside_another_ledger_or_without_a_mark_the_directories_tell(said: JobStore, change: str) -> None:
    ledger, mark = said.home.ledger, said.home.going_on / ".complete"
    content = ledger.read_bytes()
    {
        "gone": ledger.unlink,
        "another": lambda: ledger.write_bytes(content[::-1] * 2),
        "cut short": lambda: os.truncate(ledger, 0),
        "no mark": mark.unlink,
        "damaged mark": lambda: mark.write_text('{"size_bytes": "1"}'),
    }[change]()
    assert said.going_on.names() is None
    assert set(said.unlisted_ids()) == by_all_directories(said)
    say(said)
    assert said.going_on.names() is not None


def test_beside_the_ledger_of_a_backup_nobody_is_missing(said: JobStore) -> None:
    """One that knows less than the names do: of a job that ended since, the name is gone and the end not told."""
    backup = said.home.ledger.read_bytes()
    ended = accept(said).id
    end(said, ended)
    say(said, older_than=EVER)
    assert said.going_on.names() == []
    said.home.ledger.write_bytes(backup)
    assert said.unlisted_ids() == [ended]


def test_one_that_is_sent_round_again_as_its_name_is_to_go_keeps_it(
    said: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = accept(said).id
    end(said, again)
    sync, older_than = Ledger.sync, os.stat(said.home.going_on / again).st_mtime + 0.001
    os.utime(said.home.going_on / again, (1.0, 1.0))
    monkeypatch.setattr(Ledger, "sync", lambda self: (said.move(again, Event.RETRY, 3.0), sync(self)))
    said.going_on.bring_in_line(set(), said.going_on.ledger_seen(), older_than)
    assert again in (said.going_on.names() or ()) and said.unlisted_ids() == [again]


def test_a_name_goes_once_its_job_does_not_go_on_and_no_submit_can_be_about_to_accept_it(said: JobStore) -> None:
    going_on, ended, never = accept(said).id, accept(said).id, "abcdefgh"
    said.going_on.add([never])
    end(said, ended)
    say(said, older_than=0.0)
    assert {going_on, ended, never} <= set(said.going_on.names() or ())
    assert said.unlisted_ids() == [going_on]

    say(said, older_than=EVER)
    assert said.going_on.names() == [going_on]


def test_the_ledger_is_safe_on_the_disk_before_a_name_goes(said: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill cannot prove what a power cut would leave, so the calls are recorded."""
    calls: list[str] = []
    sync, unlink = Ledger.sync, os.unlink
    monkeypatch.setattr(Ledger, "sync", lambda self: (calls.append("sync"), sync(self)))
    monkeypatch.setattr(os, "unlink", lambda path: (calls.append("unlink"), unlink(path)))
    end(said, accept(said).id)
    say(said, older_than=EVER)
    assert calls == ["sync", "unlink", "unlink"]
