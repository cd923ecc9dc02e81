"""The list of ended jobs is what the ledger says, whatever became of the file it is kept in."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.ledger import catalogue as lines
from singlepoint.jobs.ledger.catalogue import head_of, id_of, line_of
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store import catalogue
from singlepoint.jobs.store.catalogue import Catalogue
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.ledger import run

REQUESTS = Resources(1000, 512 * 2**20).to_json()


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "WRITTEN_EVERY_BYTES", 0)


def ended(store: JobStore, name: str = "a", at: float = 1.0) -> str:
    job = store.create(b"{}", {"name": name, "kind": "train", "requests": REQUESTS}, at)
    store.move(job.id, Event.CANCEL, at + 10.0, end="cancelled", reason="r")
    return job.id


def anew(store: JobStore) -> list[str]:
    """The list by all of the ledger."""
    store.home.catalogue.unlink(missing_ok=True)
    return Catalogue(store.home, store.ledger).lines()


def test_the_list_is_the_same_read_on_from_where_it_was_written_and_read_anew(store: JobStore) -> None:
    chance = random.Random(3)
    ids: list[str] = []
    for step in range(60):
        ids.append(ended(store, f"job-{step % 7}", at=chance.random() * 1e9))
        if chance.random() < 0.3:
            store.remove(ids.pop(chance.randrange(len(ids))))
        if chance.random() < 0.3:
            again = chance.choice(ids)
            store.move(again, Event.RETRY, 2e9)
            if chance.random() < 0.5:
                store.move(again, Event.CANCEL, 2e9, end="cancelled", reason="r")
            else:
                ids.remove(again)
        if step % 10 == 0:
            run(store.catalogue.write())
    listed, found = store.catalogue.listed(), store.catalogue.lines()
    assert {id_of(line) for line in found} == set(ids) and found == sorted(found) == anew(store)
    assert listed.changed and listed.text
    assert run(store.catalogue.ids()) == set(ids)
    assert run(store.catalogue.write()) == len(store.ledger.path.read_bytes().splitlines()) - len(ids)
    for begin in {job_id[:length] for job_id in ids for length in (1, 2, 8)}:
        assert listed.beginning_with(begin) == {job_id for job_id in ids if job_id.startswith(begin)}
    assert sorted(store.unlisted_ids()) == sorted(set(store.ids()) - set(ids))
    assert [listed.newest(count) for count in (1, 5, 1000)] == [found[-1:], found[-5:], found]
    known = {*ids[::3], "another", *(job_id for job_id, line in listed.changed.items() if line is None)}
    assert run(listed.lines_but(known)) == [line for line in found if id_of(line) not in known]
    for number in range(8):
        assert listed.of_name(f"job-{number}") == [line for line in found if head_of(line).name == f"job-{number}"]


def test_what_was_written_is_not_taken_apart_again(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        ended(store, at=float(number))
    run(store.catalogue.write())
    taken: list[bytes] = []

    def counting(entries: list[bytes]) -> Iterator[tuple[str, str | None]]:
        taken.extend(entries)
        return lines.changes(entries)

    monkeypatch.setattr(catalogue, "changes", counting)
    newest = ended(store, at=9.0)
    assert len(store.catalogue.lines()) == 6 and len(taken) == 1
    assert find_job(store, "last") == newest and len(taken) == 2


@pytest.mark.parametrize("what", ["cut", "changed", "nonsense", "of another ledger"])
def test_a_list_that_is_damaged_or_of_another_ledger_is_not_believed(store: JobStore, what: str) -> None:
    ids = {ended(store, at=float(number)) for number in range(4)}
    run(store.catalogue.write())
    content = store.home.catalogue.read_bytes()
    if what == "of another ledger":
        whole = store.ledger.path.read_bytes().splitlines(keepends=True)
        store.ledger.path.write_bytes(b"".join(whole[:2]))
        ids = {id_of(line) for line in anew(store)}
    damaged = {"cut": content[:-9], "changed": content.replace(b"cancelled", b"succeeded"), "nonsense": b"\xff\n[]"}
    store.home.catalogue.write_bytes(damaged.get(what, content))
    assert {id_of(line) for line in store.catalogue.lines()} == ids
    assert all(head_of(line).state == "cancelled" for line in store.catalogue.lines())


@pytest.mark.parametrize("name", ["plain", 'with "marks"', "tab\tand\nline", "Größe", "back\\slash", "日本"])
def test_a_job_is_found_by_any_name_there_is(store: JobStore, name: str) -> None:
    job_id = ended(store, name)
    ended(store, "other", at=2.0)
    for _ in range(2):
        assert find_job(store, name) == job_id
        [line] = store.catalogue.listed().of_name(name)
        assert head_of(line).name == name and line_of(head_of(line)) == line
        run(store.catalogue.write())
