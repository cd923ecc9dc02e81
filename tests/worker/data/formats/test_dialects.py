"""Everyday files: read right, or refused with the field that mends it."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DataSpec, DialectFields, PreprocessingSpec
from singlepoint.worker.data import targets
from singlepoint.worker.data.formats import files_of, format_of, open_table
from singlepoint.worker.data.formats.tile import Wanted
from singlepoint.worker.data.formats.training import read_training_data, read_validation_data


def read(
    path: Path, numbers: Sequence[str] = ("a", "b"), words: Sequence[str] = ("y",), **said: Any
) -> list[list[Any]]:
    """The columns of a table, whole."""
    numbers = ("a", "b")
    table = open_table(path, said=DialectFields(**said))
    tiles = [tile.whole() for tile in table.tiles(None, 64, Wanted(numbers, words))]
    return [[cell for tile in tiles for cell in tile.raw[name].tolist()] for name in (*numbers, *words)]  # type: ignore[call-overload]


@pytest.mark.parametrize("content", [
    "a,b,y\n1.5,2,p\n2.5,3,q\n",
    "a;b;y\n1,5;2;p\n2,5;3;q\n",
    "a\tb\ty\n1.5\t2\tp\n2.5\t3\tq\n",
    "a|b|y\n1.5|2|p\n2.5|3|q\n",
    "a,b,y\r1.5,2,p\r2.5,3,q\r",
    "# from lab\n# 2026\na,b,y\n1.5,2,p\n2.5,3,q\n",
    "# from lab\na,b,y\n1.5,2,p\n# a second run, later\n2.5,3,q\n",
    "a,b,y,\n1.5,2,p,\n2.5,3,q,\n",
    "a,b,y\n1.5,2,p,\n2.5,3,q,\n",
    "a,b,y\n\n1.5,2,p\n   \n2.5,3,q\n\n",
    "\ufeffa;b;y\n1,5;2;p\n2,5;3;q",
])  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_how_a_file_is_written_is_found_out(tmp_path: Path, content: str, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes(content.removeprefix("\ufeff" if encoding == "utf-16" else "").encode(encoding))
    assert read(tmp_path / "t.csv") == [[1.5, 2.5], [2.0, 3.0], ["p", "q"]]


@pytest.mark.parametrize(("content", "said"), [
    ("a;b;y\n1.234,50;2;p\n", {}),
    ('a,b,y\n"1,234.50",2,p\n', {"thousands": ","}),
    ("a;b;y\n1.234,5;2;p\n", {"thousands": "."}),
    ("a;b;y\n1234,5;2;p\n", {"thousands": "."}),
    ("a b  y\n1234.5  2 p\n", {"separator": " "}),
    ("a,b,y\n1234.5,2,'p'\n", {"quote": "'"}),
])  # fmt: skip
def test_what_is_said_or_leaves_no_other_reading_is_obeyed(tmp_path: Path, content: str, said: dict[str, Any]) -> None:
    (tmp_path / "t.csv").write_text(content)
    assert read(tmp_path / "t.csv", **said) == [[1234.5], [2.0], ["p"]]


@pytest.mark.parametrize(("content", "message"), [
    (b"a;b;y\n1,024;2;p\n2;3;q\n", "data.decimal = ',' or data.thousands = ','"),
    (b'a,b,y\n"1,024",2,p\n', "data.decimal or data.thousands|data.decimal = ','"),
    (b"# export\na,b,y\n1,2,p\n#ff,2,q\n", "data.comment: the line '#ff,2,q' may be .* a row.*data.comment = '#'"),
    (b"a,b,y\nN/A,2,p\n", "data.missing = .*'N/A'"),
    (b"a,b,y\n\\N,2,p\n", r"data.missing = .*'\\N'"),
    (b"a,b,y\n#DIV/0!,2,p\n", "data.missing = .*'#DIV/0!'"),
    (b"sep=;\na;b;y\n1;2;p\n", "line for Excel, 'sep='"),
    (b"PAR1\x15\x04\x15\0", r"is Parquet, whatever its name says.*\.parquet"),
    (gzip.compress(b"a,b,y\n1,2,p\n"), r"packed by gzip.*\.gz"),
    ("a,b,y\n1,2,p\n".encode("utf-16-be"), "data.encoding = 'utf-16-be'"),
    (b'a,b,y\n1,2,"p \\"q\\""\n', "written twice, not after a backslash"),
    (b"a,b,y\n2024-01-05,2,p\n", "looks like a date.*preprocessing.categorical"),
    (b"a,b,y\n1,2,caf\xe9\n", "data.encoding.*latin-1"),
    (b'a,b,y\n1,2,"p\n', "after row 0"),
    (b"a,b,y\n1,2\n", "data.separator"),
])  # fmt: skip
def test_what_looks_wrong_is_refused_with_the_field_that_mends_it(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(("content", "said"), [
    ("a;b;y\n0.520;1.234,50;p\n52.125;2.000,10;q\n", {}),
    ('a,b,y\n"0,520",2,p\n', {"thousands": ","}),
])  # fmt: skip
def test_a_zero_begins_no_thousands(tmp_path: Path, content: str, said: dict[str, Any]) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InvalidInput, match=r"row 1.*column 'a'.*is not a number.*set them"):
        read(tmp_path / "t.csv", **said)


@pytest.mark.parametrize("mark", [".", ","])
def test_a_kept_spec_with_one_mark_for_two_things_is_refused(tmp_path: Path, mark: str) -> None:
    (tmp_path / "t.csv").write_text(f"a;b;y\n1{mark}234;2;p\n")
    with pytest.raises(InvalidInput, match=r"data\.thousands: is .* the decimal mark already"):
        read(tmp_path / "t.csv", decimal=mark, thousands=mark)


def test_among_words_thousands_are_what_they_are_among_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b;y\n1;2;1.234\n3;4;2.345,50\n5;6;10.0.0.1\n")
    assert read(tmp_path / "t.csv")[2] == ["1234", "2345.50", "10.0.0.1"]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("suffix", ["csv", "txt"])
def test_a_decimal_comma_is_no_separator_where_there_is_no_header(tmp_path: Path, separator: str, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.write_text("".join(f"{a},5{separator}{y}\n" for a, y in ((1, 0), (2, 1), (3, 0))))
    table = open_table(path, header=False)
    [tile] = table.tiles(None, 9, Wanted(("0",), ("1",)))
    assert tile.raw["0"].tolist() == [1.5, 2.5, 3.5] and list(tile.raw["1"]) == ["0", "1", "0"]  # type: ignore[call-overload]


def test_an_encoding_that_is_said_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a,b,y\n1,2,café\n".encode("latin-1"))
    assert read(tmp_path / "t.csv", encoding="latin-1")[2] == ["café"]
    (tmp_path / "t.csv").write_bytes("a,b,y\n1,2,café\n".encode("utf-16-le"))
    assert read(tmp_path / "t.csv", encoding="utf-16-le")[2] == ["café"]


def test_a_file_that_another_program_reads_is_refused_with_the_way_out() -> None:
    for name, way_out in (("t.xlsx", "save the sheet as CSV"), ("t.pkl", "no pickle"), ("t.json", "jsonl")):
        with pytest.raises(InvalidInput, match=way_out):
            format_of(Path(name))


def test_missing_may_be_said_by_column_and_means_the_value(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n-999.0,-999,p\n1,2,q\n")
    data = DataSpec(path=str(tmp_path / "t.csv"), target="y", missing={"a": (" -999 ",)})
    raw = read_training_data(data, PreprocessingSpec(), tmp_path)
    assert math.isnan(raw.x["a"][0]) and raw.x["b"][0] == -999  # type: ignore[call-overload]


@pytest.mark.parametrize("said", ["-999,9", "-999.9"])
@pytest.mark.parametrize("cell", ["-999,9", "-999,90", "-0999,9"])
def test_missing_may_be_said_as_the_file_has_it_or_with_a_point(tmp_path: Path, said: str, cell: str) -> None:
    (tmp_path / "t.csv").write_text(f"a;b;y\n{cell};1;1,5\n2,5;2;{cell}\n")
    data = DataSpec(path=str(tmp_path / "t.csv"), target=("y", "b"), missing=("", said))
    raw = read_training_data(data, PreprocessingSpec(), tmp_path)
    assert np.isnan(raw.x["a"][0]) and np.isnan(raw.y[1, 0])  # type: ignore[call-overload]


@pytest.mark.parametrize("cell", ["999", "999,0", "+999", "9,99e2"])
@pytest.mark.parametrize("several", [False, True])
def test_a_target_that_means_missing_is_not_learned_however_it_is_spelled(
    tmp_path: Path, cell: str, several: bool
) -> None:
    rows = "".join(f"{i},5;{i};{i},25\n" for i in range(30))
    (tmp_path / "t.csv").write_text(f"a;b;y\n{rows}1,5;1;{cell}\n")
    data = DataSpec(path=str(tmp_path / "t.csv"), target=("y", "b") if several else "y", missing=("", "999"))
    raw = read_training_data(data, PreprocessingSpec(), tmp_path)
    with pytest.raises(InvalidInput, match="the target is missing"):
        targets.encode(raw.y, "regression")


def test_a_code_is_no_number_that_means_missing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,007\n2,7\n3,x\n")
    data = DataSpec(path=str(tmp_path / "t.csv"), target="y", missing=("7",))
    assert read_training_data(data, PreprocessingSpec(), tmp_path).y.tolist() == ["007", "", "x"]


def test_several_files_a_pattern_and_a_folder_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for i, text in enumerate(("a,y\n1,p\n2,q\n", "y,a\np,3\n")):
        (tmp_path / "parts" / f"{i}.csv").write_text(text)
    for paths in (("parts/0.csv", "parts/1.csv"), "parts/*.csv", "parts"):
        table = open_table(files_of(paths, tmp_path, "data.path"))
        tiles = list(table.tiles(None, 2, Wanted(("a",), ("y",))))
        assert [tile.raw["a"].tolist() for tile in tiles] == [[1.0, 2.0], [3.0]]  # type: ignore[call-overload]
        assert [t.file for t in table.tiles(tiles[0].cursor, 2, Wanted(("a",)))] == ["1.csv"]
    (tmp_path / "parts" / "2.csv").write_text("a,z\n1,p\n")
    with pytest.raises(InvalidInput, match=r"2\.csv lacks the column 'y'"):
        open_table(files_of("parts", tmp_path, "data.path"))


@pytest.mark.parametrize("field", ["path", "validation_path"])
def test_a_further_file_is_read_as_the_first_and_as_the_job_will_read_it(tmp_path: Path, field: str) -> None:
    (tmp_path / "a.csv").write_text("a;y\n1.234,5;p\n2;q\n")
    (tmp_path / "b.csv").write_text("a;y\n1.234;p\n")
    paths = {"path": ("a.csv", "b.csv")} if field == "path" else {"path": "a.csv", field: "b.csv"}
    data = DataSpec(target="y", **paths)  # type: ignore[arg-type]
    prep = PreprocessingSpec()
    for _ in ("submit", "job"):
        raw = read_training_data(data, prep, tmp_path)
        last = read_validation_data(data, prep, tmp_path, raw) or raw
        assert last.x["a"][-1] == 1234.0  # type: ignore[call-overload]
        data = data.model_copy(update=dict(raw.settled))


@pytest.mark.parametrize(("first", "second", "message"), [
    ("a;y\n1.5;p\n", "a;y\n1,5;p\n", r"data\.decimal: b\.csv has ',', the first file '\.'"),
    ("a,y\n1,p\n", "a;y\n1;p\n", r"data\.separator: b\.csv has ';', the first file ','"),
    ("a,y\n1,p\n", "\ufeffa,y\n1,p\n".encode("utf-16-le"), r"data\.encoding: b\.csv has 'utf-16'"),
    ("# x\ny,a\np,1\n", "y,a\n#ff,0\n", r"data\.comment: the line '#ff,0' may be a comment, or a row"),
    ("a;y\n1;p\n", "a,y\n1,p\n", r"b\.csv lacks the column 'a'.*the same separator"),
])  # fmt: skip
@pytest.mark.parametrize("field", ["path", "validation_path"])
def test_a_further_file_that_is_written_otherwise_is_refused(
    tmp_path: Path, field: str, first: str, second: str | bytes, message: str
) -> None:
    (tmp_path / "a.csv").write_text(first)
    (tmp_path / "b.csv").write_bytes(second.encode() if isinstance(second, str) else second)
    if field == "path":
        with pytest.raises(InvalidInput, match=message):
            open_table([tmp_path / "a.csv", tmp_path / "b.csv"])
    elif "lacks" not in message:
        data = DataSpec(path="a.csv", target="y", validation_path="b.csv")
        raw = read_training_data(data, PreprocessingSpec(), tmp_path)
        with pytest.raises(InvalidInput, match=message):
            read_validation_data(data, PreprocessingSpec(), tmp_path, raw)


def test_folders_of_texts_are_classes(tmp_path: Path) -> None:
    for name, words in (("good", "fine film"), ("bad", "a bore")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(words)
    raw = read_training_data(DataSpec(path=str(tmp_path)), PreprocessingSpec(), tmp_path)
    assert (np.asarray(raw.x).tolist(), raw.y.tolist(), raw.text) == (["a bore", "fine film"], ["bad", "good"], "")


CELLS = (
    st.floats(allow_nan=False, allow_infinity=False, width=64).map(repr)
    | st.integers(-(10**20), 10**20).map(str)
    | st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str)
    | st.sampled_from(["", " 1.5 ", "+.5", "1.", "1e3", "-0", "007", "0.1e-7", "x", "1_0", "1.2.3", "--1", "12abc"])
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12), quoted=st.booleans(), windows=st.booleans())
def test_cells_are_those_that_pandas_reads_or_refused(
    tmp_path: Path, rows: list[tuple[str, str]], quoted: bool, windows: bool
) -> None:
    pandas = pytest.importorskip("pandas")
    shown = [[f'"{cell}"' if quoted else cell for cell in row] for row in rows]
    content = "\n".join(["a,b", *(",".join(row) for row in shown), ""])
    path = tmp_path / "t.csv"
    path.write_bytes(content.replace("\n", "\r\n" if windows else "\n").encode())
    try:
        ours = read(path, words=(), separator=",", decimal=".", comment="")
    except InvalidInput:
        return
    theirs = pandas.read_csv(io.StringIO(content), float_precision="round_trip", skip_blank_lines=False)
    for name, column in zip("ab", ours, strict=True):
        cells = [math.nan if cell == "" else cell for cell in theirs[name]]  # beside integers beyond 2^63 it leaves ""
        assert np.array_equal(np.array(column), np.array(cells, np.float64), equal_nan=True)
