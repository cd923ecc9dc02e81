"""Random tables in random dialects: the cells that pandas reads, or a refusal; never another value.

`SINGLEPOINT_TABLES` sets how many are tried; the default keeps this to seconds.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DialectFields
from singlepoint.worker.data.formats.delimited import CsvFile
from singlepoint.worker.data.formats.tile import Wanted

TABLES = int(os.environ.get("SINGLEPOINT_TABLES", "100"))


@dataclass(frozen=True)
class Written:
    """A table as one program or other writes it. numbers, words: its columns, as text."""

    numbers: list[list[str]]
    words: list[list[str]]
    separator: str
    decimal: str
    newline: str
    encoding: str
    quoting: str  # "all", "needed" or "wrongly": by somebody who forgets it
    spaces: str  # after each separator
    trailing: bool  # a separator after the last cell
    blank_lines: bool
    told: bool  # what is written how; else it has to be found out

    @property
    def names(self) -> list[str]:
        return [f"n{i}" for i in range(len(self.numbers))] + [f"w{i}" for i in range(len(self.words))]

    @property
    def text(self) -> str:
        numbers = [[cell.replace(".", self.decimal) for cell in column] for column in self.numbers]
        rows = [self.names, *map(list, zip(*numbers, *self.words, strict=True))]
        join = self.separator + self.spaces
        lines = [join.join(map(self.quoted, row)) + (self.separator if self.trailing else "") for row in rows]
        return "".join(line + "\n" + ("\n" if self.blank_lines and i % 3 == 1 else "") for i, line in enumerate(lines))

    def quoted(self, cell: str) -> str:
        special = any(mark in cell for mark in (self.separator, '"', "\n", "\r"))
        if self.quoting == "all" or (self.quoting == "needed" and special):
            return '"' + cell.replace('"', '""') + '"'
        return cell

    @property
    def content(self) -> bytes:
        return self.text.replace("\n", self.newline).encode(self.encoding)


def tables() -> st.SearchStrategy[Written]:
    floats = st.floats(allow_nan=False, allow_infinity=False).map(repr)
    decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**6), max_value=10**6).map(
        str
    )
    long = st.from_regex(r"-?[0-9]{1,22}\.[0-9]{1,22}", fullmatch=True)
    number = floats | decimals | st.integers(-(10**19), 10**19).map(str) | long
    odd = st.sampled_from(
        ["", " ", "x", "NA", "1.2.3", "--1", "1e", "1_0", "+1.5", "1e5", " 7 ", "0x1", "-", "1 2", "007"]
    )
    numbers = st.integers(0, 19).flatmap(lambda k: odd if k == 0 else st.just("") if k == 1 else number)
    words = st.text("ab é\"\n;,\t|#'", max_size=9) | st.sampled_from(
        ["", "red", "a word or two", "über", '"', "x" * 40]
    )

    def columns(rows: int, cells: st.SearchStrategy[str], least: int) -> st.SearchStrategy[list[list[str]]]:
        return st.lists(st.lists(cells, min_size=rows, max_size=rows), min_size=least, max_size=3)

    def of(rows: int) -> st.SearchStrategy[Written]:
        return st.builds(
            Written,
            columns(rows, numbers, 1),
            columns(rows, words, 1),
            st.sampled_from(",;\t|"),
            st.sampled_from("..,"),
            st.sampled_from(["\n", "\n", "\r\n"]),
            st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"]),
            st.sampled_from(["all", "needed", "needed", "wrongly"]),
            st.sampled_from(["", "", "", " "]),
            st.sampled_from([False, False, False, True]),
            st.sampled_from([False, False, False, True]),
            st.booleans(),
        ).filter(lambda one: one.separator != one.decimal)

    return st.integers(1, 12).flatmap(of)


def ours(path: Path, table: Written) -> dict[str, list[Any]] | None:
    """The columns, or None where the table is refused."""
    said = {"separator": table.separator, "decimal": table.decimal, "thousands": "", "comment": ""}
    numbers, words = table.names[: len(table.numbers)], table.names[len(table.numbers) :]
    try:
        file = CsvFile(path, said=DialectFields(**(said if table.told else {})))
        if not set(table.names) <= set(file.names):
            return None  # another separator was found: whoever names a column of this table is refused
        if not table.told and file.dialect.decimal != table.decimal:
            event("another decimal mark")
        tiles = [tile.whole() for tile in file.tiles(None, 5, Wanted(numbers, words, missing=("",)))]
    except InvalidInput:
        return None
    return {name: [cell for tile in tiles for cell in tile.raw[name].tolist()] for name in table.names}  # type: ignore[call-overload]


def theirs(table: Written) -> dict[str, list[Any]] | None:
    """The same by pandas, or None where it finds no such table."""
    pandas = pytest.importorskip("pandas")
    given: dict[str, Any] = {"sep": table.separator, "keep_default_na": False, "index_col": False}
    types = {name: str for name in table.names if name.startswith("w")}
    text = io.StringIO(table.text.replace("\n", table.newline), newline="")
    try:
        frame = pandas.read_csv(
            text,
            decimal=table.decimal,
            float_precision="round_trip",
            dtype=types,
            na_values={name: [""] for name in table.names if name.startswith("n")},
            skipinitialspace=bool(table.spaces),
            **given,
        )
    except (ValueError, pandas.errors.ParserError):
        return None
    if not set(table.names) <= set(frame.columns):
        return None
    found: dict[str, list[Any]] = {}
    for name in table.names:
        column = frame[name]
        if name.startswith("n") and column.dtype.kind not in "iuf":
            try:
                column = column.map(
                    lambda cell: float(str(cell).replace(table.decimal, ".") if str(cell).strip() else "nan")
                )
            except ValueError:
                return None
        found[name] = column.tolist()
    return found


@pytest.mark.filterwarnings("ignore:The 'float_precision' argument", "ignore:Length of header or names")
@settings(
    max_examples=TABLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(table=tables())
def test_a_table_has_the_cells_that_pandas_reads_or_is_refused(tmp_path: Path, table: Written) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(table.content)
    found = ours(path, table)
    event("refused" if found is None else "read")
    if found is None:
        return
    expected = theirs(table)
    if expected is None and table.quoting == "wrongly":
        return  # a row with an empty cell too many, which we pass over and pandas does not
    assert expected is not None, f"only we read {table.content!r}"
    for name in table.names:
        if name.startswith("n"):
            assert same_numbers(found[name], expected[name]), (name, table.content)
        else:
            assert found[name] == [str(cell).strip() for cell in expected[name]], (name, table.content)


def same_numbers(found: list[float], expected: list[float]) -> bool:
    return np.array_equal(np.array(found, np.float64), np.array(expected, np.float64), equal_nan=True)
