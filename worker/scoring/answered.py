"""The rows of an input, answered piece by piece: what a prediction as a job and an evaluation on the spot share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import DialectFields
from singlepoint.worker.data.formats import Piece, RowSource, Tile, existing, files_of, member_of, open_rows
from singlepoint.worker.data.preprocessing import BadRow
from singlepoint.worker.models.predictor import Predictor, Scores
from singlepoint.worker.models.trained_model import TrainedModel

from .comparison import Comparison, comparison
from .first_rows import told_of_input

TILE_ROWS = 1024
"""Rows that are read, scored and written together. Always a multiple of what passes through the network at once,
counted from the file's first row."""


def input_files(said: str | Sequence[str]) -> list[Path]:
    """The files that an `input` names, by absolute paths. Raises NotFound."""
    sources = files_of(said if isinstance(said, str) else tuple(said), Path("/"), "input")
    for source in sources:
        if not source.is_dir():
            existing(member_of(source)[0])
    return sources


def rows_for(
    model: TrainedModel, sources: Sequence[Path], keep: Sequence[str] | None, said: DialectFields | None = None
) -> RowSource:
    """The rows as the model takes them, and the targets beside them, where they are there. keep, said: see `open_rows`.

    Raises NotFound; InvalidInput for a model without preprocessing, or other columns than the model's.
    """
    if model.preprocessor is None:
        raise InvalidInput(Problem("model", "was saved without preprocessing", "train it by a job, or give it some"))
    learned = (model.provenance.get("spec") or {}).get("data")
    with told_of_input(sources[0].name):
        return open_rows(sources, model.preprocessor, keep, said, model.target_names, learned)


def truth_beside(model: TrainedModel, rows: RowSource, needed: Sequence[str]) -> Comparison | None:
    """The comparison with the targets that stand beside these rows, if all of them do. needed: see `comparison`."""
    beside, missing = getattr(rows, "beside", ()), getattr(model.preprocessor, "missing", ())
    return comparison(model.target_names, model.classes, beside, needed, missing)


def answered(rows: RowSource, piece: Piece, predictor: Predictor) -> tuple[Tile, Scores]:
    """The rows of one piece, whole, and the answers. Raises BadRow, counted from the file's first row."""
    tile = rows.parse(piece).whole()
    try:
        return tile, predictor.predict(tile.raw)
    except BadRow as bad:
        raise bad.shifted(tile.first_row, tile.file) from None
