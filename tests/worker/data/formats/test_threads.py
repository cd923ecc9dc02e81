"""A table read in several threads: the same tiles, in their order, and the same trouble after them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.worker.data.formats import open_table, tile, training
from singlepoint.worker.data.formats.tile import Table, Tile, Wanted, parsed

WANTED = Wanted(numbers=["a", "b"], words=["w"])


def rows(number: int) -> list[str]:
    return [f"{n}.5,{n / 7!r},{'x' if n % 3 else ' a word '}" for n in range(number)]


def a_csv(folder: Path, lines: list[str]) -> Table:
    path = folder / "table.csv"
    path.write_text("\n".join(["a,b,w", *lines, ""]))
    return open_table(path)


def a_parquet(folder: Path, lines: list[str]) -> Table:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cells = [line.split(",") for line in lines]
    columns = {"a": [float(c[0]) for c in cells], "b": [float(c[1]) for c in cells], "w": [c[2] for c in cells]}
    parquet.write_table(arrow.table(columns), folder / "table.parquet")
    return open_table(folder / "table.parquet")


@pytest.mark.parametrize("written", [a_csv, a_parquet])
def test_a_table_read_in_threads_is_the_same(written: Callable[[Path, list[str]], Table], tmp_path: Path) -> None:
    table = written(tmp_path, rows(1000))
    alone, together = (list(table.tiles(None, 64, WANTED, threads)) for threads in (1, 3))
    assert [tile.first_row for tile in together] == [tile.first_row for tile in alone] == list(range(0, 1000, 64))
    for one, other in zip(alone, together, strict=True):
        assert one.cursor == other.cursor
        for name in ("a", "b"):
            np.testing.assert_array_equal(one.raw[name], other.raw[name])  # type: ignore[call-overload]
        assert one.raw["w"].tolist() == other.raw["w"].tolist()  # type: ignore[call-overload]


def test_the_first_trouble_of_the_file_is_the_one_that_is_told(tmp_path: Path) -> None:
    lines = rows(1000)
    lines[70] = "1,2"
    lines[900] = '1,"never ends,3'
    for threads in (1, 3):
        tiles = a_csv(tmp_path, lines).tiles(None, 64, WANTED, threads)
        assert next(tiles).whole().first_row == 0
        with pytest.raises(InvalidInput, match="row 71: has 2 cells"):
            next(tiles).whole()


def test_rows_before_a_damaged_place_come_first_and_threads_end() -> None:
    def pieces() -> Iterator[int]:
        yield from range(5)
        raise InvalidInput(Problem("table.csv", "damaged"))

    before = threading.active_count()
    tiles = parsed([lambda row: Tile({}, 1, row, {})] * 2, pieces())
    assert [tile.first_row for tile in islice(tiles, 5)] == list(range(5))
    with pytest.raises(InvalidInput, match="damaged"):
        next(tiles)
    assert threading.active_count() == before


def test_no_more_pieces_are_taken_than_there_are_threads_to_parse_them() -> None:
    taken = []

    def pieces() -> Iterator[int]:
        for row in range(100):
            taken.append(row)
            yield row

    tiles = parsed([lambda row: Tile({}, 1, row, {})] * 2, pieces())
    next(tiles)
    assert len(taken) == 3
    del tiles


def test_all_threads_are_told_to_end_before_one_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []

    class Told(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            told.append(wait)
            super().shutdown(wait, cancel_futures=cancel_futures)

    monkeypatch.setattr(tile, "ThreadPoolExecutor", Told)
    assert len(list(parsed([lambda row: Tile({}, 1, row, {})] * 3, iter(range(4))))) == 4
    assert told == [False] * 3 + [True] * 3, "a request to stop that comes in between leaves none at work"


def test_a_look_at_the_first_rows_reads_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_csv(tmp_path, rows(3000))
    monkeypatch.setattr(training, "usable_cores", lambda: 8)
    asked: list[int] = []
    tiles = Table.tiles
    monkeypatch.setattr(
        Table,
        "tiles",
        lambda table, cursor, tile_rows, wanted, threads=1: (
            asked.append(threads) or tiles(table, cursor, tile_rows, wanted, threads)
        ),
    )
    for most_cells, threads in ((100, 1), (None, training.MOST_THREADS)):
        training.read_training_data(
            DataSpec(path="table.csv", target="a"),
            PreprocessingSpec(categorical=("w",)),
            tmp_path,
            most_cells=most_cells,
        )
        assert max(asked) == threads
