"""What a program tells of its progress: JSON lines in a file, or `name=value` on its standard output. Nothing of it is
trusted: what is no such line is counted and left aside."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from singlepoint.jobs.regular_files import regular

MOST_BYTES = 2**20
"""Read at one look; the rest waits for the next."""

MOST_LAST_BYTES = 8 * 2**20
"""Read once the program has ended; some seconds of work when it is full of words."""

LONGEST_LINE_BYTES = 2**16
LONGEST_NAME = 200
MOST_METRICS = 100
"""Names of metrics in one line ..."""

MOST_JOB_METRICS = 300
"""... and in a whole job: its last values stand in its history, which is read again and again."""

_NUMBER = r"[-+]?(?:\d++\.?+\d*+|\.\d++)(?:[eE][-+]?\d++)?+"
"""What is taken is never given back: else a long row of digits that no number is takes its length squared."""

_NAMED = re.compile(rf"(?:^|[\s,;|(])([A-Za-z_][\w./-]{{0,63}})\s?[=:]\s?({_NUMBER})(?=$|[\s,;|)%/])")
_COUNTS = ("step", "total", "epoch")


@dataclass(frozen=True)
class Told:
    """One line. step, total, epoch: None where it says nothing of it."""

    step: int | None = None
    total: int | None = None
    epoch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Lines:
    """Whole lines out of bytes that come in pieces. A line that does not end in time is dropped."""

    separators: bytes = b"\n"
    _rest: bytes = b""
    _too_long: bool = False

    def feed(self, content: bytes) -> Iterator[bytes]:
        pieces = re.split(b"[" + self.separators + b"]", self._rest + content)
        self._rest = pieces.pop()
        for piece in pieces:
            if not self._too_long:
                yield piece
            self._too_long = False
        if len(self._rest) > LONGEST_LINE_BYTES:
            self._rest, self._too_long = b"", True


@dataclass
class ProgressFile:
    """A file that the program appends JSON lines to. bad: how many were none."""

    path: Path
    bad: int = 0
    _read: int = 0
    _lines: Lines = field(default_factory=Lines)

    def news(self) -> list[Told]:
        """What has been told since the last look."""
        try:
            with open(self.path, "rb", opener=regular) as file:
                file.seek(self._read)
                content = file.read(MOST_BYTES)
        except OSError:
            return []
        self._read += len(content)
        return self._parsed(content)

    def rest(self) -> Iterator[Told]:
        """All that is left when nobody writes any more, a last line that was not ended included."""
        until = self._read + MOST_LAST_BYTES
        while self._read < until:
            before = self._read
            yield from self.news()
            if self._read == before:
                yield from self._parsed(b"\n")
                return

    def _parsed(self, content: bytes) -> list[Told]:
        found = [parse(line) for line in self._lines.feed(content) if line.strip()]
        self.bad += found.count(None)
        return [told for told in found if told is not None]


@dataclass
class ProgressText:
    """What the program prints. A progress bar that goes back to the beginning of its line begins a new one."""

    _lines: Lines = field(default_factory=lambda: Lines(b"\r\n"))

    def feed(self, content: bytes) -> list[Told]:
        found = (parse_text(line.decode(errors="replace")) for line in self._lines.feed(content))
        return [told for told in found if told is not None]


def bounded(told: Mapping[str, float], latest: Mapping[str, float]) -> dict[str, float]:
    """Of the metrics told now those with a name in `latest`, and as many new ones as a job may still have."""
    known = {name: value for name, value in told.items() if name in latest}
    new = [(name, value) for name, value in told.items() if name not in latest]
    return known | dict(new[: max(0, MOST_JOB_METRICS - len(latest))])


def parse(line: bytes) -> Told | None:
    """`{"step": 3, "total": 10, "epoch": 1, "loss": 0.5, "metrics": {"auc": 0.9}}`; None for anything else."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    inner = document.get("metrics")
    named = {**document, **(inner if isinstance(inner, dict) else {})}
    return _told(named)


def parse_text(line: str) -> Told | None:
    """`epoch=3 loss=0.25 auc=0.9` among whatever else stands in the line; None when there is nothing of the kind."""
    named = {name: float(value) for name, value in _NAMED.findall(line[:LONGEST_LINE_BYTES])}
    return _told(named) if named else None


def _told(named: Mapping[str, Any]) -> Told | None:
    numbers = {str(name): value for name, value in named.items() if _is_number(value)}
    counts = {name: int(numbers[name]) for name in _COUNTS if numbers.get(name, -1) >= 0}
    metrics = {
        name: float(value) for name, value in numbers.items() if name not in _COUNTS and len(name) <= LONGEST_NAME
    }
    if not counts and not metrics:
        return None
    return Told(**counts, metrics=dict(list(metrics.items())[:MOST_METRICS]))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**53 and math.isfinite(value)
