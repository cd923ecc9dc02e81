"""A training's curves, out of its `metrics.jsonl`: what was read once is not read again, and a million epochs are
thinned to what a screen can show, each span with its extremes, so that no peak is lost."""

from __future__ import annotations

import json
import math
import os
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

KEPT = 16
"""Jobs whose figures are held in memory, the last ones asked for."""

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
                for raw in file:
                    if not raw.endswith(b"\n"):
                        break
                    self._position += len(raw)
                    self._add(raw)
        except FileNotFoundError:
            self.columns, self.gaps, self._position = {"epoch": array("d")}, set(), 0

    def _add(self, raw: bytes) -> None:
        try:
            row = json.loads(raw)
            epoch = row["epoch"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        if not _is_number(epoch):
            return
        count = len(self.columns["epoch"])
        for name in row.keys() - self.columns.keys():
            self.columns[name] = array("d", [math.nan]) * count
            if count:
                self.gaps.add(name)
        for name, values in self.columns.items():
            value = row.get(name)
            if _is_number(value):
                values.append(value)
            else:
                values.append(math.nan)
                self.gaps.add(name)

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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _told(value: float) -> float | None:
    return None if math.isnan(value) else value
