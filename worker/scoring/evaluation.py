"""How good a model is on rows that hold the truth: read, answered and compared as by a prediction, on the spot.

Memory is bounded by a tile and by what is compared at most; nothing is written, and no job made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.data.formats import member_of
from singlepoint.worker.data.witness import Witness
from singlepoint.worker.models.predictor import ModelPredictor
from singlepoint.worker.models.trained_model import TrainedModel

from .answered import TILE_ROWS, answered, rows_for, truth_beside
from .comparison import MOST_VALUES
from .first_rows import told_of_input


@dataclass(frozen=True)
class Evaluation:
    """rows: of the input.  metrics: by name, with `compared_rows`.  unseen: cells of each column that training never
    saw."""

    rows: int
    metrics: Mapping[str, float]
    unseen: Mapping[str, int]


def evaluate(model: TrainedModel, sources: Sequence[Path]) -> Evaluation:
    """Score all rows of these files beside their targets.

    Raises NotFound; InvalidInput for an input without the targets, or with other columns than the model's, or that was
    changed meanwhile.
    """
    witness = Witness.of(member_of(source)[0] for source in sources)
    rows, predictor = rows_for(model, sources, ()), ModelPredictor(model)
    truth = truth_beside(model, rows, predictor.columns)
    if truth is None:
        raise InvalidInput(Problem("input", _lacks(model.target_names), "`submit predict` answers rows without it"))
    compared, unseen, count = bytearray(), Counter[str](), 0
    with told_of_input(sources[0].name):
        for piece in rows.pieces(None, TILE_ROWS):
            tile, scores = answered(rows, piece, predictor)
            count += piece.rows
            unseen.update(scores.unseen)
            if count * truth.width <= MOST_VALUES:  # of all files together
                compared += truth.rows(tile, scores)
    witness.require_unchanged("input")
    figures = truth.figures(bytes(compared))
    if not figures:
        raise InvalidInput(Problem("input", f"none of its {count} rows holds a target that the model knows"))
    return Evaluation(count, figures, dict(unseen))


def _lacks(targets: Sequence[str]) -> str:
    if not any(targets):
        return "cannot be compared: the model's target has no name"
    return f"lacks what the model predicts: {', '.join(targets)}"
