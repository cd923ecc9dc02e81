"""CSV in all its shapes; and any row of a file can be the first one read."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.data.formats.delimited import CsvFile
from singlepoint.worker.data.formats.tile import Tile, Wanted

MISSING = ("", "?", "NA")


def a_file(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def read(path: Path, tile_rows: int = 1000, header: bool = True, **wanted: object) -> list[Tile]:
    tiles = CsvFile(path, header=header).tiles(None, tile_rows, Wanted(missing=MISSING, **wanted))  # type: ignore[arg-type]
    return [tile.whole() for tile in tiles]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("content", [
    "a,b\n1,x\n2,y\n",
    "a,b\r\n1,x\r\n2,y\r\n",
    "\ufeffa,b\n1,x\n2,y",
    "\n a , b \n\n1, x\n\n 2 ,y\n\n",
    '"a","b"\n"1","x"\n"2","y"\n',
])  # fmt: skip
def test_headers_quotes_line_ends_and_marks_are_read_alike(tmp_path: Path, content: str, name: str) -> None:
    (tile,) = read(a_file(tmp_path, content, name), numbers=["a"], words=["b"])
    assert tile.raw["a"].tolist() == [1.0, 2.0]  # type: ignore[call-overload]
    assert tile.raw["b"].tolist() == ["x", "y"]  # type: ignore[call-overload]


def test_missing_words_become_no_value_even_when_they_look_like_numbers(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a,b\n1,x\n-999,?\nNA,-999\nnan,\n")
    tiles = list(CsvFile(path).tiles(None, 10, Wanted(numbers=["a"], words=["b"], missing=("", "?", "NA", "-999"))))
    np.testing.assert_equal(tiles[0].raw["a"], [1, np.nan, np.nan, np.nan])  # type: ignore[call-overload]
    assert tiles[0].raw["b"].tolist() == ["x", "", "", ""]  # type: ignore[call-overload]


def test_kept_columns_stand_as_they_do_in_the_file(tmp_path: Path) -> None:
    path = a_file(tmp_path, 'id,a\n007,1\n"x, y",?\n')
    (tile,) = read(path, numbers=["a"], kept=["id", "a"])
    assert tile.kept == {"id": ("007", "x, y"), "a": ("1", "?")}


def test_without_a_header_columns_go_by_position(tmp_path: Path) -> None:
    (tile,) = read(a_file(tmp_path, "1,x\n2,y\n"), header=False, numbers=["0"], words=["1"])
    assert tile.raw["0"].tolist() == [1.0, 2.0]  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_reading_goes_on_at_any_cursor_to_the_same_rows(tmp_path: Path, name: str) -> None:
    rows = "".join(f'{i},"line one\nline ""{i}"", é"\r\n' for i in range(100))
    file = CsvFile(a_file(tmp_path, "n,t\r\n" + rows, name))
    whole = list(file.tiles(None, 7, Wanted(numbers=["n"], words=["t"])))
    assert [tile.first_row for tile in whole] == list(range(0, 100, 7))
    for i, tile in enumerate(whole):
        rest = list(CsvFile(file.path).tiles(tile.cursor, 7, Wanted(numbers=["n"], words=["t"])))
        assert [again.first_row for again in rest] == [later.first_row for later in whole[i + 1 :]]
        for again, later in zip(rest, whole[i + 1 :], strict=True):
            assert again.raw["n"].tolist() == later.raw["n"].tolist()  # type: ignore[call-overload]
            assert again.raw["t"].tolist() == later.raw["t"].tolist()  # type: ignore[call-overload]
            assert again.cursor == later.cursor


def test_going_on_reads_nothing_before_the_cursor(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a\n1\n2\n3\n")
    cursor = read(path, tile_rows=2, numbers=["a"])[0].cursor
    content, file = path.read_bytes(), CsvFile(path)
    path.write_bytes(b"\xff" * cursor["offset"] + content[cursor["offset"] :])
    assert [t.raw["a"].tolist() for t in file.tiles(cursor, 2, Wanted(numbers=["a"]))] == [[3.0]]  # type: ignore[call-overload]


@pytest.mark.parametrize(("content", "message"), [
    ("", "is empty"),
    ("\n\n", "is empty"),
    ("a,a\n1,2\n", "two columns are named 'a'"),
    ("a,b\n1,2\n3\n", "row 2: has 1 cells, the header has 2"),
    ("a,b\n1,2\n3,4,5\n", "row 2: has 3 cells, the header has 2"),
    ('a,b\n1,"2\n3,4\n', "after row 0"),
    ('a,b\n1,"2"x\n', "after row 0"),
    (b"a,b\n1,\xff\n", "not UTF-8"),
    (b"\xff\xfea,b", "not UTF-16"),
    ("a,b\nred,2\n", r"row 1, column 'a': 'red' is not a number.*preprocessing.categorical"),
    ("a,b\n1,2\n,x\n", r"row 2, column 'b': 'x' is not a number"),
])  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read(a_file(tmp_path, content), numbers=["a", "b"])


@pytest.mark.parametrize("cell", ["2_0.5", "1_000", "0x10", "１２", "1,0", "1 0", "--1", "twelve"])
@pytest.mark.parametrize("others", [["3"] * 9, [str(i) for i in range(9)]], ids=["few different", "all different"])
def test_what_only_a_programming_language_takes_for_a_number_is_text(
    tmp_path: Path, cell: str, others: list[str]
) -> None:
    content = "a\n" + "".join(f"{other}\n" for other in others) + f'"{cell}"\n'
    with pytest.raises(InvalidInput, match=f"row 10, column 'a': '{cell}' is not a number"):
        read(a_file(tmp_path, content), numbers=["a"])


@pytest.mark.parametrize("others", [["3"] * 9, [str(i) for i in range(9)]], ids=["few different", "all different"])
def test_a_number_and_a_missing_one_may_have_spaces_around_them_and_nan_any_spelling(
    tmp_path: Path, others: list[str]
) -> None:
    content = "a\n" + "".join(f"{other}\n" for other in others) + " -1.5e3\t\n NA \n nan \n-NaN\n+.5\n"
    [tile] = read(a_file(tmp_path, content), numbers=["a"])
    assert np.array_equal(tile.raw["a"][9:], [-1500.0, np.nan, np.nan, np.nan, 0.5], equal_nan=True)  # type: ignore[call-overload]


def test_every_column_with_text_among_its_numbers_is_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(a_file(tmp_path, "a,b,c\n1,x,3\ny,2,3\n"), numbers=["a", "b", "c"])
    assert [problem.field for problem in caught.value.problems] == ["row 2, column 'a'", "row 1, column 'b'"]


def test_a_damaged_gzip_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a\n" + "1\n" * 10_000, "t.csv.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInput, match=r"t\.csv\.gz"):
        read(path, numbers=["a"])


def test_memory_is_bounded_by_the_tile_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a,b,c\n" + "1.5,2.5,a word\n" * 100_000)
    wanted = Wanted(numbers=["a", "b"], words=["c"], kept=["a"])
    next(CsvFile(path).tiles(None, 256, wanted))  # what is imported with the first tile is no tile's
    tracemalloc.start()
    rows = sum(tile.rows for tile in CsvFile(path).tiles(None, 256, wanted))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 100_000
    assert peak < 1 << 20


@pytest.mark.parametrize("tile_rows", [1, 2, 3, 4, 5, 100])
def test_a_quote_that_is_an_ordinary_character_opens_nothing_wherever_a_tile_ends(
    tmp_path: Path, tile_rows: int
) -> None:
    lines = ["#", "a,b", '1,5" disk', "   ", "2,y", "# no row", '3,3.5" disk', '4,"two', "   ", '# lines"', "", '5,8"']
    tiles = read(a_file(tmp_path, "\n".join(lines) + "\n"), tile_rows, numbers=["a"], words=["b"])
    found = [(number, word) for tile in tiles for number, word in zip(tile.raw["a"], tile.raw["b"], strict=True)]  # type: ignore[call-overload]
    assert found == [(1, '5" disk'), (2, "y"), (3, '3.5" disk'), (4, "two\n   \n# lines"), (5, '8"')]


def test_separators_after_the_header_take_no_longer_the_more_there_are_of_them(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b" + 200_000 * "," + "\n1,2\n")
    started_s = time.process_time()
    assert CsvFile(tmp_path / "t.csv").names == ("a", "b")
    assert time.process_time() - started_s < 5  # a copy for each took minutes
