"""What a prediction is refused for before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DialectFields
from singlepoint.worker.data.formats import open_rows, tile
from singlepoint.worker.data.preprocessing import TablePreprocessor
from singlepoint.worker.data.preprocessing.table import NumericColumn
from singlepoint.worker.scoring.first_rows import look_over


def refused(file: Path, names: str = "ab", *, header: bool = True) -> str:
    model = TablePreprocessor(header=header, columns=tuple(NumericColumn(name=name) for name in names))
    rows = open_rows(file, model, said=DialectFields())
    with pytest.raises(InvalidInput) as caught:
        look_over(rows, model, file.name)
    return str(caught.value)


def test_a_remedy_speaks_of_no_field_that_a_prediction_lacks(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text('a,b\n1,"1,5"\nn/a,2\n')

    told = refused(file)

    assert "column 'a': 'n/a' is not a number" in told and "column 'b': '1,5' is not a number" in told
    assert "set decimal = ','" in told
    assert "data." not in told and "preprocessing." not in told


def test_a_model_that_goes_by_places_is_told_of_a_line_of_names(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("radius,texture,area\n1,2,3\n")

    assert "begins with a line of names, but the model takes 2 columns by their places" in refused(
        file, "01", header=False
    )
    file.write_text("1,2,3\nx,2,3\n")
    assert "row 2, column '0': 'x' is not a number" in refused(file, "01", header=False)


def test_no_more_rows_are_looked_at_than_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "new.csv"
    file.write_text("a,b\n" + "1,2\n" * 50 + "x,2\n")
    model = TablePreprocessor(columns=(NumericColumn(name="a"), NumericColumn(name="b")))

    assert "row 51" in refused(file)

    monkeypatch.setattr(tile, "MOST_ROWS_CHECKED", 50)
    look_over(open_rows(file, model), model, file.name)
