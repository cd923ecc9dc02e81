"""What reading takes is bounded: memory by the tile, work by the cells, whatever a file's shape or what it claims."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.worker.data.formats import open_array, open_table, streams, training
from singlepoint.worker.data.formats.tile import Wanted
from singlepoint.worker.data.formats.training import RawData, read_training_data

MIB = 1 << 20


def a_wide_table(folder: Path, columns: int) -> Path:
    path = folder / f"{columns}.csv"
    rows = [",".join([*(f"{(row + n) % 10}.5" for n in range(columns - 1)), "pq"[row % 2]]) for row in range(8)]
    path.write_text("\n".join([",".join([*(f"c{n}" for n in range(columns - 1)), "y"]), *rows, ""]))
    return path


def read(path: Path) -> RawData:
    return read_training_data(DataSpec(path=str(path), target="y"), PreprocessingSpec(categorical="auto"), path.parent)


def calls(work: Callable[[], object]) -> int:
    """How many functions `work` calls, of Python and of C."""
    count = 0

    def counted(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_twenty_thousand_columns_are_read(tmp_path: Path) -> None:
    raw = read(a_wide_table(tmp_path, 20_000))
    assert isinstance(raw.x, dict) and len(raw.x) == 19_999
    assert raw.x["c19998"].tolist() == [float((row + 19_998) % 10) + 0.5 for row in range(8)]


def test_the_work_of_a_wide_table_grows_with_its_columns_not_their_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "usable_cores", lambda: 1)  # calls are counted in this thread
    narrow, wide = (a_wide_table(tmp_path, columns) for columns in (1000, 4000))
    read(narrow)  # what happens but once
    assert calls(lambda: read(wide)) < 5 * calls(lambda: read(narrow))


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_line_without_end_is_refused_before_it_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LINE_BYTES", MIB)
    path = tmp_path / name
    row = {"t.csv": "1,2\n", "t.jsonl": '{"a": 1, "b": 2}\n'}[name]
    path.write_text(("a,b\n" if name == "t.csv" else "") + row * 50_000 + "9" * (20 * MIB))
    table = open_table(path)
    tracemalloc.start()
    with pytest.raises(InvalidInput, match=r"after row \d+: a line is longer than 1 MiB"):
        sum(tile.rows for tile in table.tiles(None, 256, Wanted(numbers=["a", "b"])))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * MIB


def test_json_lines_take_the_memory_of_a_tile(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text((json.dumps({"a": 1.5, "b": 2.5, "w": "a word" * 20}) + "\n") * 30_000)
    wanted = Wanted(numbers=["a", "b"], words=["w"])
    table = open_table(path)
    next(table.tiles(None, 256, wanted))
    tracemalloc.start()
    assert sum(tile.rows for tile in table.tiles(None, 256, wanted)) == 30_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MIB < path.stat().st_size


def test_parquet_takes_the_memory_of_a_tile_not_of_a_row_group(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = 1_000_000
    values = np.random.default_rng(0).normal(size=rows)
    parquet.write_table(arrow.table({"a": values, "b": values}), tmp_path / "t.parquet", row_group_size=rows)
    del values
    table = open_table(tmp_path / "t.parquet")
    before, most = arrow.total_allocated_bytes(), 0
    for _tile in table.tiles(None, 4096, Wanted(numbers=["a", "b"])):
        most = max(most, arrow.total_allocated_bytes() - before)
    assert table.rows == rows
    assert most < 8 * MIB < 16 * rows


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_array_that_claims_more_than_its_file_has_is_refused_and_not_allocated(packing: int, tmp_path: Path) -> None:
    claim = io.BytesIO()
    np.lib.format.write_array_header_1_0(claim, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 4)})
    with zipfile.ZipFile(tmp_path / "t.npz", "w", packing) as archive:
        archive.writestr("x.npy", claim.getvalue() + bytes(64))
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="bytes of values, but there are 64"):
        open_array(tmp_path / "t.npz").read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MIB
