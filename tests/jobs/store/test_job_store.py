"""The directories are the truth: what is accepted is kept, what is half-written never happened."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest

from singlepoint.jobs.errors import HistoryDamaged, ImpossibleMove, NotFound, StorageFull, Superseded
from singlepoint.jobs.lifecycle import history
from singlepoint.jobs.lifecycle.history import Note, fold, line, step
from singlepoint.jobs.lifecycle.records import Job, Resources, Terms
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.store import durable, folds
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore, new_id

REQUESTS = Resources(1000, 2**28)
ACCEPT = {"name": "a", "kind": "train", "requests": REQUESTS.to_json()}
TERMS = Terms(REQUESTS, (0,)).to_json()


def accepted(store: JobStore) -> Job:
    return store.create(b"{}", ACCEPT, 1.0)


def test_the_rename_accepts_after_everything_in_the_directory_is_durable(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.going_on.add([])  # its directory is there
    calls: list[str] = []
    for module, name in ((os, "fsync"), (os, "rename")):
        original = getattr(module, name)

        def recorded(*arguments: object, _name: str = name, _original: object = original) -> object:
            target = arguments[0] if _name == "rename" else os.readlink(f"/proc/self/fd/{arguments[0]}")
            calls.append(f"{_name} {Path(str(target)).name.split('-')[0]}")
            return _original(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(module, name, recorded)
    accepted(store)
    written = ["fsync spec.json", "fsync history.jsonl", "fsync .new", "fsync going"]
    assert calls == [*written, "rename .new", "fsync jobs"]


def test_a_full_disk_at_submit_keeps_nothing(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str) -> None:
        if name == "submit.history":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "reach", full)
    with pytest.raises(StorageFull):
        accepted(store)
    assert store.ids() == [] and list(os.scandir(store.home.jobs)) == []


def test_what_a_dead_submit_left_is_no_job_and_is_swept(store: JobStore) -> None:
    (store.home.jobs / ".new-abc").mkdir()
    assert store.ids() == []
    made_at = os.stat(store.home.jobs / ".new-abc").st_mtime
    store.sweep_unaccepted(made_at)
    assert [entry.name for entry in os.scandir(store.home.jobs)] == [".new-abc"], "it may be at work still"
    store.sweep_unaccepted(made_at + 1)
    assert list(os.scandir(store.home.jobs)) == []


def test_a_stray_file_among_the_jobs_is_no_job(store: JobStore) -> None:
    (store.home.jobs / "notes.txt").write_text("mine")
    assert store.ids() == [] and store.size("notes.txt") == 0


def test_a_move_is_on_disk_when_it_returns(store: JobStore) -> None:
    job = accepted(store)
    moved = store.move(job.id, Event.DISPATCH, 2.0, attempt=1, terms=TERMS)
    assert moved.state is State.QUEUED
    assert JobStore(store.home).load(job.id) == moved


def test_an_impossible_move_writes_nothing_and_points_to_the_history(store: JobStore) -> None:
    job = accepted(store)
    before = store.history(job.id)
    with pytest.raises(ImpossibleMove) as error:
        store.move(job.id, Event.SUCCEED, 2.0, attempt=1)
    assert store.history(job.id) == before and error.value.hint == f"see `singlepoint show {job.id}`"


def test_a_torn_line_is_cut_before_the_next_is_written(store: JobStore) -> None:
    job = accepted(store)
    with open(store.home.job(job.id) / "history.jsonl", "ab") as file:
        file.write(b'{"at":"2026-')
    assert store.load(job.id) == job
    moved = store.move(job.id, Event.CANCEL, 2.0)
    assert store.load(job.id) == moved and store.history(job.id).count(b"\n") == 2


def test_a_full_disk_leaves_the_history_as_it_was(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job = accepted(store)

    def half(descriptor: int, content: bytes) -> int:
        return real(descriptor, content[: len(content) // 2])

    real = os.write
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StorageFull):
        store.move(job.id, Event.CANCEL, 2.0)
    monkeypatch.undo()
    assert store.load(job.id) == job


def _race(home: Home, job_id: str, number: int, wins: multiprocessing.Queue[int]) -> None:
    try:
        JobStore(home).move(job_id, Event.CLAIM, 3.0, attempt=1, worker=str(number))
        wins.put(number)
    except (ImpossibleMove, Superseded):
        pass


def test_of_many_processes_that_claim_one_attempt_one_wins(store: JobStore) -> None:
    job = accepted(store)
    store.move(job.id, Event.DISPATCH, 2.0, attempt=1, terms=TERMS)
    context = multiprocessing.get_context("fork")
    wins: multiprocessing.Queue[int] = context.Queue()
    racers = [context.Process(target=_race, args=(store.home, job.id, n, wins)) for n in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    winner = wins.get(timeout=5)
    assert wins.empty() and store.load(job.id).attempts[0].worker == str(winner)


def test_the_fence_lets_only_the_open_newest_attempt_through(store: JobStore) -> None:
    job = accepted(store)
    store.move(job.id, Event.DISPATCH, 2.0, attempt=1, terms=TERMS)
    with store.locked_history(job.id) as history:
        history.require_newest(1)
        with pytest.raises(Superseded):
            history.require_newest(2)
    store.move(job.id, Event.LOSE, 3.0, attempt=1, end="lost")
    with store.locked_history(job.id) as history, pytest.raises(Superseded):
        history.require_newest(1)


def test_a_held_lock_is_seen_and_never_broken(store: JobStore) -> None:
    job = accepted(store)
    assert not store.is_being_worked_on(job.id)
    descriptor = os.open(store.lock_path(job.id), os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert store.is_being_worked_on(job.id) and store.is_being_worked_on(job.id)
    os.close(descriptor)
    assert not store.is_being_worked_on(job.id)


def test_a_removed_job_is_gone_with_all_that_was_in_its_directory(store: JobStore) -> None:
    job = accepted(store)
    (store.home.job(job.id) / "checkpoints").mkdir()
    store.remove(job.id)
    assert store.ids() == [] and list(os.scandir(store.home.jobs)) == []
    with pytest.raises(NotFound):
        store.load(job.id)
    with pytest.raises(NotFound):
        store.note(job.id, Note.HOLD, 2.0)


def test_ids_are_easy_to_read_and_to_type() -> None:
    ids = {new_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(len(one) == 8 and one[0].isalpha() and not set(one) & set("l01o") for one in ids)


def lose_attempts(store: JobStore, job_id: str, numbers: range) -> None:
    """Write down attempts that were dispatched, claimed and killed, without a fsync for each."""
    lines = b""
    for number in numbers:
        lines += line(Event.DISPATCH, 2.0, {"attempt": number, "terms": TERMS})
        lines += line(Event.CLAIM, 3.0, {"attempt": number})
        lines += line(Event.LOSE, 4.0, {"attempt": number, "end": "killed", "steps": number})
    with open(store.home.job(job_id) / "history.jsonl", "ab") as file:
        file.write(lines)


def test_whoever_knows_a_job_reads_only_what_was_added(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = accepted(store).id
    lose_attempts(store, job_id, range(1, 200))
    store.load(job_id)
    lose_attempts(store, job_id, range(200, 202))
    read: list[object] = []
    monkeypatch.setattr(history, "step", lambda *entry: read.append(entry) or step(*entry))
    caught_up = store.load(job_id)
    assert len(read) == 6 and [attempt.number for attempt in caught_up.attempts] == list(range(1, 202))
    assert store.load(job_id) is caught_up
    with store.locked_history(job_id) as open_history:
        written = open_history.append(Note.PRIORITISE, 5.0, {"priority": 3})
    assert store.load(job_id) is written and len(read) == 6
    monkeypatch.undo()
    assert JobStore(store.home).load(job_id) == written


def test_a_history_that_was_cut_or_replaced_is_read_from_the_start(store: JobStore) -> None:
    job_id = accepted(store).id
    path = store.home.job(job_id) / "history.jsonl"
    whole = path.read_bytes()
    lose_attempts(store, job_id, range(1, 3))
    known = store.load(job_id)
    path.write_bytes(whole)
    assert store.load(job_id) == JobStore(store.home).load(job_id) and store.load(job_id).attempt == 0
    path.write_bytes(whole.replace(b'"a"', b'"' + b"b" * known.size + b'"'))
    assert store.load(job_id).name == "b" * known.size
    lose_attempts(store, job_id, range(1, 2))
    with store.locked_history(job_id) as opened:
        assert opened.job.name == "b" * known.size and opened.job.attempt == 1


def test_a_store_remembers_only_the_jobs_it_read_last(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [accepted(store).id for _ in range(folds.MOST + 1)]
    store = JobStore(store.home)
    for job_id in ids:
        store.load(job_id)
    read: list[str] = []
    monkeypatch.setattr(folds, "fold", lambda job_id, *rest: read.append(job_id) or fold(job_id, *rest))
    for job_id in reversed(ids):
        store.load(job_id)
    assert read == [ids[0]]


def test_a_stored_spec_that_is_not_the_one_accepted_is_refused_with_a_way_out(store: JobStore) -> None:
    job = accepted(store)
    assert store.accepted_spec(job) == b"{}"
    path = store.home.job(job.id) / "spec.json"
    for spoil in (lambda: path.write_bytes(b'{"a": 1}'), lambda: path.write_bytes(b""), path.unlink):
        spoil()
        with pytest.raises(HistoryDamaged, match=f"not what was accepted .*singlepoint rm {job.id}"):
            store.accepted_spec(job)


def test_a_job_accepted_by_version_0_1_has_no_hash_and_its_spec_is_taken_as_it_is(store: JobStore) -> None:
    job = accepted(store)
    path = store.home.job(job.id) / "history.jsonl"
    path.write_bytes(path.read_bytes().replace(b',"spec_sha256":"' + job.spec_sha256.encode() + b'"', b""))
    (store.home.job(job.id) / "spec.json").write_bytes(b'{"a": 1}')
    older = store.load(job.id)
    assert older.spec_sha256 == "" and store.accepted_spec(older) == b'{"a": 1}'


@pytest.mark.parametrize("word", ["", ".", "..", "../x", "a/b", "a\0b", "A1", "a" * 65, "a_1", ".new-abc"])
def test_only_an_id_names_a_job_and_nothing_is_made_for_any_other_word(store: JobStore, word: str) -> None:
    before = sorted(store.home.path.rglob("*"))
    for ask in (store.load, store.history, store.lock_path, store.is_being_worked_on, store.remove):
        with pytest.raises(NotFound):
            ask(word)
    with pytest.raises(NotFound), store.locked_history(word):
        pass
    assert store.size(word) == 0 and sorted(store.home.path.rglob("*")) == before
