"""A prediction on several cores is the one on a single core, whatever happens to any of its processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from singlepoint.jobs.clock import now
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job, Resources, Terms
from singlepoint.jobs.lifecycle.states import State
from singlepoint.worker.attempt.job_lock import held_lock
from singlepoint.worker.ground.process import wait_for_exit
from singlepoint.worker.kinds import predict as prediction
from singlepoint.worker.pool.preload import rehearse
from singlepoint.worker.pool.watch import Watch
from singlepoint.worker.scoring.children import PIECES_PER_CHILD
from tests.conftest import LONGEST_S
from tests.worker.making import Maker, stopped

ROWS = 569 * 20


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Maker, bytes]:
    """A trained model, a table to score, and what comes out on one core."""
    maker = Maker(tmp_path_factory.mktemp("scorer"))
    assert maker.make(maker.submit(training={"epochs": 2})).state is State.SUCCEEDED
    header, *rows = (maker.directory / "wdbc.csv").read_text().splitlines(keepends=True)
    (maker.directory / "many.csv").write_text(header + "".join(rows * 20))
    (maker.directory / "few.csv").write_text(header + "".join(rows[:5]))
    bad = rows * 20
    bad[7000] = bad[7000].replace(",", ",oh", 3)
    (maker.directory / "bad.csv").write_text(header + "".join(bad))
    maker.make(predict(maker, "calm"))
    return maker, output(maker, "calm")


def predict(maker: Maker, name: str, **changes: object) -> str:
    spec = {"kind": "predict", "name": name, "model": str(maker.model()), "input": "many.csv"}
    return maker.submit({**spec, "output": f"{name}.out.csv", "checkpoint_interval_s": 0.001, **changes})


def output(maker: Maker, name: str) -> bytes:
    return (maker.directory / f"{name}.out.csv").read_bytes()


def ended(job: Job) -> tuple[State, str | None]:
    return job.state, job.attempts[-1].end


@pytest.mark.parametrize("cores", [2, 3])
def test_any_number_of_children_writes_the_same_bytes(scorer: tuple[Maker, bytes], cores: int) -> None:
    maker, expected = scorer
    job = maker.make(predict(maker, f"by-{cores}"), cores=cores)
    assert ended(job) == (State.SUCCEEDED, "succeeded"), job
    assert output(maker, f"by-{cores}") == expected
    assert job.metrics is not None and job.metrics["rows"] == job.metrics["compared_rows"] == ROWS
    usage = job.attempts[-1].usage
    assert usage is not None and usage.cpu_s > 0


def test_a_file_shorter_than_a_tile_is_scored_the_same(scorer: tuple[Maker, bytes]) -> None:
    maker, _ = scorer
    for cores in (1, 3):
        job = maker.make(predict(maker, f"few-{cores}", input="few.csv"), cores=cores)
        assert ended(job) == (State.SUCCEEDED, "succeeded")
    assert output(maker, "few-1") == output(maker, "few-3")


@pytest.mark.parametrize("changes", [{}, {"tile": 64}, {"tile": 5000}])
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_a_prediction_goes_on_with_another_number_of_children(
    scorer: tuple[Maker, bytes], cores: int, changes: dict[str, int]
) -> None:
    maker, expected = scorer
    name = f"other-{cores}-{changes.get('tile', 0)}"
    job_id = predict(maker, name, **changes)
    job = maker.make(job_id, "shard.write@2:kill", cores=4 - cores)
    assert ended(job) == (State.PENDING, "killed")
    job = maker.make(job_id, cores=cores)
    assert ended(job) == (State.SUCCEEDED, "succeeded") and job.attempts[-1].first_step > 0
    assert output(maker, name) == expected


@pytest.mark.parametrize("arrival", [1, 2 * PIECES_PER_CHILD + 1])  # by the later one the first piece is finished
def test_a_child_that_is_killed_ends_the_attempt_as_killed_and_costs_only_uncounted_rows(
    scorer: tuple[Maker, bytes], arrival: int
) -> None:
    maker, expected = scorer
    job_id = predict(maker, f"lost-child-{arrival}")
    job = maker.make(job_id, f"child.score@{arrival}:kill", cores=2)
    assert ended(job) == (State.PENDING, "killed")
    assert job.failures == 0, "the kill was not its own fault"
    job = maker.make(job_id, cores=2)
    assert ended(job) == (State.SUCCEEDED, "succeeded")
    assert (job.attempts[-1].first_step > 0) is (arrival > 1), "finished rows were done again"
    assert output(maker, f"lost-child-{arrival}") == expected


def test_the_lock_is_free_only_when_the_children_of_a_killed_attempt_are_gone(scorer: tuple[Maker, bytes]) -> None:
    maker, expected = scorer
    job_id = predict(maker, "headless")
    pid = maker.begin(job_id, "shard.write@3:stop", cores=2)
    stopped(pid)
    children = psutil.Process(pid).children()
    assert len(children) == 2
    os.kill(pid, signal.SIGKILL)
    assert ended(maker.oversee(job_id, pid)) == (State.PENDING, "killed")
    with held_lock(maker.store, job_id) as held:
        assert held and all(wait_for_exit(child.pid, 5) for child in children)
    maker.make(job_id, cores=2)
    assert output(maker, "headless") == expected


def test_a_bad_row_in_the_middle_fails_as_with_one_process(scorer: tuple[Maker, bytes]) -> None:
    maker, _ = scorer
    jobs = [maker.make(predict(maker, f"bad-{cores}", input="bad.csv"), cores=cores) for cores in (1, 2, 3)]
    assert {ended(job) for job in jobs} == {(State.FAILED, "failed")}
    assert len({job.reason for job in jobs}) == 1 and "row 7001" in str(jobs[0].reason)
    assert {job.attempts[-1].steps for job in jobs} == {7000 // prediction.TILE_ROWS * prediction.TILE_ROWS}


def test_what_children_have_no_room_for_is_done_by_the_attempt(scorer: tuple[Maker, bytes]) -> None:
    maker, expected = scorer
    job = maker.make(predict(maker, "cramped"), "child.score:enospc", cores=2)
    assert ended(job) == (State.SUCCEEDED, "succeeded") and output(maker, "cramped") == expected


@pytest.mark.parametrize("ask", ["preempt", "drain"])
def test_asked_to_stop_in_the_middle_all_finished_rows_are_kept(scorer: tuple[Maker, bytes], ask: str) -> None:
    maker, expected = scorer
    job_id = predict(maker, f"asked-{ask}", checkpoint_interval_s=1000)
    pid = maker.begin(job_id, "shard.write@4:stop", cores=2)
    stopped(pid)
    if ask == "preempt":
        maker.store.note(job_id, Note.ASK, now(), ask=ask)
    else:
        os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    job = maker.oversee(job_id, pid)
    assert ended(job) == (State.PENDING, {"preempt": "preempted", "drain": "drained"}[ask])
    job = maker.make(job_id, cores=2)
    assert ended(job) == (State.SUCCEEDED, "succeeded")
    assert job.attempts[-1].first_step >= 4 * prediction.TILE_ROWS
    assert output(maker, f"asked-{ask}") == expected


def test_a_paused_prediction_has_no_children_and_new_ones_afterwards(scorer: tuple[Maker, bytes]) -> None:
    maker, expected = scorer
    job_id = predict(maker, "paused")
    pid = maker.begin(job_id, "shard.write@4:stop", cores=2)
    stopped(pid)
    before = {child.pid for child in psutil.Process(pid).children()}
    maker.store.note(job_id, Note.ASK, now(), ask="pause")
    os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + LONGEST_S
    while not maker.store.load(job_id).paused:
        assert not wait_for_exit(pid, 0.01) and time.monotonic() < deadline
    assert before and not psutil.Process(pid).children()
    maker.store.note(job_id, Note.RESUME, now())
    terms = Terms(Resources(memory_bytes=512 * 2**20), cores=tuple(sorted(os.sched_getaffinity(0))), revision=1)
    maker.store.note(job_id, Note.REVISE, now(), attempt=1, terms=terms.to_json())
    assert ended(maker.oversee(job_id, pid)) == (State.SUCCEEDED, "succeeded")
    assert output(maker, "paused") == expected


def test_what_processes_share_counts_once_against_the_memory_granted(scorer: tuple[Maker, bytes]) -> None:
    maker, expected = scorer
    rehearse()  # as a pool has, so that its libraries are shared, too
    job_id = predict(maker, "small", resources={"memory": "64MiB"})
    pid = maker.begin(job_id, "shard.write@8:stop", cores=3)
    stopped(pid)
    watch = Watch(maker.place, job_id, 1)
    assert not any(watch.must_die(pid) for _ in range(3))
    os.kill(pid, signal.SIGCONT)
    job = maker.oversee(job_id, pid)
    assert ended(job) == (State.SUCCEEDED, "succeeded") and output(maker, "small") == expected


@pytest.mark.parametrize("cores", [1, 2])
def test_what_training_never_saw_is_in_the_result_and_the_log(
    scorer: tuple[Maker, bytes], tmp_path: Path, cores: int
) -> None:
    maker = Maker(tmp_path)
    rows = "".join(f"{'abc'[i % 3]},{i % 7},{i % 2}\n" for i in range(60))
    (tmp_path / "train.csv").write_text("c,n,y\n" + rows)
    (tmp_path / "new.csv").write_text("c,n\n" + "z,1\na,2\n,3\n" * 1000)
    learned = maker.submit(
        data={"path": "train.csv", "target": "y"}, preprocessing={"categorical": ["c"]}, training={"epochs": 1}
    )
    assert maker.make(learned).state is State.SUCCEEDED
    job = maker.make(predict(maker, "new", input="new.csv"), cores=cores)

    assert job.result is not None and (job.result["unseen"], job.result["bad_rows"]) == ({"c": 2000}, 0)
    assert "never_seen_in_training column='c' cells=2000" in maker.home.job_files(job.id).log.read_text()


@pytest.mark.parametrize("cores", [1, 2])
def test_an_answer_that_is_not_finite_fails_the_prediction_by_its_row(scorer: tuple[Maker, bytes], cores: int) -> None:
    maker, _ = scorer
    lines = (maker.directory / "many.csv").read_text().splitlines(keepends=True)
    scales = json.loads((maker.model() / "model.json").read_bytes())["preprocessing"]["columns"]
    far = {column["name"]: repr(3e38 * column["scale"]) for column in scales}  # each just fits in float32
    names, cells = lines[0].strip().split(","), lines[5000].strip().split(",")
    lines[5000] = ",".join(far.get(name, cell) for name, cell in zip(names, cells, strict=True)) + "\n"
    (maker.directory / "far.csv").write_text("".join(lines))
    job = maker.make(predict(maker, f"far-{cores}", input="far.csv"), cores=cores)

    assert job.state is State.FAILED and job.reason is not None
    assert "row 5000: " in job.reason and not (maker.directory / f"far-{cores}.out.csv").exists()


def test_answers_are_compared_with_the_truth_in_the_input_however_often_the_prediction_was_killed(
    scorer: tuple[Maker, bytes],
) -> None:
    maker, _ = scorer
    calm = maker.make(predict(maker, "compared"))
    hurt = predict(maker, "hurt", pass_through=[])
    assert ended(maker.make(hurt, "shard.write@4:kill", cores=2)) == (State.PENDING, "killed")
    job = maker.make(hurt, cores=2)

    with open(maker.directory / "compared.out.csv", newline="", encoding="utf-8") as file:
        right = [row["predicted_diagnosis"] == row["diagnosis"] for row in csv.DictReader(file)]
    assert calm.metrics == job.metrics and calm.metrics is not None
    assert calm.metrics["accuracy"] == sum(right) / len(right) and 0.5 < calm.metrics["roc_auc"] <= 1


def test_rows_without_a_truth_are_left_out_of_the_comparison(scorer: tuple[Maker, bytes]) -> None:
    maker, _ = scorer
    names, *rows = (maker.directory / "few.csv").read_text().splitlines()
    place = names.split(",").index("diagnosis")
    for row, truth in enumerate(("", "other")):
        cells = rows[row].split(",")
        cells[place] = truth
        rows[row] = ",".join(cells)
    (maker.directory / "some.csv").write_text("\n".join([names, *rows]))
    job = maker.make(predict(maker, "some", input="some.csv"))
    assert job.metrics is not None and (job.metrics["rows"], job.metrics["compared_rows"]) == (5, 3)

    cut = [",".join(cell for i, cell in enumerate(line.split(",")) if i != place) for line in (names, *rows)]
    (maker.directory / "blind.csv").write_text("\n".join(cut))
    assert maker.make(predict(maker, "blind", input="blind.csv")).metrics == {"rows": 5}
