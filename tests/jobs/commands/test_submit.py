"""Submitting: what is refused with which words, and that accepted means kept."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

import singlepoint
from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.session import Session, Settings, open_session
from singlepoint.jobs.client.submit import submit
from singlepoint.jobs.errors import (
    EXIT_BROKER_AWAY,
    EXIT_INVALID,
    EXIT_NOT_FOUND,
    EXIT_NOT_NOW,
    EXIT_NOT_PERMITTED,
    EXIT_USAGE,
    InvalidInput,
    NotNow,
    NotPermitted,
    Problem,
    StorageFull,
)
from singlepoint.jobs.host.capacity import Capacity, publish_capacity
from singlepoint.jobs.host.processes import this_process
from singlepoint.jobs.lifecycle.dependencies import After, Condition
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.spec.file import parse_file
from singlepoint.jobs.spec.job import PredictSpec, RunSpec, TrainSpec, from_json
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept

ROOT = Path(__file__).resolve().parents[3]

SPEC = """
kind = "train"
[data]
path = "rows.csv"
target = "label"
[model]
hidden = [4]
[training]
epochs = 3
"""
ROWS = "a,b,label\n" + "".join(f"{i},{i * i},{'yes' if i % 3 else 'no'}\n" for i in range(30))


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "rows.csv").write_text(ROWS)
    path = tmp_path / "tiny.toml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def command(home: Home, redis_url: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command against this home and a real Redis: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = singlepoint.main(["--home", str(home.path), "--redis-url", redis_url, *map(str, arguments)])
        return (code, *capsys.readouterr())

    return run


def test_the_id_alone_is_on_stdout_and_the_job_is_kept_told_of_and_rung_for(
    command: Callable[..., tuple[int, str, str]], spec: Path, store: JobStore, redis_url: str
) -> None:
    code, out, err = command("submit", "train", spec, "--priority", 5, "--memory", "1GiB", "--retries", 2)

    job = store.load(out.strip())
    assert (code, job.name, job.state, job.priority, job.retries) == (0, "tiny", State.PENDING, 5, 2)
    assert job.requests == Resources(1000, 2**30)
    assert from_json(store.spec(job.id)).name == "tiny"
    assert "singlepoint up --detach" in err, "nothing runs, and it is said"
    with redis.Redis.from_url(redis_url) as connection:
        index = Index(connection, open_session(Settings(store.home.path)).home.uuid)
        assert [row["id"] for row in index.summaries()] == [job.id]
        assert index.wait_for_bell(0.1) == [job.id]
    assert command("submit", "train", spec, "-q")[2] == ""


def test_each_amount_has_an_option_of_its_own_and_all_are_read_alike(
    command: Callable[..., tuple[int, str, str]], spec: Path
) -> None:
    amounts = ["--cpu", 2, "--memory", "1GiB", "--storage", "10MB", "--network", "2M"]
    for words in (["train", spec, *amounts, "--dry-run"], ["run", *amounts, "--dry-run", "--", "true"]):
        document = json.loads(command("submit", *words)[1])
        assert document["requests"] == Resources(2000, 2**30, 10_000_000, 2 * 2**20).to_json()
    code, _, err = command("submit", "train", spec, "--network", "fast", "--storage", "-1")
    assert code == EXIT_INVALID and "resources.network" in err and "resources.storage" in err


def test_a_dry_run_prints_the_whole_spec_and_keeps_nothing(
    command: Callable[..., tuple[int, str, str]], spec: Path, store: JobStore
) -> None:
    code, out, _ = command("submit", "train", spec, "--dry-run", "--set", "training.epochs=7")

    document = json.loads(out)
    assert (code, document["schema"], document["spec"]["training"]["epochs"]) == (0, 1, 7)
    assert document["requests"] == {"cpu_millis": 1000, "memory_bytes": 2**29}
    assert store.ids() == []


@pytest.mark.parametrize(
    ("rows", "options", "code", "pieces"),
    [
        (None, [], EXIT_NOT_FOUND, ["rows.csv"]),
        (ROWS, ["--set", "data.target=lable"], EXIT_INVALID, ["lable", "label"]),
        (ROWS.replace("7,49", "seven,49"), [], EXIT_INVALID, ["seven", "a"]),
        (ROWS.replace("7,49", ",49"), [], EXIT_INVALID, ["a"]),
        ("", [], EXIT_INVALID, ["rows.csv"]),
        ("a,b,label\n", [], EXIT_INVALID, ["rows.csv"]),
        (ROWS.replace("no", "yes"), [], EXIT_INVALID, ["yes"]),
        (ROWS.replace("7,49,yes", "7,49,nan"), [], EXIT_INVALID, ["label"]),
        (ROWS, ["--set", "training.epochs=-5"], EXIT_INVALID, ["training.epochs", "at least 1", "-5"]),
        (ROWS, ["--set", "training.epoch=5"], EXIT_INVALID, ["training.epoch", "did you mean epochs?"]),
        (ROWS, ["--memory", "64TiB"], EXIT_INVALID, ["resources.memory", "64 TiB", "4 GiB"]),
        (ROWS, ["--cpu", "9", "--memory", "64TiB"], EXIT_INVALID, ["resources.cpu", "9 cores", "resources.memory"]),
        (ROWS, ["--after", "nobody"], EXIT_NOT_FOUND, ["nobody"]),
        (ROWS, ["--cpu", "many"], EXIT_USAGE, ["many"]),
        (ROWS, ["--set", "training.epochs"], EXIT_USAGE, ["training.epochs", "a.b=value"]),
    ],
)
def test_what_will_not_do_is_refused_before_it_is_kept(
    command: Callable[..., tuple[int, str, str]],
    spec: Path,
    home: Home,
    store: JobStore,
    rows: str | None,
    options: list[str],
    code: int,
    pieces: list[str],
) -> None:
    publish_capacity(home, Capacity(Resources(2000, 2**32), Resources(), (0, 1), this_process(), 0.0))
    data = spec.with_name("rows.csv")
    data.unlink() if rows is None else data.write_text(rows)

    found, out, err = command("submit", "train", spec, *options)

    assert (found, out) == (code, ""), err
    assert [piece for piece in pieces if piece not in err] == []
    assert "Traceback" not in err and "defect" not in err
    assert store.ids() == []


def test_problems_of_the_data_and_of_the_budget_are_told_together(session: Session, home: Home, spec: Path) -> None:
    publish_capacity(home, Capacity(Resources(2000, 2**32), Resources(), (0, 1), this_process(), 0.0))
    big = parse_file(spec, ["resources.cpu=64"])

    def no_such_column(_spec: object) -> None:
        raise InvalidInput(Problem("data.target", "there is no such column"))

    with pytest.raises(InvalidInput) as caught:
        submit(session, big, 0.0, no_such_column)

    assert [problem.field for problem in caught.value.problems] == ["data.target", "resources.cpu"]


def test_several_trainings_are_handed_in_together_or_not_at_all(
    command: Callable[..., tuple[int, str, str]], store: JobStore, spec: Path
) -> None:
    second, bad = spec.with_name("second.toml"), spec.with_name("bad.toml")
    second.write_text(SPEC)
    bad.write_text(SPEC.replace("epochs = 3", "epochs = 0"))

    code, out, err = command("submit", "train", spec, bad, second)
    assert (code, out, store.ids()) == (EXIT_INVALID, "", []) and f"{bad}: training.epochs: must be at least 1" in err
    code, out, _ = command("submit", "train", spec, second, "--priority", 3)
    assert code == 0 and [store.load(job_id).name for job_id in out.split()] == ["tiny", "second"]
    assert command("submit", "train", spec, second, "--follow")[0] == EXIT_USAGE


@pytest.mark.parametrize("name", ["absent.toml", "broken.toml"])
def test_a_missing_spec_and_a_broken_one_are_told_apart(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path, name: str
) -> None:
    (tmp_path / "broken.toml").write_text("a = [")

    code, _, err = command("submit", "train", tmp_path / name)

    assert code == (EXIT_NOT_FOUND if name == "absent.toml" else EXIT_INVALID)
    assert name in err


def test_without_redis_nothing_is_kept_and_the_remedy_is_told(
    spec: Path, home: Home, store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    code = singlepoint.main(["submit", "train", str(spec), "--home", str(home.path)])

    out, err = capsys.readouterr()
    assert (code, out, store.ids()) == (EXIT_BROKER_AWAY, "", [])
    assert "singlepoint up --detach" in err


def test_redis_lost_after_the_job_was_kept_still_prints_its_id(
    session: Session, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_arguments: object, **_more: object) -> None:
        raise redis.ConnectionError("gone")

    session.require_redis()
    monkeypatch.setattr(session.connection, "pipeline", gone)

    submitted = submit(session, parse_file(spec), 0.0)

    assert submitted.ahead is None
    assert session.store.load(submitted.job.id).state is State.PENDING


@pytest.mark.parametrize("place", ["/sys/singlepoint", "/proc/singlepoint", "tiny.toml", "tiny.toml/home"])
def test_a_home_that_cannot_be_written_is_named(spec: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    home = spec.parent / place  # where not even root may write, on Linux; elsewhere it does not exist and cannot

    assert singlepoint.main(["--home", str(home), "submit", "train", str(spec)]) == EXIT_NOT_PERMITTED
    err = capsys.readouterr().err
    assert str(home) in err and "--home" in err


@pytest.fixture
def model(spec: Path, home: Home) -> Path:
    """A model of the two columns `a` and `b`, as version 1 of `tiny`."""
    from singlepoint.worker.fitting.loading import load_training_set
    from singlepoint.worker.fitting.training import new_network, new_trainer, trained_model
    from singlepoint.worker.models import files

    wish = parse_file(spec)
    assert isinstance(wish, TrainSpec)
    data = load_training_set(wish, spec.parent)
    trainer = new_trainer(new_network(wish, data), wish.training, data)
    place = home.models / "tiny" / "1"
    files.save(trained_model(trainer, data, {}), place)
    return place


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("options", "spoil", "code", "pieces"),
    [
        ({"--model": "absent"}, None, EXIT_NOT_FOUND, ["no model absent", "singlepoint models"]),
        ({"--model": "tiny/9"}, None, EXIT_NOT_FOUND, ["tiny/9"]),
        ({"--input": "absent.csv"}, None, EXIT_NOT_FOUND, ["absent.csv"]),
        (
            {"--model": "m.onnx"},
            lambda _model, rows: (rows.parent / "m.onnx").write_text("."),
            EXIT_INVALID,
            ["model: m.onnx", "exported", "name the model.json"],
        ),
        ({"--model": "m.onnx"}, None, EXIT_NOT_FOUND, ["m.onnx"]),
        (
            {},
            lambda _model, rows: rows.write_text("a,b\n1,2\n3,four\n,6\n"),
            EXIT_INVALID,
            ["input: rows.csv, row 2, column 'b': 'four' is not a number (give what the model was trained on"],
        ),
        (
            {},
            lambda _model, rows: rows.write_text("a,b\n1,2\n,6\n"),
            EXIT_INVALID,
            ["input: rows.csv, row 2, column 'a': the number is missing (the model learned nothing to put there"],
        ),
        (
            {},
            lambda _model, rows: rows.write_text("a,b\n1,2\n3\n"),
            EXIT_INVALID,
            ["input: rows.csv, row 2: has 1 cells", "set separator"],
        ),
        (
            {"--input": "."},
            lambda _m, rows: (rows.parent / "deep" / "er").mkdir(parents=True),
            EXIT_INVALID,
            ["input: "],
        ),
        ({}, lambda model, rows: damage(model / "model.safetensors"), EXIT_INVALID, ["model.safetensors"]),
        ({}, lambda model, rows: (model / "model.json").write_text("{"), EXIT_INVALID, ["model.json"]),
        (
            {},
            lambda model, rows: (model / "model.safetensors").unlink(),
            EXIT_INVALID,
            ["model.safetensors", "missing"],
        ),
        ({}, lambda model, rows: rows.write_text("a,c\n1,2\n"), EXIT_INVALID, ["'b'"]),
        ({}, lambda model, rows: rows.write_text(""), EXIT_INVALID, ["input: rows.csv: is empty"]),
        ({"--output": "out.xml"}, None, EXIT_INVALID, ["output", ".csv or .npy"]),
        ({"--output": "absent/out.csv"}, None, EXIT_NOT_FOUND, ["absent"]),
        ({"--output": "rows.csv"}, None, EXIT_INVALID, ["output", "input"]),
        ({"--output": None}, None, EXIT_INVALID, ["output: is missing"]),
        ({"--output": "."}, None, EXIT_INVALID, ["output", ".csv or .npy"]),
        ({"--output": "f.csv"}, lambda _model, rows: (rows.parent / "f.csv").mkdir(), EXIT_INVALID, ["is a directory"]),
        ({"--output": "o" * 300 + ".csv"}, None, EXIT_INVALID, ["output: its name", "too long"]),
        ({"--output": "o" * 240 + ".csv"}, None, EXIT_INVALID, ["output: its name is 9 bytes too long"]),
        ({"--output": "o" * 300 + "/out.csv"}, None, EXIT_INVALID, ["output: File name too long"]),
        ({"--input": "i" * 300 + ".csv"}, None, EXIT_INVALID, ["input: File name too long"]),
        ({"--model": "m" * 300}, None, EXIT_INVALID, ["model: File name too long"]),
        ({"--output": None, "--set": 'output="o\\u0000.csv"'}, None, EXIT_INVALID, ["output: must not hold a NUL"]),
        ({"--input": None, "--set": 'input="i\\u0000.csv"'}, None, EXIT_INVALID, ["input: must not hold a NUL"]),
    ],
)
def test_a_prediction_that_cannot_be_made_is_refused_before_it_is_kept(
    command: Callable[..., tuple[int, str, str]],
    model: Path,
    store: JobStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str | None],
    spoil: Callable[[Path, Path], object] | None,
    code: int,
    pieces: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if spoil is not None:
        spoil(model, tmp_path / "rows.csv")
    given = {"--model": "tiny", "--input": "rows.csv", "--output": "out.csv", **options}

    found, out, err = command("submit", "predict", *(word for pair in given.items() if pair[1] for word in pair))

    assert (found, out) == (code, ""), err
    assert [piece for piece in pieces if piece not in err] == [], err
    assert "Traceback" not in err and "defect" not in err
    assert store.ids() == []


def test_a_model_by_name_is_the_version_that_was_newest_when_it_was_asked_for(
    command: Callable[..., tuple[int, str, str]], model: Path, store: JobStore, tmp_path: Path
) -> None:
    options = ["--model", "tiny", "--input", tmp_path / "rows.csv", "--output", tmp_path / "out.csv"]

    code, out, _ = command("submit", "predict", *options)

    stored = from_json(store.spec(out.strip()))
    assert isinstance(stored, PredictSpec)
    assert (code, stored.name, stored.model) == (0, "out", str(model))


@pytest.mark.parametrize(
    "words",
    [
        ["--input", "b.csv", "--input", "a.csv", "--input=parts"],
        ["--input", "b.csv", "a.csv", "parts"],
        ["--input=b.csv", "a.csv", "score.toml", "--input", "parts/*.csv"],
        ["score.toml", "--input", "b.csv", "a.csv", "parts"],
    ],
)
def test_every_file_that_is_named_is_scored_in_the_order_given(
    command: Callable[..., tuple[int, str, str]],
    model: Path,
    store: JobStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "score.toml").write_text("")
    files = [tmp_path / name for name in ("b.csv", "a.csv", "parts/1.csv", "parts/2.csv")]
    for file in files:
        file.write_text("a,b\n1,2\n")

    code, out, err = command("submit", "predict", "--model", "tiny", "--output", "out.csv", *words)

    assert code == 0, err
    stored = from_json(store.spec(out.strip()))
    assert isinstance(stored, PredictSpec)
    assert stored.input == tuple(map(str, files))


def test_a_prediction_waits_for_the_training_that_makes_its_model(session: Session, spec: Path, tmp_path: Path) -> None:
    training = submit(session, parse_file(spec), 0.0).job
    options = {"model": training.name, "input": str(tmp_path / "rows.csv"), "output": str(tmp_path / "out.csv")}
    file = tmp_path / "score.toml"
    file.write_text("")

    job = submit(session, parse_file(file, (), options, kind="predict"), 1.0).job

    stored = from_json(session.store.spec(job.id))
    assert isinstance(stored, PredictSpec)
    assert (stored.model, job.after) == (training.id, (After(training.id),))


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [(errno.EACCES, NotPermitted, EXIT_NOT_PERMITTED), (errno.EIO, InvalidInput, EXIT_INVALID)],
)
def test_a_file_the_system_refuses_is_told_by_the_field_that_named_it(
    session: Session, spec: Path, number: int, kind: type[NotPermitted] | type[InvalidInput], code: int
) -> None:
    def refused(wish: TrainSpec | PredictSpec) -> None:
        raise OSError(number, os.strerror(number), str(spec.parent / "rows.csv"))

    with pytest.raises(kind, match=r"data\.path: .*rows\.csv") as caught:
        submit(session, parse_file(spec), 0.0, refused)
    assert caught.value.exit_code == code


def test_jobs_to_come_after_are_named_by_any_word_each_with_its_condition(session: Session, spec: Path) -> None:
    first, last = accept(session.store, at=1.0, name="first"), accept(session.store, at=2.0)

    job = submit(session, parse_file(spec, ["after=['first:failed', 'last:any']"]), 3.0).job

    assert job.after == (After(first.id, Condition.FAILED), After(last.id, Condition.ANY))


@pytest.mark.parametrize(
    ("after", "code"),
    [("nosuchjob:any", EXIT_NOT_FOUND), ("k3v:done", EXIT_INVALID), ("itself", EXIT_NOT_FOUND)],
)
def test_what_nobody_can_come_after_is_refused_and_so_no_circle_comes_about(
    command: Callable[..., tuple[int, str, str]], spec: Path, after: str, code: int
) -> None:
    refused, out, err = command("submit", "train", spec, "--name", "itself", "--after", after)
    assert (refused, out) == (code, "") and after.partition(":")[0] in err


def test_a_job_that_failed_can_be_come_after_when_that_is_what_was_waited_for(session: Session, spec: Path) -> None:
    gone = accept(session.store)
    session.store.move(gone.id, Event.CANCEL, 1.0)
    job = submit(session, parse_file(spec, [f"after=['{gone.id}:failed']"]), 2.0).job
    assert (job.state, [one.job for one in job.after]) == (State.PENDING, [gone.id])


def test_a_job_cannot_wait_for_one_that_failed(session: Session, spec: Path) -> None:
    gone = accept(session.store)
    session.store.move(gone.id, Event.CANCEL, 1.0)

    with pytest.raises(NotNow, match="must come first") as caught:
        submit(session, parse_file(spec, [f"after=['{gone.id}']"]), 0.0)
    assert caught.value.exit_code == EXIT_NOT_NOW


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("submit.mkdir", False),
        ("submit.spec", False),
        ("submit.history", False),
        ("submit.accept", False),
        ("index.tell", True),
    ],
)
def test_killed_before_any_write_a_job_is_kept_whole_or_not_at_all(
    spec: Path, home: Home, store: JobStore, redis_url: str, place: str, kept: bool
) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from singlepoint.jobs.client.session import Settings, open_session\n"
        "from singlepoint.jobs.spec.file import parse_file\n"
        "from singlepoint.jobs.client.submit import submit\n"
        "session = open_session(Settings(Path(sys.argv[1]), sys.argv[2]))\n"
        "print(submit(session, parse_file(sys.argv[3]), 1.0).job.id, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SINGLEPOINT_FAILPOINT": f"{place}:kill"}

    done = subprocess.run(
        [sys.executable, "-c", program, str(home.path), redis_url, str(spec)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (-9, "")
    store.sweep_unaccepted(math.inf)
    assert len(os.listdir(home.jobs)) == len(store.ids()) == int(kept)
    for job_id in store.ids():
        assert store.load(job_id).state is State.PENDING
        assert from_json(store.spec(job_id)).kind == "train"
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.keys() == [], "Redis heard of nothing"


def test_a_full_disk_keeps_nothing_and_is_told_as_such(
    spec: Path, home: Home, store: JobStore, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    session.require_redis()
    parsed = parse_file(spec)
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(StorageFull):
        submit(session, parsed, 0.0)
    assert list(home.jobs.iterdir()) == []


def test_python_submits_the_same_from_a_dict_or_a_file(
    spec: Path, home: Home, store: JobStore, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spec.parent)
    document: dict[str, Any] = {"data": {"path": "rows.csv", "target": "label"}, "model": {"hidden": [4]}}

    first = singlepoint.submit(spec, home.path, redis_url)
    second = singlepoint.submit({**document, "name": "tiny", "training": {"epochs": 3}}, home.path, redis_url)

    assert store.spec(first) == store.spec(second)
    assert find_job(store, first) == first


def test_python_is_told_of_the_data_what_the_command_tells(
    spec: Path, home: Home, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"{n},{n % 7},{'ab'[n % 2]}" for n in range(60)]
    (spec.parent / "rows.csv").write_text("\n".join(["id,x,label", *rows]))

    told = singlepoint.submit(spec, home.path, redis_url).told

    assert any("60 rows" in line for line in told)
    assert [f"warning: {record.message}" for record in caplog.records] == [
        line for line in told if line.startswith("warning: ")
    ]
    assert any("'id'" in record.message for record in caplog.records)


@pytest.mark.skipif(sys.platform != "linux", reason="this machine has no /proc")
def test_the_order_of_writes_is_spec_history_directory_rename_parent_then_redis(
    session: Session, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill cannot prove what a power cut would leave, so the calls are recorded."""
    calls: list[str] = []
    fsync, rename, execute = os.fsync, os.rename, session.connection.pipeline

    def name_of(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    def recorded_fsync(descriptor: int) -> None:
        calls.append(f"sync {name_of(descriptor).partition('-')[0]}")
        fsync(descriptor)

    def recorded_rename(before: Path, after: Path) -> None:
        calls.append(f"rename {Path(before).name.partition('-')[0]}")
        rename(before, after)

    def recorded_pipeline(*arguments: Any, **more: Any) -> Any:
        calls.append("redis")
        return execute(*arguments, **more)

    parsed = parse_file(spec)
    session.require_redis()
    session.store.going_on.add([])  # its directory is there
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", recorded_rename)
    monkeypatch.setattr(session.connection, "pipeline", recorded_pipeline)
    submit(session, parsed, 0.0)

    written = ["sync spec.json", "sync history.jsonl", "sync .new", "sync going"]
    assert calls == [*written, "rename .new", "sync jobs", "redis"]


def test_the_words_after_two_dashes_are_the_commands_own(
    command: Callable[..., tuple[int, str, str]], store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAKEN", "from here")
    words = ("sh", "--name", "x", "-q", "--")

    code, out, err = command("submit", "run", "--env=TOKEN=s3cret", "--env=TAKEN", "--time-limit=2h", "--", *words)

    assert code == 0, err
    spec = from_json(store.spec(out.strip()))
    assert isinstance(spec, RunSpec)
    assert (spec.command, spec.name) == (words, "sh")
    assert (spec.cwd, spec.time_limit_s) == (str(tmp_path), 7200)
    kept = json.loads(store.home.job_files(out.strip()).environment.read_text())
    assert (kept["TOKEN"], kept["TAKEN"]) == ("s3cret", "from here")
    assert "s3cret" not in command("submit", "run", "--dry-run", "--env", "TOKEN=s3cret", "--", "sh")[1]


@pytest.mark.parametrize(
    ("words", "code", "piece"),
    [
        (("run",), EXIT_USAGE, "there is nothing to run"),
        (("run", "--", "no-such-program"), EXIT_INVALID, "there is no program 'no-such-program'"),
        (("run", "--env", "SINGLEPOINT_X=1", "--", "sh"), EXIT_INVALID, "one of singlepoint's own"),
        (("run", "--env", "NOT_SET_HERE", "--", "sh"), EXIT_USAGE, "there is no such variable here"),
        (("run", "--cwd", "nowhere", "--", "sh"), EXIT_NOT_FOUND, "is no directory"),
        (("run", "--input", "nowhere", "--", "sh"), EXIT_NOT_FOUND, "inputs[0]"),
        (("run", "--input", "pipe", "--", "sh"), EXIT_NOT_FOUND, "is a pipe or a device"),
        (("run", "--output", ".", "--", "sh"), EXIT_INVALID, "is there, and not empty"),
        (("run", "--output", "a/b/c", "--", "sh"), EXIT_NOT_FOUND, "does not exist"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(
    command: Callable[..., tuple[int, str, str]],
    store: JobStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    piece: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")

    answered, _, err = command("submit", *words)

    assert (answered, store.ids()) == (code, [])
    assert piece in err
