"""What means "no value" in rows that come from no file: those of Python and HTTP, after they were made columns.

A model keeps what its training's `missing` said, and a reader of files leaves nothing of it; this is the same for rows
whose cells have types already: -999 is no number where `missing` has it, and neither is "?" a category.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from singlepoint.worker.data.formats.cells import NoValue
from singlepoint.worker.data.preprocessing import ArrayPreprocessor, Preprocessor, Raw, TablePreprocessor
from singlepoint.worker.nn.arrays import Array


@dataclass(frozen=True)
class Gaps:
    """columns: name, whether it is of words, and what means "no value", of each that may have such a cell."""

    names: tuple[str, ...] = ()
    columns: tuple[tuple[str, bool, NoValue], ...] = ()

    @classmethod
    def of(cls, preprocessor: Preprocessor | None) -> Gaps:
        """Those of a model."""
        if preprocessor is None or isinstance(preprocessor, ArrayPreprocessor) or preprocessor.missing == ():
            return cls()
        missing, names = preprocessor.missing, preprocessor.input_names
        words = set(names)
        if isinstance(preprocessor, TablePreprocessor):
            words = {column.name for column in preprocessor.categorical}
        if not isinstance(missing, dict) and not len(NoValue.of(missing, "").numbers):
            looked_at = [name for name in names if name in words] if words else []  # quick where all are numbers
        else:
            looked_at = list(names)
        columns = ((name, name in words, NoValue.of(missing, name)) for name in looked_at)
        return cls(names, tuple(one for one in columns if len(one[2].numbers) or (one[1] and one[2].words - {""})))

    def taken_out(self, raw: Raw) -> Raw:
        """The rows, named as the model has them or an array in its order, with NaN or "" where one is."""
        if not self.columns:
            return raw
        if not isinstance(raw, Mapping):
            if raw.ndim == 1:  # texts
                return _without(raw, self.columns[0][2], words=True)
            raw = {name: raw[:, place] for place, name in enumerate(self.names)}
        return {**raw, **{name: _without(raw[name], gap, words=words) for name, words, gap in self.columns}}


def _without(column: Array, gap: NoValue, *, words: bool) -> Array:
    if column.dtype.kind in "OU":
        cells = column.tolist()
        meant = {cell for cell in set(cells) if cell and gap.means(cell)}
        return _words(["" if cell in meant else cell for cell in cells]) if meant else column
    if column.dtype.kind == "b" and not words:
        return column
    if column.dtype.kind != "f" and words:  # codes, which a float may merge
        different = np.unique(column).tolist()
        meant = {cell for cell in different if gap.means(str(cell))}
        return _words(["" if cell in meant else str(cell) for cell in column.tolist()]) if meant else column
    if column.dtype.kind == "f":
        return gap.taken_out(column)
    taken = gap.taken_out(column.astype(np.float64))
    return taken if np.isnan(taken).any() else column


def _words(cells: list[str]) -> Array:
    column = np.empty(len(cells), object)
    column[:] = cells
    return column
