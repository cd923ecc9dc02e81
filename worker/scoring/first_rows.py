"""What the first rows of an input tell before a prediction runs, and how its bad rows are told of at any time.

As much is read as of a training's data, and by the same readers; a bad row further down is found only by the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.data.formats import RowSource, Tile
from singlepoint.worker.data.formats.tile import in_field, most_rows
from singlepoint.worker.data.preprocessing import ArrayPreprocessor, BadRow, InFile, Preprocessor, TablePreprocessor

FIELD = "input"

_TILE_ROWS = 4096

_LEARNED = "give what the model was trained on there, or remove the row"
_REMEDIES = (
    ("preprocessing.impute", "the model learned nothing to put there: fill the cell, or remove the row"),
    ("data.decimal", "a decimal comma, or thousands? set decimal = ',' or thousands = ','"),
    ("preprocessing.", _LEARNED),
    ("data.", _LEARNED),
    ("leave the column out", "correct the cell, or remove the row"),
)
"""What a training's remedy speaks of, and a prediction's in its place: what the model learned is settled."""


@contextmanager
def told_of_input(file: str) -> Iterator[None]:
    """What is wrong inside of the input names the field, the file and what can be done about it in a prediction.

    file: the name of the input, if it is a single one.
    """
    with in_field(FIELD, file):
        try:
            yield
        except InFile as error:
            raise InFile([replace(one, hint=_remedy(one.hint)) for one in error.problems], hint=error.hint) from None


def _remedy(hint: str) -> str:
    return next((ours for theirs, ours in _REMEDIES if theirs in hint), hint)


def look_over(rows: RowSource, preprocessor: Preprocessor, file: str) -> Tile | None:
    """Read the first rows, and prepare them as the model will: the last tile of them, None where there is none. Raises
    InvalidInput for those that it cannot take.

    file: as in `told_of_input`.
    """
    tile = None
    most = most_rows(_width(preprocessor))
    with told_of_input(file):
        looked_at = 0
        for tile in rows.tiles(None, min(_TILE_ROWS, most)):
            _require_no_names(tile, preprocessor, file)
            _require_usable(tile.whole(), preprocessor)
            looked_at += tile.rows
            if looked_at >= most:
                break
    return tile


def _width(preprocessor: Preprocessor) -> int:
    """Values of a raw row."""
    if isinstance(preprocessor, ArrayPreprocessor):
        return prod(preprocessor.input_shape)
    return len(preprocessor.input_names)


def _require_usable(tile: Tile, preprocessor: Preprocessor) -> None:
    if not isinstance(preprocessor, TablePreprocessor | ArrayPreprocessor):
        return  # of text everything can be made
    try:
        preprocessor.transform(tile.raw)
    except BadRow as bad:
        raise bad.shifted(tile.first_row, tile.file) from None


def _require_no_names(tile: Tile, preprocessor: Preprocessor, file: str) -> None:
    """Raises InvalidInput where a model that goes by places is given a file that begins with names."""
    if not isinstance(preprocessor, TablePreprocessor) or preprocessor.header or tile.first_row:
        return
    numbers = set(preprocessor.number_names)
    if numbers and numbers <= {reject.column for reject in tile.rejects if not reject.row}:
        columns = len(preprocessor.columns)
        what = f"{tile.file or file} begins with a line of names, but the model takes {columns} columns by their places"
        hint = "give those columns alone, in the training's order and without the names"
        raise InvalidInput(Problem(FIELD, what, hint))
