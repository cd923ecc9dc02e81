"""`singlepoint simulate`: a document, a table, a page; and plain words for what it can't do."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from singlepoint import main
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.store.home import Home
from singlepoint.scheduler import simulate as command
from tests.scheduler.pretend import Bench
from tests.scheduler.simulation.test_workload import TRACE


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "small.swf.gz"
    path.write_bytes(gzip.compress(TRACE.encode()))
    return path


def run(capsys: pytest.CaptureFixture[str], home: Home, *words: object) -> tuple[int, str, str]:
    code = main(["--home", str(home.path), "simulate", *map(str, words)])
    return (code, *capsys.readouterr())


@pytest.mark.parametrize(
    ("words", "code", "piece"),
    [
        (".", 65, "not a regular file"),
        ("pipe", 65, "not a regular file"),
        ("none.swf", 66, "no trace none.swf"),
        ("small.swf.gz --html nowhere/x.html", 66, "nowhere/x.html"),
        ("small.swf.gz --csv nowhere/x.csv", 66, "nowhere/x.csv"),
        ("small.swf.gz --csv .", 65, "is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_or_written_is_told(
    home: Home,
    trace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    code: int,
    piece: str,
) -> None:
    monkeypatch.chdir(trace.parent)
    os.mkfifo("pipe")
    answered, _, err = run(capsys, home, *words.split())
    assert answered == code and piece in err


def test_the_slowdown_is_at_the_top_of_the_document(
    home: Home, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, home, trace, "--policy", "easy", "--json")
    document = json.loads(out)
    assert (code, document["schema"], document["jobs"], document["cores"]) == (0, 1, 3, 8)
    assert document["average_bounded_slowdown"] == 1.0


def test_another_machine_and_a_squeeze_make_it_wait(
    home: Home, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, home, trace, "--policy", "fifo", "--budget", "cpu=4", "--squeeze", "0.1", "--json")
    document = json.loads(out)
    assert document["cores"] == 4
    assert document["wait_max_s"] > 40


def test_the_table_and_the_page_are_written_and_people_get_words(
    home: Home, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, pictures = tmp_path / "jobs.csv", tmp_path / "page.html"
    code, out, _ = run(capsys, home, trace, "--csv", table, "--html", pictures)
    assert code == 0 and "average bounded slowdown  1.00" in out
    assert table.read_text().splitlines()[0].startswith("job,submit_s,start_s")
    assert len(table.read_text().splitlines()) == 4
    assert "<svg" in pictures.read_text()


def test_what_it_cannot_do_is_said(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junk = tmp_path / "junk.swf"
    junk.write_text("not a trace\n")
    assert run(capsys, home)[0] == 64
    assert run(capsys, home, tmp_path / "none.swf")[0] == 66
    code, _, err = run(capsys, home, junk)
    assert code == 65 and "line 1 is no line" in err
    assert run(capsys, home, "--history")[0] == 64


# --- the line as it stands ----------------------------------------------------------------------------------------


@pytest.fixture
def standing(session: Session, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Two cores: one job runs on both, one waits for both, one for one."""
    monkeypatch.setattr(command, "open_session", lambda _settings: session)
    bench = Bench(session.store, session.connection, cpu=2)
    for name, cpu in (("run", 2), ("wide", 2), ("narrow", 1)):
        bench.submit(name=name, requests=Resources(1000 * cpu, 512 * 2**20).to_json())
    bench.look()
    bench.claim()
    bench.look(1.0)
    return bench


def spec(tmp_path: Path, **fields: object) -> Path:
    path = tmp_path / "more.toml"
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"kind": "run", "command": ["true"], **fields}.items()]
    path.write_text("\n".join(lines))
    return path


def test_the_queue_as_it_stands_is_played_to_its_end(
    standing: Bench, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, session.home, "--now", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert (document["jobs"], document["cores"], document["policy"]) == (3, 2, "fifo")
    assert document["wait_max_s"] > 0 and 0 < document["utilisation"] <= 1 and "added" not in document
    _, wider, _ = run(capsys, session.home, "--now", "--budget", "cpu=8,memory=64GiB", "--json")
    assert json.loads(wider)["wait_max_s"] < document["wait_max_s"]


def test_a_job_that_is_added_is_told_when_and_whom_it_makes_later_and_nothing_is_handed_in(
    standing: Bench, session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = session.store.ids()
    code, out, err = run(capsys, session.home, "--now", "--add", spec(tmp_path, priority=5), "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["jobs"] == 4 and [one["name"] for one in document["added"]] == ["more"]
    assert document["added"][0]["eta"]["start"]["p50"] and document["later_s"]
    assert sorted(session.store.ids()) == sorted(before)
    _, words, _ = run(capsys, session.home, "--now", "--add", spec(tmp_path, priority=5))
    assert "more: starts " in words and "later, " in words
    _, out, _ = run(capsys, session.home, "--now", "--add", spec(tmp_path, priority=-5), "--json")
    assert json.loads(out)["later_s"] == {}, "it goes last"


def test_what_cannot_be_played_from_now_on_is_said(
    home: Home, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, home, "--now", trace)[0] == 64
    assert run(capsys, home, trace, "--add", spec(tmp_path))[0] == 64
    code, _, err = run(capsys, home, "--now")
    assert code == 75 and "singlepoint up" in err
