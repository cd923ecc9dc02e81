"""Flows over time, in files that never grow: one ring of slots for each resolution, of seconds, minutes and hours.

A slot is found by its time and says which time it is of, so an old one that was not overwritten is not taken for a new
one. Figures for people: not fsynced, and given up on a full disk; a power cut loses seconds of them, and a file that is
damaged is begun anew. One process writes, any may read.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
from collections.abc import Iterator
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


class Rings:
    """The rings in one directory, which is made by the first to write."""

    def __init__(self, directory: Path, rings: tuple[Ring, ...] = RINGS) -> None:
        self._directory, self._rings = directory, rings

    def add(self, at: float, flow: Flow) -> None:
        """Add to the slots that `at` lies in. Raises OSError when they cannot be written."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for ring in self._rings:
            descriptor = os.open(self._path(ring), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                number = int(at // ring.slot_s)
                place = number % ring.slots * _SLOT.size
                before = _read_slot(os.pread(descriptor, _SLOT.size, place), number)
                total = before + flow if before is not None else flow
                os.pwrite(descriptor, _SLOT.pack(number, *total.figures()), place)
            finally:
                os.close(descriptor)

    def read(self, ring: Ring, begin: float, end: float) -> Iterator[tuple[float, Flow]]:
        """(begin of a slot, its flow) for every slot that was written between two times, oldest first."""
        try:
            content = self._path(ring).read_bytes()
        except OSError:
            return
        last = int(end // ring.slot_s)
        for number in range(max(int(begin // ring.slot_s), last - ring.slots + 1), last + 1):
            place = number % ring.slots * _SLOT.size
            if (flow := _read_slot(content[place : place + _SLOT.size], number)) is not None:
                yield float(number * ring.slot_s), flow

    def over(self, begin: float, end: float) -> Iterator[tuple[float, Flow]]:
        """The same, from the finest ring that reaches back so far."""
        fitting = [ring for ring in self._rings if end - begin <= ring.slot_s * (ring.slots - 1)]
        return self.read(fitting[0] if fitting else self._rings[-1], begin, end)

    def total(self, begin: float, end: float) -> Flow:
        """All that passed between two times."""
        return sum((flow for _, flow in self.over(begin, end)), Flow())

    def _path(self, ring: Ring) -> Path:
        return self._directory / f"{ring.name}.ring"


def _read_slot(content: bytes, number: int) -> Flow | None:
    """The flow in a slot, if it is of that number and sound."""
    with contextlib.suppress(struct.error):
        found, *figures = _SLOT.unpack(content)
        if found == number and all(math.isfinite(figure) and figure >= 0 for figure in figures):
            return Flow.from_figures(figures)
    return None
