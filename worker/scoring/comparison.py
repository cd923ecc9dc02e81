"""How good the answers are, where the input holds the truth: compared as rows are scored, told at the end.

What is compared travels as float64, row by row: the truth (numbers of classes, or values), then the probabilities or
values answered. The truth is read as a training reads it: with the file's own marks, and what means "no value" there. A
row whose truth is missing, or no class of the model's, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.spec.data import Missing
from singlepoint.worker.data.formats import Tile
from singlepoint.worker.data.formats.cells import ColumnParser, Marks
from singlepoint.worker.data.preprocessing.identity import value_name
from singlepoint.worker.models.predictor import Scores
from singlepoint.worker.nn.learning import metrics

MOST_VALUES = 4_000_000
"""Values that are compared at most, 32 MB: of longer inputs the first rows."""


@dataclass(frozen=True)
class Comparison:
    """Of answers with the truth in these columns of the input, one a target. classes: None for values.

    missing: the cells that mean "no value".
    """

    columns: tuple[str, ...]
    classes: tuple[str, ...] | None
    missing: Missing = ()

    @property
    def width(self) -> int:
        """Values of a row that is compared."""
        return len(self.columns) + len(self.classes or self.columns)

    def rows(self, tile: Tile, scores: Scores) -> bytes:
        """What is compared of a tile; a function of the tile alone."""
        if (tile.first_row + tile.rows) * self.width > MOST_VALUES:
            return b""
        answers = scores.values if self.classes is None else scores.probabilities
        assert answers is not None
        truth = np.stack([self._truth(name, tile) for name in self.columns], axis=1)
        both = np.concatenate([truth, answers], axis=1, dtype=np.float64)
        return both[np.isfinite(truth).all(axis=1)].astype("<f8").tobytes()

    def figures(self, compared: bytes) -> dict[str, float]:
        """The metrics, and of how many rows; empty when none could be compared."""
        both = np.frombuffer(compared, "<f8").reshape(-1, self.width)
        truth, answers = np.hsplit(both, [len(self.columns)])
        if not len(both):
            return {}
        if self.classes is None:
            return {"compared_rows": len(both), **metrics.regression(truth, answers)}
        figures = metrics.classification(truth[:, 0].astype(np.intp), answers, len(self.classes))
        return {"compared_rows": len(both), **figures}

    def _truth(self, column: str, tile: Tile) -> npt.NDArray[np.float64]:
        """A column as numbers, NaN where it says nothing."""
        cells = list(map(str, tile.kept[column]))
        parser = ColumnParser(column, self.missing, Marks(tile.decimal, tile.thousands))
        if self.classes is None:
            return parser.no_value.taken_out(parser.numbers(cells)[0])
        place = {name: float(i) for i, name in enumerate(self.classes)}
        return np.array([place.get(value_name(word), np.nan) for word in parser.words(cells)])


def comparison(
    targets: Sequence[str],
    classes: tuple[str, ...] | None,
    kept: Sequence[str],
    needed: Sequence[str],
    missing: Missing = (),
) -> Comparison | None:
    """The comparison with the targets that stand among the columns kept, if all of them do; None otherwise.

    needed: columns that the model answers from. One that is a target as well is no truth.  missing: see `Comparison`.
    """
    there = bool(targets) and set(targets) <= set(kept) and not set(targets) & set(needed)
    return Comparison(tuple(targets), classes, missing) if there else None
