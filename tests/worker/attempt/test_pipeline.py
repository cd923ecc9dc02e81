"""One attempt, whatever happens to it: what stands in the history and on disk afterwards, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from singlepoint.jobs.client import control
from singlepoint.jobs.client.control import remove
from singlepoint.jobs.clock import now
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.worker.attempt import pipeline
from singlepoint.worker.ground import numeric_environment, stop_requests
from singlepoint.worker.ground.stop_requests import Stop
from singlepoint.worker.kinds.train import Training
from singlepoint.worker.nn.learning.trainer import EpochReport
from singlepoint.worker.pool.watch import Watch
from tests.conftest import LONGEST_S
from tests.worker.making import TRAINING, Maker, stopped, woken

MIB = 2**20


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def succeeded(job: Job) -> str:
    """The digest of the result."""
    assert job.state is State.SUCCEEDED and job.result is not None, job
    return str(job.result["sha256"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    calm = Maker(tmp_path_factory.mktemp("calm"))
    return succeeded(calm.make(calm.submit()))


def files(maker: Maker, job_id: str) -> set[str]:
    """The names in a job's directory, folders included."""
    return {str(path.relative_to(maker.home.job(job_id))) for path in maker.home.job(job_id).rglob("*")}


KEPT = {"spec.json", "history.jsonl", "history.lock", "lock", "log.txt", "metrics.jsonl", "progress.json"}


# --- the disk ----------------------------------------------------------------------------------------------------

TRAINING_WRITES = [
    "checkpoint.write@3",
    "checkpoint.rename@3",
    "metrics.write@9",
    "model.weights",
    "model.document",
    "publish.model",
    "history.succeed",
]


TROUBLE = {"enospc": ("disk_full", "no space left"), "eio": ("io_error", "input/output error")}
"""What a write may meet, how the attempt ends that meets it, and what it says."""


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("write", TRAINING_WRITES)
def test_a_disk_that_is_full_or_fails_makes_a_training_wait_and_it_ends_in_the_same_weights(
    maker: Maker, undisturbed: str, write: str, trouble: str
) -> None:
    job_id = maker.submit()
    job = maker.make(job_id, f"{write}:{trouble}")
    end, says = TROUBLE[trouble]
    assert (job.state, job.attempts[-1].end, job.failures) == (State.PENDING, end, 0)
    assert says in (job.reason or "").lower() and job.not_before > now() - 5
    assert not [name for name in files(maker, job_id) if name.endswith(".tmp")]
    published = maker.model().exists()
    assert published is (write == "history.succeed")  # then the next attempt finds it, and makes no second one
    again = maker.make(job_id)
    assert succeeded(again) == undisturbed
    assert again.attempts[-1].first_step > 0, "the last sound checkpoint was lost"
    assert os.listdir(maker.model().parent) == ["1"]


def test_a_log_that_finds_no_room_costs_lines_and_not_the_work(maker: Maker, undisturbed: str) -> None:
    job_id = maker.submit()
    assert succeeded(maker.make(job_id, "log.open:enospc")) == undisturbed
    assert not (maker.home.job(job_id) / "log.txt").exists()


@pytest.mark.parametrize("trouble", TROUBLE)
def test_an_attempt_that_cannot_even_say_so_is_written_down_later(maker: Maker, undisturbed: str, trouble: str) -> None:
    job_id = maker.submit()
    pid = maker.begin(job_id, f"history.lose:{trouble}")
    deadline = time.monotonic() + LONGEST_S
    while maker.store.load(job_id).state is State.QUEUED:
        assert time.monotonic() < deadline, "the attempt does not begin"
    os.kill(pid, signal.SIGKILL)
    assert maker.oversee(job_id, pid).attempts[-1].end == "killed"
    assert succeeded(maker.make(job_id)) == undisturbed


PREDICTION_WRITES = ["shard.write@3", "shard.count@3", "output.write", "publish.output"]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Maker, bytes]:
    """A trained model with a table to score, and what comes out when nothing disturbs it."""
    maker = Maker(tmp_path_factory.mktemp("scorer"))
    succeeded(maker.make(maker.submit(training={"epochs": 2})))
    header, *rows = (maker.directory / "wdbc.csv").read_text().splitlines(keepends=True)
    (maker.directory / "many.csv").write_text(header + "".join(rows * 20))
    succeeded(maker.make(predict(maker, "calm")))
    return maker, (maker.directory / "calm.out.csv").read_bytes()


def predict(maker: Maker, name: str) -> str:
    spec = {"kind": "predict", "name": name, "model": str(maker.model()), "input": "many.csv"}
    return maker.submit({**spec, "output": f"{name}.out.csv", "checkpoint_interval_s": 0.001})


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("write", PREDICTION_WRITES)
def test_a_disk_that_is_full_or_fails_makes_a_prediction_wait_and_nothing_half_done_is_seen(
    scorer: tuple[Maker, bytes], write: str, trouble: str
) -> None:
    maker, expected = scorer
    name = f"{trouble}-" + write.replace(".", "-").replace("@", "-")
    job_id = predict(maker, name)
    job = maker.make(job_id, f"{write}:{trouble}")
    assert (job.state, job.attempts[-1].end) == (State.PENDING, TROUBLE[trouble][0])
    output = maker.directory / f"{name}.out.csv"
    assert not output.exists()
    again = maker.make(job_id)
    succeeded(again)
    assert output.read_bytes() == expected
    assert again.attempts[-1].first_step > 0, "the counted rows were lost"
    assert not list(maker.directory.glob(f".{name}*.tmp"))


def test_a_result_that_cannot_get_its_place_fails_the_job_and_says_why(scorer: tuple[Maker, bytes]) -> None:
    maker, _ = scorer
    job_id = predict(maker, "blocked")
    (maker.directory / "blocked.out.csv").mkdir()
    job = maker.make(job_id)
    assert (job.state, job.attempts[-1].end) == (State.FAILED, "failed")
    assert "blocked.out.csv" in (job.reason or "")


def test_a_fresh_retry_of_a_prediction_scores_every_row_again(scorer: tuple[Maker, bytes]) -> None:
    maker, expected = scorer
    job_id = predict(maker, "afresh")
    assert maker.make(job_id, "shard.write@5:kill").attempts[-1].end == "killed"
    control.cancel(maker.session, job_id, now())
    control.retry(maker.session, job_id, now(), fresh=True)
    job = maker.make(job_id)
    succeeded(job)
    assert job.attempts[-1].first_step == 0 and (maker.directory / "afresh.out.csv").read_bytes() == expected


def test_rows_counted_in_another_environment_mark_the_result_for_good(scorer: tuple[Maker, bytes]) -> None:
    maker, _ = scorer
    job_id = predict(maker, "elsewhere")

    def elsewhere() -> None:
        numeric_environment.fingerprint = lambda threads: {"numpy": "of another day"}

    maker.oversee(job_id, maker.begin(job_id, "shard.write@5:kill"))
    maker.oversee(job_id, maker.begin(job_id, "shard.write@5:kill", spoil=elsewhere))
    job = maker.make(job_id)
    succeeded_differently = (job.state, job.bit_identical)
    assert succeeded_differently == (State.SUCCEEDED, False) and "numpy was" in job.facts["differs"]


# --- zombies -----------------------------------------------------------------------------------------------------


def to_be_stopped(maker: Maker, place: str) -> str:
    """A training that saves in the background only if it is to stop while it does: stopped elsewhere, it could stop
    with the history's lock in the other thread's hand."""
    return maker.submit(checkpoint_interval_s=0.01 if place.startswith("checkpoint") else 1000)


def taken_for_dead(maker: Maker, job_id: str, failpoint: str) -> int:
    """An attempt that stopped at a failpoint, lost its lock, and was given up: its pid."""
    pid = maker.begin(job_id, f"{failpoint}:stop")
    stopped(pid)
    maker.store.lock_path(job_id).unlink()
    maker.store.move(job_id, Event.LOSE, now(), attempt=maker.store.load(job_id).attempt, end="killed")
    return pid


@pytest.mark.parametrize(
    "place", ["checkpoint.write@3", "metrics.write@9", "model.weights", "model.weights.rename", "model.document"]
)
def test_a_training_that_wakes_after_its_successor_ended_publishes_nothing(
    maker: Maker, undisturbed: str, place: str
) -> None:
    job_id = to_be_stopped(maker, place)
    zombie = taken_for_dead(maker, job_id, place)
    assert succeeded(maker.make(job_id)) == undisturbed
    before = maker.snapshot(job_id)
    assert woken(zombie) == 0
    after = {name: digest for name, digest in maker.snapshot(job_id).items() if "/attempt-1/" not in name}
    assert after == before


@pytest.mark.parametrize("place", ["checkpoint.write@3", "metrics.write@9", "model.weights"])
def test_a_training_that_wakes_beside_its_successor_disturbs_nothing(
    maker: Maker, undisturbed: str, place: str
) -> None:
    job_id = to_be_stopped(maker, place)
    zombie = taken_for_dead(maker, job_id, place)
    successor = maker.begin(job_id, "model.document:stop")
    stopped(successor)
    before = maker.snapshot(job_id)
    assert woken(zombie) == 0
    assert {n: d for n, d in maker.snapshot(job_id).items() if "/attempt-1/" not in n} == before
    os.kill(successor, signal.SIGCONT)
    assert succeeded(maker.oversee(job_id, successor)) == undisturbed
    lines = (maker.home.job(job_id) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 31))


@pytest.mark.parametrize("place", ["shard.write@3", "output.write"])
def test_a_prediction_that_wakes_beside_its_successor_disturbs_nothing(scorer: tuple[Maker, bytes], place: str) -> None:
    maker, expected = scorer
    name = "zombie-" + place.replace(".", "-").replace("@", "-")
    job_id = predict(maker, name)
    zombie = taken_for_dead(maker, job_id, place)
    successor = maker.begin(job_id, "publish.output:stop" if place == "output.write" else "shard.write@6:stop")
    stopped(successor)
    if place == "output.write":  # stopped with the history's lock in hand: the zombie could not even ask
        os.kill(successor, signal.SIGCONT)
        succeeded(maker.oversee(job_id, successor))
        assert woken(zombie) == 0
    else:
        assert woken(zombie) == 0
        os.kill(successor, signal.SIGCONT)
        succeeded(maker.oversee(job_id, successor))
    assert (maker.directory / f"{name}.out.csv").read_bytes() == expected


def test_an_attempt_that_was_replaced_is_killed_by_the_worker_above_it(maker: Maker) -> None:
    job_id = to_be_stopped(maker, "metrics.write")
    zombie = taken_for_dead(maker, job_id, "metrics.write")
    maker.dispatch(job_id)
    watch = Watch(maker.place, job_id, 1)
    assert watch.must_die(zombie)
    os.kill(zombie, signal.SIGKILL)
    watch.ended(os.waitpid(zombie, 0)[1])
    assert maker.store.load(job_id).state is State.QUEUED  # and its death is nobody's business any more


@pytest.mark.parametrize("status", [0, signal.SIGKILL])
def test_an_attempt_that_was_pushed_twice_is_not_given_up_by_the_worker_that_was_turned_away(
    maker: Maker, undisturbed: str, status: int
) -> None:
    job_id = maker.submit()
    child = maker.begin(job_id, "metrics.write@9:stop")
    stopped(child)
    Watch(replace(maker.place, worker="maker-2"), job_id, 1).ended(status)
    job = maker.store.load(job_id)
    assert (job.state, job.attempt, job.newest and job.newest.ended_at) == (State.RUNNING, 1, None)
    os.kill(child, signal.SIGCONT)
    assert succeeded(maker.oversee(job_id, child)) == undisturbed


# --- memory ------------------------------------------------------------------------------------------------------


def test_a_training_above_its_memory_is_stopped_and_asks_for_more_than_it_used(maker: Maker, undisturbed: str) -> None:
    job_id = maker.submit(model={"hidden": [2000, 1200]}, training={"epochs": 100_000}, resources={"memory": "32MiB"})
    job = maker.make(job_id)
    assert (job.state, job.attempts[-1].end, job.failures) == (State.PENDING, "out_of_memory", 0)
    assert job.reason == "went over its memory and was stopped"
    assert job.requests.memory_bytes > 1.5 * 32 * MIB, "what it was seen to use counts, not what it had asked for"


def test_what_lay_free_in_the_parent_is_not_for_the_child_to_fill_uncounted(maker: Maker) -> None:
    pieces = [numpy.ones(4000) for _ in range(4000)]  # 128 MB in pieces, of which the last stays: the heap is kept
    kept = pieces.pop()
    pieces.clear()
    job_id = maker.submit(model={"hidden": [2000, 1200]}, training={"epochs": 100_000}, resources={"memory": "32MiB"})
    assert maker.make(job_id).attempts[-1].end == "out_of_memory"
    assert kept.size == 4000


def test_an_allocation_above_the_grant_fails_and_the_next_attempt_asks_for_more(maker: Maker) -> None:
    job_id = maker.submit(model={"hidden": [8000, 8000]}, resources={"memory": "64MiB"})
    job = maker.make(job_id)
    assert (job.state, job.attempts[-1].end) == (State.PENDING, "out_of_memory")
    assert "ran out of memory" in (job.reason or "")
    assert job.requests.memory_bytes >= 1.5 * 64 * MIB
    # The scheduler cuts what it asks for down to the budget, and when that is not enough, there is no more.
    job = maker.make(job_id, memory_bytes=64 * MIB)
    assert job.state is State.FAILED and "ran out of memory" in (job.reason or "")


# --- its own fault -----------------------------------------------------------------------------------------------


def test_a_training_that_fails_twice_at_the_same_step_is_quarantined(maker: Maker) -> None:
    def spoil() -> None:
        def note(training: Training, report: EpochReport) -> None:
            if report.epoch == 9:
                raise RuntimeError("the same as ever")

        Training.note = note  # type: ignore[assignment]

    def attempt() -> Job:
        return maker.oversee(job_id, maker.begin(job_id, spoil=spoil))

    job_id = maker.submit(retries=5)
    job = attempt()
    assert job.state is State.PENDING and job.failures == 1
    assert job.attempts[-1].ended_at is not None and job.not_before > job.attempts[-1].ended_at
    job = attempt()
    assert job.state is State.FAILED
    assert job.reason is not None and job.reason.startswith("quarantined: attempts 1 and 2 failed alike at step")


def test_a_crash_of_its_own_code_spends_a_retry_and_a_kill_from_outside_does_not(
    maker: Maker, undisturbed: str
) -> None:
    job_id = maker.submit(retries=1)
    for number, end, failures in ((signal.SIGSEGV, "crashed", 1), (signal.SIGKILL, "killed", 1)):
        pid = maker.begin(job_id, "metrics.write@5:stop")
        stopped(pid)
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)
        job = maker.oversee(job_id, pid)
        assert (job.state, job.attempts[-1].end, job.failures) == (State.PENDING, end, failures)
    assert succeeded(maker.make(job_id)) == undisturbed


# --- requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "state", "end"),
    [
        ("cancel", State.CANCELLED, "cancelled"),
        ("preempt", State.PENDING, "preempted"),
        ("pause", State.PENDING, "preempted"),
    ],
)
def test_an_attempt_that_does_not_answer_is_killed_after_its_grace(
    maker: Maker, ask: str, state: State, end: str
) -> None:
    maker.be_impatient()
    job_id = to_be_stopped(maker, "metrics.write")
    pid = maker.begin(job_id, "metrics.write@5:stop")
    stopped(pid)
    maker.store.note(job_id, Note.ASK, now(), ask=ask)
    job = maker.oversee(job_id, pid)
    assert (job.state, job.attempts[-1].end, job.held) == (state, end, ask == "pause")
    assert job.failures == 0


class Overseen:
    """An attempt that never answers, and its watch, by a clock of its own."""

    def __init__(self, maker: Maker) -> None:
        self.store, self.now_s, self.at = maker.store, 0.0, now()
        self.job_id = maker.submit()
        maker.dispatch(self.job_id)
        maker.store.move(self.job_id, Event.CLAIM, self.at, attempt=1, worker=maker.place.worker)
        place = replace(maker.place, grace_s=30, clock=lambda: self.at, monotonic=lambda: self.now_s)
        self.watch = Watch(place, self.job_id, 1)

    def note(self, note: Note, **facts: str) -> None:
        self.at += 1
        self.store.note(self.job_id, note, self.at, **facts)

    def must_die_after(self, seconds: float) -> bool:
        self.now_s += seconds
        return self.watch.must_die(os.getpid())


@pytest.mark.parametrize("set_by_s", [3600, -3600])
def test_the_grace_of_an_attempt_does_not_change_with_the_clock_on_the_wall(maker: Maker, set_by_s: float) -> None:
    overseen = Overseen(maker)
    overseen.note(Note.ASK, ask="cancel")
    assert not overseen.must_die_after(0)
    overseen.at += set_by_s
    assert not overseen.must_die_after(29)
    assert overseen.must_die_after(2)


def test_each_request_has_a_grace_of_its_own_and_a_paused_attempt_all_the_time_there_is(maker: Maker) -> None:
    overseen = Overseen(maker)
    overseen.note(Note.ASK, ask="pause")
    assert not overseen.must_die_after(29)
    overseen.note(Note.PAUSE)
    assert not overseen.must_die_after(1000)
    for note in (Note.RESUME, Note.GO_ON):
        overseen.note(note)
    overseen.note(Note.ASK, ask="pause")
    assert not overseen.must_die_after(1000)  # first seen now
    assert overseen.must_die_after(31)


def test_a_request_to_stop_just_before_the_attempt_has_its_own_handler_is_not_lost(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_drain_early", False)
    earlier, install = signal.signal(signal.SIGTERM, pipeline.remember_drain), signal.signal

    def late(number: int, handler: Any) -> Any:
        os.kill(os.getpid(), number)
        return install(number, handler)

    monkeypatch.setattr(stop_requests.signal, "signal", late)
    try:
        job_id = maker.submit()
        work = pipeline.claim(maker.place, job_id, maker.dispatch(job_id), lock=-1)
    finally:
        install(signal.SIGTERM, earlier)
    assert work is not None and work.stops.due() is Stop.DRAIN


def test_a_cancellation_that_comes_while_an_attempt_hands_back_is_not_forgotten(maker: Maker) -> None:
    job_id = maker.submit()
    pid = maker.begin(job_id, "model.weights:stop")
    stopped(pid)
    maker.store.note(job_id, Note.ASK, now(), ask="cancel")
    os.kill(pid, signal.SIGKILL)
    assert maker.oversee(job_id, pid).state is State.CANCELLED


# --- what is left ------------------------------------------------------------------------------------------------


def test_a_job_that_succeeded_leaves_nothing_a_further_attempt_would_need(maker: Maker) -> None:
    job_id = maker.submit()
    for failpoint in ("checkpoint.rename@2:kill", "model.document.rename:kill"):
        maker.make(job_id, failpoint)
        assert len({name for name in files(maker, job_id) if name.endswith(".tmp")}) == 1
    succeeded(maker.make(job_id))
    assert files(maker, job_id) - {"checkpoints"} == KEPT


def test_dying_again_and_again_takes_no_more_disk(maker: Maker) -> None:
    job_id = maker.submit(training={"epochs": 100_000})
    sizes = []
    for _ in range(4):
        maker.make(job_id, "checkpoint.rename@3:kill")
        sizes.append(len(files(maker, job_id)))
    assert sizes[-1] == sizes[1]


def test_removing_a_prediction_removes_what_it_staged_beside_its_output(scorer: tuple[Maker, bytes]) -> None:
    maker, _ = scorer
    job_id = predict(maker, "gone")
    maker.make(job_id, "publish.output:kill")
    assert list(maker.directory.glob(".gone.out.csv.*.tmp"))
    maker.store.move(job_id, Event.CANCEL, now(), end="cancelled")
    remove(maker.session, job_id)
    assert not list(maker.directory.glob(".gone.out.csv.*"))
    assert not maker.home.job(job_id).exists()


assert TRAINING["checkpoint_interval_s"] < 0.1, "the tests above count on several checkpoints"


# --- what was asked ----------------------------------------------------------------------------------------------


def test_a_spec_that_was_edited_after_it_was_accepted_is_not_worked_on(maker: Maker, undisturbed: str) -> None:
    job_id = maker.submit()
    path = maker.home.job(job_id) / "spec.json"
    accepted = path.read_bytes()
    path.write_bytes(accepted.replace(b'"seed": 7', b'"seed": 8'))
    assert path.read_bytes() != accepted
    job = maker.make(job_id)
    assert job.state is State.FAILED and "is not what was accepted" in (job.reason or "")
    assert not maker.model().exists()
    path.write_bytes(accepted)
    maker.store.move(job_id, Event.RETRY, now())
    assert succeeded(maker.make(job_id)) == undisturbed


@pytest.mark.parametrize("word", ["../../../x", "..", "", "a/b"])
def test_an_attempt_at_what_is_no_job_leaves_nothing_anywhere(maker: Maker, word: str) -> None:
    pipeline.work_at(maker.place)
    before = sorted(maker.directory.rglob("*"))
    assert pipeline.perform(word, 1) == "busy"
    assert sorted(maker.directory.rglob("*")) == before
