"""Packed files: the same table, from the start and from any row."""

from __future__ import annotations

import gzip
import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.data.formats import open_table, streams
from singlepoint.worker.data.formats.tile import Wanted

TEXT = "a,y\n" + "".join(f"{i}.5,{'pq'[i % 2]}\n" for i in range(100))


def by_zstd(content: bytes) -> bytes:
    arrow = pytest.importorskip("pyarrow", reason="this machine has no pyarrow")
    return bytes(arrow.compress(content, codec="zstd", asbytes=True))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".zst", by_zstd)])
def test_a_packed_table_is_the_table(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes], mark: str) -> None:
    (tmp_path / f"t.csv{ending}").write_bytes(pack((mark + TEXT).encode()))
    table = open_table(tmp_path / f"t.csv{ending}")
    first, *rest = table.tiles(None, 30, Wanted(["a"], ["y"]))
    again = list(table.tiles(first.cursor, 30, Wanted(["a"], ["y"])))
    values = [value for tile in (first, *rest) for value in tile.raw["a"].tolist()]  # type: ignore[call-overload]
    assert values == [i + 0.5 for i in range(100)]
    assert [tile.first_row for tile in again] == [30, 60, 90]


def test_zstd_without_what_unpacks_it_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv.zst").write_bytes(b"anything")
    monkeypatch.setitem(importlib.import_module("sys").modules, "pyarrow", None)
    monkeypatch.setattr(streams.importlib, "import_module", missing)
    with pytest.raises(InvalidInput, match="unpacking zstd needs"):
        open_table(tmp_path / "t.csv.zst")


def missing(name: str) -> None:
    raise ImportError(name)
