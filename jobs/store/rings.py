"""Flows over time, in files that never grow: one ring of slots for each resolution, of seconds, minutes and hours; what
is counted has rings of its own, by its name.

A slot is found by its time and says which time it is of, so an old one that was not overwritten is not taken for a new
one. Figures for people: not fsynced, and given up on a full disk; a power cut loses seconds of them, and a file that is
damaged is begun anew. One process writes, any may read.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from singlepoint.jobs.lifecycle.flow import FIGURES, Flow


@dataclass(frozen=True)
class Ring:
    """slot_s: seconds a slot stands for.  slots: how many are kept."""

    name: str
    slot_s: int
    slots: int


RINGS = (Ring("seconds", 1, 900), Ring("minutes", 60, 2880), Ring("hours", 3600, 9600))
"""A quarter of an hour by seconds, two days by minutes, a year and more by hours: 2 MB in all."""

RINGS_OF_A_JOB = (Ring("seconds", 1, 300), Ring("minutes", 60, 720), Ring("hours", 3600, 2400))
"""Five minutes, half a day, a hundred days: at most half a megabyte, and some 50 KiB after the first minutes."""

_SLOT = struct.Struct(f"<q{FIGURES}d")
_COUNTED = struct.Struct("<q2d")
"""What is counted: capacity, and what was granted of it."""


class Rings:
    """The rings in one directory, which is made by the first to write."""

    def __init__(self, directory: Path, rings: tuple[Ring, ...] = RINGS) -> None:
        self._directory, self._rings = directory, rings

    def add(self, at: float, flow: Flow) -> None:
        """Add to the slots that `at` lies in. Raises OSError when they cannot be written."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for ring in self._rings:
            number = int(at // ring.slot_s)
            _add(self._path(ring), _SLOT, number, number % ring.slots, flow.figures())
            for name, figures in flow.counted.items():
                _add(self._path(ring, name), _COUNTED, number, number % ring.slots, figures)

    def read(self, ring: Ring, begin: float, end: float) -> Iterator[tuple[float, Flow]]:
        """(begin of a slot, its flow) for every slot that was written between two times, oldest first."""
        try:
            content = self._path(ring).read_bytes()
        except OSError:
            return
        counted = dict(self._counted(ring))
        last = int(end // ring.slot_s)
        for number in range(max(int(begin // ring.slot_s), last - ring.slots + 1), last + 1):
            place = number % ring.slots
            if figures := _read_slot(content, _SLOT, number, place):
                found = {name: _read_slot(there, _COUNTED, number, place) for name, there in counted.items()}
                pairs = {name: (pair[0], pair[1]) for name, pair in found.items() if pair}
                yield float(number * ring.slot_s), Flow.from_figures(figures, pairs)

    def over(self, begin: float, end: float) -> Iterator[tuple[float, Flow]]:
        """The same, from the finest ring that reaches back so far."""
        fitting = [ring for ring in self._rings if end - begin <= ring.slot_s * (ring.slots - 1)]
        return self.read(fitting[0] if fitting else self._rings[-1], begin, end)

    def total(self, begin: float, end: float) -> Flow:
        """All that passed between two times."""
        return sum((flow for _, flow in self.over(begin, end)), Flow())

    def _path(self, ring: Ring, counted: str = "") -> Path:
        return self._directory / f"{ring.name}{'.' if counted else ''}{counted}.ring"

    def _counted(self, ring: Ring) -> Iterator[tuple[str, bytes]]:
        """What there is of each resource that is or was counted."""
        for path in self._directory.glob(f"{ring.name}.*.ring"):
            with contextlib.suppress(OSError):
                yield path.name.split(".")[1], path.read_bytes()


def _add(path: Path, slot: struct.Struct, number: int, place: int, figures: Sequence[float]) -> None:
    """Add to what is in a slot; what is there of another time, or damaged, goes."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        before = _read_slot(os.pread(descriptor, slot.size, place * slot.size), slot, number)
        total = [a + b for a, b in zip(before, figures, strict=True)] if before else figures
        os.pwrite(descriptor, slot.pack(number, *total), place * slot.size)
    finally:
        os.close(descriptor)


def _read_slot(content: bytes, slot: struct.Struct, number: int, place: int = 0) -> list[float] | None:
    """The figures in a slot, if they are of that number and sound."""
    with contextlib.suppress(struct.error):
        found, *figures = slot.unpack_from(content, place * slot.size)
        if found == number and all(math.isfinite(figure) and figure >= 0 for figure in figures):
            return figures
    return None
