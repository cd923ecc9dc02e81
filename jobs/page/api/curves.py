"""A training's curves, out of its `metrics.jsonl`: what was read once is not read again, and a million epochs are
thinned to what a screen can show, each span with its extremes, so that no peak is lost."""

from __future__ import annotations

import math
import os
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic_core import from_json

KEPT = 16
"""Jobs whose figures are held in memory, the last ones asked for."""

BLOCK_BYTES = 1 << 20
"""Of a file, read and taken in at once."""

MOST = 1e300

Row = dict[str, Any]

AXES = frozenset({"epoch", "step", "wall_s"})


class Curve:
    """The figures of one file, as far as it has been read; a figure that is missing or not finite is NaN."""

    def __init__(self) -> None:
        self.columns: dict[str, array[float]] = {"epoch": array("d")}
        self.gaps: set[str] = set()
        self._position = 0
        self._file: tuple[int, int] | None = None

    def read_on(self, path: Path) -> None:
        """Take in what was added; all anew when the file is another, as after a crash. An unfinished line is left."""
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if self._file != (status.st_dev, status.st_ino) or status.st_size < self._position:
                    self.columns, self.gaps, self._position = {"epoch": array("d")}, set(), 0
                    self._file = (status.st_dev, status.st_ino)
                file.seek(self._position)
                while lines := [raw for raw in file.readlines(BLOCK_BYTES) if raw.endswith(b"\n")]:
                    self._position += sum(map(len, lines))
                    self._add(_rows(lines))
        except FileNotFoundError:
            self.columns, self.gaps, self._position = {"epoch": array("d")}, set(), 0

    def _add(self, rows: Sequence[Row]) -> None:
        """Column by column: most blocks have the same figures, all finite, in every row."""
        if not rows:
            return
        count = len(self.columns["epoch"])
        for name in set().union(*rows) - self.columns.keys():
            self.columns[name] = array("d", [math.nan]) * count
            if count:
                self.gaps.add(name)
        for name, values in self.columns.items():
            found: list[Any] = [row.get(name) for row in rows]
            if not _all_numbers(found):
                self.gaps.add(name)
                found = [value if _is_number(value) else math.nan for value in found]
            values.extend(found)

    def thinned(self, after: int, points: int) -> dict[str, list[float | None]]:
        """The columns of the epochs after one, at most about `points` of each."""
        epochs = self.columns["epoch"]
        begin = next((n for n in range(len(epochs), 0, -1) if epochs[n - 1] <= after), 0) if after else 0
        chosen = self._chosen(begin, points)
        return {name: [_told(values[n]) for n in chosen] for name, values in self.columns.items()}

    def _chosen(self, begin: int, points: int) -> Sequence[int]:
        count = len(self.columns["epoch"])
        if count - begin <= points:
            return range(begin, count)
        figures = [name for name in self.columns if name not in AXES]
        spans = max(1, points // (2 * max(1, len(figures))))
        edges = [begin + (count - begin) * span // spans for span in range(spans + 1)]
        kept = {count - 1}
        for low, high in pairwise(edges):
            kept.update(self._extremes(figures, low, high))
        return sorted(kept)

    def _extremes(self, figures: Sequence[str], low: int, high: int) -> Iterator[int]:
        yield low
        for name in figures:
            values = self.columns[name][low:high]
            known = [value for value in values if value == value] if name in self.gaps else values
            if known:
                yield low + values.index(min(known))
                yield low + values.index(max(known))


class Curves:
    """The curves that were asked for last. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, Curve] = OrderedDict()

    def of(self, path: Path, after: int, points: int) -> dict[str, list[float | None]]:
        with self._lock:
            curve = self._kept.setdefault(path, Curve())
            self._kept.move_to_end(path)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            curve.read_on(path)
            return curve.thinned(after, points)


def _rows(lines: Sequence[bytes]) -> list[Row]:
    """The tables among some lines that have an epoch: all of them at once, or one by one where one is damaged."""
    try:
        rows = from_json(b"[%b]" % b",".join(lines))
    except ValueError:
        rows = [row for raw in lines for row in _row(raw)]
    return [row for row in rows if isinstance(row, dict) and _is_number(row.get("epoch"))]


def _row(raw: bytes) -> list[Any]:
    try:
        return [from_json(raw)]
    except ValueError:
        return []


def _all_numbers(values: Sequence[Any]) -> bool:
    """Whether `_is_number` holds for each, told by what is quick to ask of all; in doubt it is denied."""
    if not set(map(type, values)) <= {int, float}:
        return False
    return min(values) > -MOST and max(values) < MOST and math.isfinite(sum(values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST


def _told(value: float) -> float | None:
    return None if math.isnan(value) else value
