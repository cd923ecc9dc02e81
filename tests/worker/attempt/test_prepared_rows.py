"""Rows that were prepared once are kept for the next attempt and other jobs on the same data; nothing depends on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.worker.fitting import prepared, shared
from tests.worker.making import TRAINING, Maker

FEW = {"training": {"epochs": 2}}


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Where also a small table is worth keeping."""
    monkeypatch.setattr(prepared, "LEAST_SOURCE_BYTES", 1)
    return Maker(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of a training that keeps nothing."""
    calm = Maker(tmp_path_factory.mktemp("calm"))
    weights = succeeded(calm.make(calm.submit(**FEW)))
    assert entries(calm) == []
    return weights


def succeeded(job: Job) -> str:
    assert job.state is State.SUCCEEDED and job.result is not None, job
    return str(job.result["sha256"])


def entries(maker: Maker) -> list[Path]:
    return sorted(maker.home.prepared.glob("*")) if maker.home.prepared.exists() else []


def said(maker: Maker, job_id: str, word: str) -> int:
    return maker.home.job_files(job_id).log.read_text().count(word)


@pytest.mark.parametrize("place", ["prepared.rename", "prepared.offer", "metrics.write@2"])
def test_wherever_an_attempt_dies_over_its_prepared_rows_the_weights_are_the_same(
    maker: Maker, undisturbed: str, place: str
) -> None:
    job_id = maker.submit(**FEW)
    assert maker.make(job_id, f"{place}:kill").attempts[-1].end == "killed"
    assert succeeded(maker.make(job_id)) == undisturbed
    assert said(maker, job_id, "prepared_rows_taken") == (place != "prepared.rename")
    assert not maker.home.job_files(job_id).prepared.exists()
    assert not list(maker.home.path.rglob(".*.tmp"))


def test_another_job_on_the_same_data_reads_no_file(maker: Maker, undisturbed: str) -> None:
    maker.make(maker.submit(**FEW))
    [entry] = entries(maker)
    second = maker.submit(**FEW, model={"hidden": [8], "dropout": 0.1})
    assert succeeded(maker.make(second)) == undisturbed
    assert said(maker, second, "shared_rows_taken") == 1 and entries(maker) == [entry]
    another = maker.submit(training={"epochs": 2, "seed": 8})  # other rows are held back
    maker.make(another)
    assert said(maker, another, "shared_rows_taken") == 0 and len(entries(maker)) == 2


def test_the_bytes_of_the_files_decide_where_their_times_do_not(maker: Maker, undisturbed: str) -> None:
    maker.make(maker.submit(**FEW))
    source = maker.directory / "wdbc.csv"
    content = source.read_bytes()
    source.unlink()
    source.write_bytes(content)
    same = maker.submit(**FEW)
    assert succeeded(maker.make(same)) == undisturbed and said(maker, same, "shared_rows_taken") == 1
    source.write_bytes(content.replace(b"17.99", b"18.99", 1))
    other = maker.submit(**FEW)
    assert succeeded(maker.make(other)) != undisturbed and said(maker, other, "shared_rows_taken") == 0


def test_the_same_bytes_for_another_use_are_other_rows(maker: Maker) -> None:
    """Which array of an archive is meant, and which rows are only to measure on."""
    x, y = np.linspace(-1, 1, 40, dtype=np.float32).reshape(20, 2), np.arange(20) % 2
    np.savez(maker.directory / "m.npz", x=x, one=y, other=6 - y)
    table = (maker.directory / "wdbc.csv").read_text().splitlines(keepends=True)
    (maker.directory / "a.csv").write_text("".join(table[:300]))
    (maker.directory / "b.csv").write_text("".join([table[0], *table[300:]]))
    uses: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({**TRAINING, "data": {}}, [{"path": "m.npz", "target_path": f"m.npz[{name}]"} for name in ("one", "other")]),
        (TRAINING, [{"path": ["a.csv", "b.csv"]}, {"path": "a.csv", "validation_path": "b.csv"}]),
    ]
    for spec, pair in uses:
        ids = [maker.submit(spec, data=data, **FEW) for data in pair]
        weights = [succeeded(maker.make(job_id)) for job_id in ids]
        assert len(set(weights)) == 2 and said(maker, ids[1], "shared_rows_taken") == 0, pair
    (maker.directory / "b.csv").rename(maker.directory / "called otherwise.csv")
    last = maker.submit(data={"path": "a.csv", "validation_path": "called otherwise.csv"}, **FEW)
    assert succeeded(maker.make(last)) == weights[1] and said(maker, last, "shared_rows_taken") == 1


def test_a_damaged_entry_is_read_by_nobody_and_goes(maker: Maker, undisturbed: str) -> None:
    maker.make(maker.submit(**FEW))
    [entry] = entries(maker)
    with entry.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\1" * 8)
    job_id = maker.submit(**FEW)
    assert succeeded(maker.make(job_id)) == undisturbed and said(maker, job_id, "shared_rows_taken") == 0


def test_what_no_job_holds_goes_first_used_first_once_it_is_too_much(maker: Maker) -> None:
    shelf = maker.home.prepared
    shelf.mkdir()
    for place, name in enumerate(("oldest", "held", "newest")):
        (shelf / name).write_bytes(bytes(100))
        os.utime(shelf / name, (place, place))
    os.link(shelf / "held", maker.directory / "own")
    for most, left in ((300, {"oldest", "held", "newest"}), (250, {"held", "newest"}), (0, {"held"})):
        maker.home.settings.write_text(f"[prepared]\nmost = {most}\n")
        shared.make_room(maker.home)
        assert {path.name for path in entries(maker)} == left


def test_an_owner_who_allows_none_has_none_kept(maker: Maker, undisturbed: str) -> None:
    maker.home.settings.write_text('[prepared]\nmost = "0"\n')
    job_id = maker.submit(**FEW)
    maker.make(job_id, "metrics.write@2:kill")
    assert succeeded(maker.make(job_id)) == undisturbed
    assert entries(maker) == [] and said(maker, job_id, "prepared_rows_taken") == 0
