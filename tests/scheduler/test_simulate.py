"""`singlepoint simulate`: a document, a table, a page; and plain words for what it can't do."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from singlepoint import main
from singlepoint.jobs.store.home import Home
from tests.scheduler.simulation.test_workload import TRACE


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "small.swf.gz"
    path.write_bytes(gzip.compress(TRACE.encode()))
    return path


def run(capsys: pytest.CaptureFixture[str], home: Home, *words: object) -> tuple[int, str, str]:
    code = main(["--home", str(home.path), "simulate", *map(str, words)])
    return (code, *capsys.readouterr())


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
