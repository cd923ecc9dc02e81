"""What an attempt uses, measured from inside: wall and processor seconds, peak memory, cost of saves."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from singlepoint.jobs.lifecycle.records import Sample, Usage

from .process import private_bytes, resident_bytes
from .tree import Footprint, cpu_s


@dataclass(frozen=True)
class SaveCost:
    """What saving took from the work: how many saves, and the seconds of all of them together.

    The seconds are those the work stood still, and those of processor time the thread used, which on a core
    of its own the work would have had.
    """

    saves: int = 0
    overhead_s: float = 0.0

    @property
    def save_s(self) -> float:
        return self.overhead_s / self.saves if self.saves else 0.0


class Meter:
    """Reads the process's own counters. The processor seconds of children that ended are included."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun = clock()
        self._cpu_begun = _cpu_s()
        self._begun_bytes = resident_bytes(os.getpid()) or 0
        self._peak_bytes = 0
        self.saves = SaveCost()
        self.children: Sequence[int] = ()
        """Forks of ours whose memory is part of the work: what is theirs alone."""
        self.programs: Callable[[], Sequence[int]] = tuple
        """Finds the processes of programs that do the work: all they use counts."""
        self._programs = Footprint()
        self.pauses = 0
        self.pauses_s = 0.0
        """What giving the cores back and taking them up again took, all pauses together."""

    def look(self) -> int:
        """The memory in use now beyond what the process began with, in bytes; the peak is the largest seen."""
        own = max(0, (resident_bytes(os.getpid()) or 0) - self._begun_bytes)
        used = own + sum(map(private_bytes, self.children)) + self._programs.look(self.programs())
        self._peak_bytes = max(self._peak_bytes, used)
        return used

    def saw(self, used_bytes: int) -> None:
        """Somebody else saw so much in use: the kernel, when it let the work have no more."""
        self._peak_bytes = max(self._peak_bytes, used_bytes)

    def sample(self, attempt: int, at: float) -> Sample:
        """What was used until now, `at`; how far the work is, whoever does it must add."""
        return Sample(
            attempt,
            at,
            wall_s=round(self._clock() - self._begun, 3),
            cpu_s=round(self._cpu_s(), 3),
            memory_bytes=self.look(),
        )

    def usage(self) -> Usage:
        self.look()
        return Usage(
            wall_s=round(self._clock() - self._begun, 6),
            cpu_s=round(self._cpu_s(), 6),
            peak_memory_bytes=self._peak_bytes,
            saves=self.saves.saves,
            save_s=round(self.saves.save_s, 6),
            overhead_s=round(self.saves.overhead_s, 6),
            pauses=self.pauses,
            pause_s=round(self.pauses_s / self.pauses, 6) if self.pauses else 0.0,
        )

    def _cpu_s(self) -> float:
        return _cpu_s() - self._cpu_begun + cpu_s(self.programs())


def _cpu_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
