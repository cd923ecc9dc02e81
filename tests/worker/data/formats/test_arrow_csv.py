"""Whether pyarrow is installed or not, a file holds the same cells, to the last bit, and is refused for the same."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DialectFields, Missing
from singlepoint.worker.data.formats import arrow_csv
from singlepoint.worker.data.formats.delimited import CsvFile
from singlepoint.worker.data.formats.tile import Tile, Wanted

pytest.importorskip("pyarrow", reason="this machine has no pyarrow")

SAID = DialectFields(separator=",", decimal=".", thousands="", comment="", encoding="utf-8")
WANTED = Wanted(numbers=["a", "b"], words=["w"], kept=["w", "a"], missing=("", "NA", "-999"))


@pytest.fixture(autouse=True)
def a_small_file_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_csv, "LEAST_ROWS", 1)
    monkeypatch.setattr(arrow_csv, "LEAST_BYTES", 1)


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
    " NA",
    "true",
    "-999",
    "-999.0",
    "+1",
    " 2 ",
    "1_0",
    "１",
    "0x1p3",
    "1e",
    ".",
    "-",
    "- 1",
    "1 2",
]
QUOTED = ['"3"', '"4,5"', '""', '"NA"', '" 5 "', '"6\n"', '5"', '"7"8', '""9""', '"1""0"', '"']
odd = st.sampled_from(NOT_FINITE + OTHER + QUOTED)
words = st.sampled_from(
    ["red", " red", "NA", "-999", "", "2.0", "é", '"a, b"', '"a"', '"', 'a"b', '""', "a\rb", "#", "\t"]
)


def bits(tile: Tile, name: str) -> bytes:
    values = np.asarray(tile.raw[name])  # type: ignore[call-overload]
    return np.where(np.isnan(values), np.nan, values).tobytes()  # a NaN is a NaN, whatever its sign


def told(path: Path, wanted: Wanted = WANTED, said: DialectFields = SAID) -> object:
    """All that reading tells of a file: the bits of its numbers, its words, what was kept and rejected, or why it
    cannot be read."""
    try:
        tiles = list(CsvFile(path, said=said).tiles(None, 64, wanted))
    except InvalidInput as error:
        return str(error)
    return [
        (
            [bits(tile, name) for name in wanted.numbers],
            [list(tile.raw[name]) for name in wanted.words],  # type: ignore[call-overload]
            {name: list(cells) for name, cells in tile.kept.items()},
            tile.lines,
            tile.rejects,
            tile.cursor,
        )
        for tile in tiles
    ]


def is_told_by_arrow(path: Path, monkeypatch: pytest.MonkeyPatch, said: DialectFields = SAID) -> bool:
    found: list[bool] = []
    with monkeypatch.context() as patch:
        read = arrow_csv.Reader.read

        def watched(self: arrow_csv.Reader, *piece: object) -> arrow_csv.Cells | None:
            cells = read(self, *piece)  # type: ignore[arg-type]
            found.append(cells is not None)
            return cells

        patch.setattr(arrow_csv.Reader, "read", watched)
        told(path, said=said)
    return bool(found) and all(found)


def by_both(path: Path, monkeypatch: pytest.MonkeyPatch, **how: object) -> tuple[object, object]:
    by_arrow = told(path, **how)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(arrow_csv, "_arrow", lambda: None)
        return by_arrow, told(path, **how)  # type: ignore[arg-type]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(numbers | odd, words, numbers), min_size=1, max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_cells_are_the_same_with_pyarrow_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str, str]], line_end: str, ended: bool
) -> None:
    path = tmp_path / "t.csv"
    lines = ["a,w,b", *map(",".join, rows), "1,a,2", "1,a,2"]
    path.write_bytes((line_end.join(lines) + line_end * ended).encode())
    by_arrow, by_numpy = by_both(path, monkeypatch)
    assert by_arrow == by_numpy


PLAIN = "a,w,b\n" + "".join(f'{n}.5,"{"red, or so" if n % 2 else "blue"}",{n}e-3\n' for n in range(200))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(PLAIN, SAID, id="as usual"),
        pytest.param(PLAIN.replace("\n", "\r\n"), SAID, id="with carriage returns"),
        pytest.param(PLAIN.removesuffix("\n"), SAID, id="without a last line end"),
        pytest.param(
            PLAIN.replace("\n7.5", "\nNA").replace(",8e-3", ", -999 "), SAID, id="with no value in some cells"
        ),
        pytest.param(
            PLAIN.replace(",", ";").replace(".", ","),
            SAID.model_copy(update={"separator": ";", "decimal": ",", "thousands": "."}),
            id="with decimal commas",
        ),
        pytest.param(PLAIN.replace('"', "'"), SAID.model_copy(update={"quote": "'"}), id="other quotes"),
    ],
)
def test_a_plain_file_is_read_by_pyarrow_to_the_same_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: DialectFields
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, newline="")
    assert is_told_by_arrow(path, monkeypatch, said)
    by_arrow, by_numpy = by_both(path, monkeypatch, said=said)
    assert by_arrow == by_numpy


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('1,"a""b",2', id="a quote inside"),
        pytest.param('1,a"b,2', id="a quote in an unquoted cell"),
        pytest.param('1,a"b",2', id="two quotes in an unquoted cell"),
        pytest.param('1,"a"b,2', id="something after the quote"),
        pytest.param("1,a\rb,2", id="a lone carriage return"),
        pytest.param("true,a,2", id="a truth value"),
        pytest.param("1,a,inf", id="infinity"),
        pytest.param("1,a", id="a short row"),
        pytest.param("1,a,2,3", id="a long row"),
        pytest.param("\ufeff1,a,2", id="a mark at the start"),
    ],
)
def test_what_pyarrow_might_take_otherwise_is_left_to_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a,w,b\n{line}\n1,a,2\n1,a,2\n", newline="", encoding="utf-8")
    assert not is_told_by_arrow(path, monkeypatch)
    by_arrow, by_numpy = by_both(path, monkeypatch)
    assert by_arrow == by_numpy


def test_lines_are_handed_through_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,w,b\r\n1.50,red ,2e3\r\n2,blue,3\r\n4,red,5", newline="")
    wanted = Wanted(["a", "b"], ["w"], kept=("a", "w", "b"))
    by_arrow, by_numpy = by_both(path, monkeypatch, wanted=wanted)
    assert by_arrow == by_numpy
    [[(_, _, kept, lines, _, _)]] = [by_arrow]  # type: ignore[misc]
    assert lines == ["1.50,red ,2e3", "2,blue,3", "4,red,5"]
    assert kept["a"] == ["1.50", "2", "4"]


def test_for_a_small_file_pyarrow_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text(PLAIN)
    assert is_told_by_arrow(path, monkeypatch)
    monkeypatch.setattr(arrow_csv, "LEAST_BYTES", len(PLAIN) + 1)
    monkeypatch.setattr(arrow_csv, "_arrow", lambda: pytest.fail("it was asked for"))
    assert not is_told_by_arrow(path, monkeypatch)


def test_missing_words_of_one_column_mean_nothing_in_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,w,b\n" + "1,x,2\n?,y,3\n4,z,?\n")
    missing: Missing = {"a": ("?",), "b": ("",)}
    by_arrow, by_numpy = by_both(path, monkeypatch, wanted=Wanted(["a", "b"], ["w"], missing=missing))
    assert by_arrow == by_numpy
    [[(_, _, _, _, rejects, _)]] = [by_arrow]  # type: ignore[misc]
    assert [(one.row, one.column) for one in rejects] == [(2, "b")]


def test_pyarrow_reads_a_file_without_pandas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,w,b\n" + "1.5,x,\n" * 5000)
    program = (
        "import sys; from pathlib import Path;"
        "from singlepoint.worker.data.formats import arrow_csv, delimited, tile;"
        "arrow_csv.LEAST_BYTES = 1;"
        f"file = delimited.CsvFile(Path({str(path)!r}));"
        "list(file.tiles(None, 1000, tile.Wanted(numbers=['a', 'b'], words=['w'])));"
        "sys.exit(not ('pyarrow.csv' in sys.modules and 'pandas' not in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_means_missing_as_the_file_spells_it_is_missing_by_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b;w\n-999,9;-999,90;x\n-999,90;1,5;-999,9\n" * 8)
    said = SAID.model_copy(update={"separator": ";", "decimal": ","})
    by_arrow, otherwise = by_both(path, monkeypatch, wanted=replace(WANTED, missing=("", "-999,9")), said=said)
    assert by_arrow == otherwise
    tile = next(CsvFile(path, said=said).tiles(None, 2, replace(WANTED, missing=("", "-999,9"))))
    assert np.isnan(tile.raw["a"]).all() and list(tile.raw["w"]) == ["x", ""]  # type: ignore[call-overload]
