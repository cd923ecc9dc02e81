"""Whether pyarrow is installed or not, a file holds the same cells, to the last bit, and is refused for the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DialectFields
from singlepoint.worker.data.formats import arrow_csv
from singlepoint.worker.data.formats.delimited import CsvFile
from singlepoint.worker.data.formats.tile import Reject, Tile, Wanted
from singlepoint.worker.nn.arrays import Array

EXAMPLES = int(os.environ.get("SINGLEPOINT_EXAMPLES", "100"))
SAID = DialectFields(separator=",", decimal=".", thousands="", comment="", encoding="utf-8", quote='"')
WANTED = Wanted(numbers=["a", "b"], words=["w"], missing=("", "NA", "-999"))

pytestmark = pytest.mark.skipif(arrow_csv._csv() is None, reason="this machine has no pyarrow")

numbers = st.floats().map(repr) | st.integers().map(str) | st.from_regex(r"-?[0-9]{0,20}\.?[0-9]{0,20}", fullmatch=True)
NOT_FINITE = [
    "nan",
    "-nan",
    "nan(1)",
    "inf",
    "-inf",
    "Infinity",
    "1e400",
    "1e-400",
    "5e-324",
    "2.4703282292062327e-324",
]
OTHER = [
    "",
    " ",
    "NA",
    "true",
    "-999",
    "-999.0",
    "+1",
    " 2 ",
    "\t2",
    "1_0",
    "１",
    "0x1p3",
    "1e",
    ".",
    "-",
    "- 1",
    "1 2",
]
QUOTED = ['"3"', '"4,5"', '""', '"NA"', '"', 'a"b', '"a"b', ' "a"', '"a""b"', '"a\nb"', '"a\r\nb"', "\r", "a\rb"]
odd = st.sampled_from(NOT_FINITE + OTHER + QUOTED)
words = st.text(st.sampled_from('ab ,"\r\n\0\x0b\ufeffäé\u2028'), max_size=4) | st.sampled_from(OTHER + QUOTED)
lines = st.tuples(numbers | odd, numbers, words).map(",".join) | st.sampled_from(["", "1,2", "1,2,3,", ",,"])


@dataclass(frozen=True)
class Read:
    """What reading came to: rows and their cells as bits, what cannot be used, and the error it ended with."""

    rows: int = 0
    cells: tuple[bytes, ...] = ()
    rejects: tuple[Reject, ...] = ()  # in the order of their rows
    trouble: str = ""


def read(path: Path, wanted: Wanted = WANTED, *, tile_rows: int = 7, threads: int = 1) -> Read:
    tiles: list[Tile] = []
    trouble = ""
    try:
        for tile in CsvFile(path, said=SAID).all_tiles(tile_rows, wanted, threads):
            assert tile.first_row == sum(one.rows for one in tiles)
            tiles.append(tile)
    except InvalidInput as error:
        trouble = str(error)
    rejects = [
        Reject(tile.first_row + one.row, one.column, one.reason, one.hint, one.cell)
        for tile in tiles
        for one in tile.rejects
    ]
    names = (*wanted.numbers, *wanted.words)
    cells = (np.concatenate([np.asarray(tile.raw[name]) for tile in tiles]) for name in names)  # type: ignore[call-overload]
    return Read(
        sum(tile.rows for tile in tiles),
        tuple(map(bits, cells)) if tiles else (),
        tuple(sorted(rejects, key=place)),
        trouble,
    )


def place(reject: Reject) -> tuple[int, str]:
    return reject.row, reject.column


def bits(column: np.ndarray) -> bytes:  # type: ignore[type-arg]
    if column.dtype == object:
        return repr(column.tolist()).encode()
    return np.where(np.isnan(column), np.nan, column).tobytes()  # a NaN is a NaN, whatever its sign


def both(path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Wanted = WANTED) -> tuple[Read, Read]:
    """With pyarrow, asked about every piece however small, and without."""
    monkeypatch.setattr(arrow_csv, "_LEAST_BYTES", 1)
    by_arrow = read(path, wanted)
    monkeypatch.setattr(arrow_csv, "_LEAST_BYTES", 1 << 60)
    return by_arrow, read(path, wanted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=EXAMPLES)
@given(st.lists(lines, min_size=1, max_size=12), st.integers(0, 2), st.sampled_from(["\n", "\r\n"]))
def test_cells_are_the_same_with_pyarrow_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: list[str], sound: int, newline: str
) -> None:
    usual = ["1.5,2.25,red", '-3,NA,"green, or so"'] * 20 * sound
    path = tmp_path / "t.csv"
    path.write_bytes(newline.join(["a,b,w", *usual, *odd, ""]).encode("utf-8", "surrogatepass"))
    by_arrow, by_fields = both(path, monkeypatch)
    # Of a damaged file, which rows come before the trouble is told depends on how many are read at a time.
    if not by_fields.trouble and not by_arrow.trouble:
        assert by_arrow == by_fields
    assert bool(by_arrow.trouble) == bool(by_fields.trouble)


def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each piece that pyarrow is asked about from now on: whether it told."""
    told: list[bool] = []
    tell = arrow_csv.ArrowColumns._told

    def noted(self: arrow_csv.ArrowColumns, content: bytes) -> dict[str, Array] | None:
        found = tell(self, content)
        told.append(found is not None)
        return found

    monkeypatch.setattr(arrow_csv, "_LEAST_BYTES", 1)
    monkeypatch.setattr(arrow_csv.ArrowColumns, "_told", noted)
    return told


def a_file(folder: Path, rows: Sequence[str]) -> Path:
    path = folder / "t.csv"
    path.write_text("\n".join(["a,b,w", *rows, ""]))
    return path


@pytest.mark.parametrize("threads", [1, 3])
def test_pyarrow_is_asked_as_long_as_it_is_sure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    told = asked(monkeypatch)
    sound = [f'{n}.5,{"TRUE" if n % 2 else "+1"},"w, {n % 3}"' for n in range(500)]
    found = read(a_file(tmp_path, sound), threads=threads)
    assert found.rows == 500 and all(told) and len(told) > 20
    damaged = read(a_file(tmp_path, [*sound, "1,2", *sound]), threads=threads)
    assert [(one.row, one.reason) for one in damaged.rejects] == [(500, "has 2 cells, the header has 3")]
    assert damaged.rows == 1001 and not all(told)


def test_bytes_that_are_no_text_are_refused_where_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_file(tmp_path, ["1.5,2,x"] * 300)
    path.write_bytes(path.read_bytes() + b"1,2,\xe4\n")
    by_arrow, by_fields = both(path, monkeypatch)
    assert "UTF-8" in by_arrow.trouble and by_arrow.trouble == by_fields.trouble


def test_a_column_that_pyarrow_does_not_know_costs_it_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = asked(monkeypatch)
    found = read(a_file(tmp_path, ["1.5,nan,x", "2.5,2,y"] * 300))
    assert found.rows == 600 and told.count(False) <= 1
