"""How predictions are written: CSV (copied columns, then the answers) or .npy (probabilities or values).

A format turns tiles into bytes; the bytes of a row depend on the row only, and the header on the number of
rows, so an output can be written in parts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Protocol

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.data.formats import Tile
from singlepoint.worker.models.predictor import Predictor, Scores


class OutputFormat(Protocol):
    """header: the bytes before the first row, once the number of rows is known.  rows: those of a tile."""

    def header(self, rows: int) -> bytes: ...

    def rows(self, tile: Tile, scores: Scores) -> bytes: ...


class CsvOutput:
    """The copied columns as they stand in the input, then the answers, by the predictor's names.

    Raises InvalidInput when a copied column has the name of an answer: nobody could tell which is which.
    """

    def __init__(self, predictor: Predictor, columns: Sequence[str], prefix: str = "") -> None:
        self._columns = tuple(columns)
        self._answers = [prefix + name for name in predictor.names]
        clashing = [name for name in self._columns if name in self._answers]
        if clashing:
            hint = "set answer_prefix = 'new_', or list in pass_through the columns to copy, without it"
            raise InvalidInput(
                [Problem("input", f"its column '{name}' has the name of an answer", hint) for name in clashing]
            )

    def header(self, rows: int) -> bytes:
        return _csv([[*self._columns, *self._answers]])

    def rows(self, tile: Tile, scores: Scores) -> bytes:
        # The text form of a number: the fewest digits that give the same number back.
        numbers = _numbers(scores).astype("U").T.tolist()
        labels = [] if scores.labels is None else [list(scores.labels)]
        if tile.lines is not None:
            answers = _csv(zip(*labels, *numbers, strict=True)).decode()
            if "\r" not in answers and answers.count("\n") == tile.rows:
                pairs = zip(tile.lines, answers.split("\n"), strict=False)  # nothing comes after the last line end
                return "".join([f"{line},{answer}\n" for line, answer in pairs]).encode()
        copied = [tile.kept[name] for name in self._columns]
        return _csv(zip(*copied, *labels, *numbers, strict=True))


class NpyOutput:
    """One array: probabilities (n, classes), float32, or values (n, targets), float64."""

    def __init__(self, predictor: Predictor, columns: Sequence[str], prefix: str = "") -> None:
        self._width = len(predictor.classes or predictor.names)
        self._type = "<f4" if predictor.classes else "<f8"
        del columns, prefix  # an array has no columns to copy, and none with names

    def header(self, rows: int) -> bytes:
        buffer = io.BytesIO()
        shape = (rows, self._width)
        np.lib.format.write_array_header_1_0(buffer, {"descr": self._type, "fortran_order": False, "shape": shape})
        return buffer.getvalue()

    def rows(self, tile: Tile, scores: Scores) -> bytes:
        return np.ascontiguousarray(_numbers(scores), self._type).reshape(tile.rows, self._width).tobytes()


FORMATS: dict[str, type[CsvOutput] | type[NpyOutput]] = {".csv": CsvOutput, ".npy": NpyOutput}


def output_format(output: PurePath, predictor: Predictor, columns: Sequence[str], prefix: str = "") -> OutputFormat:
    """How to write the answers to a file of this name. columns: those copied. Raises InvalidInput."""
    return FORMATS[output.suffix](predictor, columns, prefix)


def _numbers(scores: Scores) -> npt.NDArray[np.float32] | npt.NDArray[np.float64]:
    """(rows, classes) probabilities, or (rows, targets) values."""
    numbers = scores.values if scores.probabilities is None else scores.probabilities
    assert numbers is not None
    return numbers


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    rows = list(rows)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    if "\r" not in buffer.getvalue():
        return buffer.getvalue().encode()
    # A lone carriage return ends a line for many readers, but not every csv module puts quotes around it.
    buffer = io.StringIO()
    plain, quoting = (
        csv.writer(buffer, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    for row in rows:
        (quoting if any("\r" in str(cell) for cell in row) else plain).writerow(row)
    return buffer.getvalue().encode()
