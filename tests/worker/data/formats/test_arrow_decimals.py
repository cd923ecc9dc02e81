"""Whether pyarrow is installed or not, a file holds the same cells, to the last bit, and is refused for the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singlepoint.jobs.spec.data import DialectFields
from singlepoint.worker.data.formats import arrow_decimals
from singlepoint.worker.data.formats.delimited import CsvFile
from singlepoint.worker.data.formats.tile import Tile, Wanted

SAID = DialectFields(separator=",", decimal=".", thousands="", comment="", encoding="utf-8")

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
OTHER = ["", " ", "NA", "true", "-999", "+1", " 2 ", "1_0", "１", "0x1p3", "1e", ".", "-", "- 1", "1 2", '"3"', '"4,5"']
odd = st.sampled_from(NOT_FINITE + OTHER)


def read(path: Path) -> Tile:
    wanted = Wanted(numbers=["a", "b"], missing=("", "NA", "-999"))
    [tile] = CsvFile(path, said=SAID).tiles(None, 10_000, wanted)
    return tile


@pytest.mark.skipif(not arrow_decimals.installed(), reason="this machine has no pyarrow")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(numbers | odd, numbers), min_size=1, max_size=12), st.integers(0, 2))
def test_numbers_are_the_same_with_pyarrow_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str]], sound: int
) -> None:
    usual = [("1.5", "2.25")] * 64 * sound  # so many that pyarrow is asked
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in usual + rows), encoding="utf-8")
    monkeypatch.setattr(arrow_decimals, "_LEAST_CELLS", 1)
    by_arrow = read(path)
    monkeypatch.setattr(arrow_decimals, "_arrow", lambda: None)
    by_numpy = read(path)
    for name in ("a", "b"):
        assert bits(by_arrow, name) == bits(by_numpy, name)
    assert by_arrow.rejects == by_numpy.rejects


def bits(tile: Tile, name: str) -> bytes:
    values = np.asarray(tile.raw[name])  # type: ignore[call-overload]
    return np.where(np.isnan(values), np.nan, values).tobytes()  # a NaN is a NaN, whatever its sign
