"""The place of a process that is to be kept alive: who has it, and while nobody has, when the next start is due.

A process that dies is due again at once the first two times, then later and later, until one lives for a while. The
clock is passed in; whoever owns the places starts, reaps and signals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

FIRST_DELAY_S = 0.1


@dataclass(frozen=True)
class Patience:
    """How a death is taken. steady_s: what lived this long did not die of how it was started.

    longest_s: between two starts.  longest_after_kill_s: the same after a SIGKILL, which says nothing of the process.
    """

    steady_s: float = 5.0
    longest_s: float = 5.0
    longest_after_kill_s: float = 0.5

    def delay_s(self, deaths: int, *, killed: bool = False) -> float:
        """Seconds until the next start after `deaths` early deaths in a row; none after the first two."""
        if deaths <= 2:
            return 0.0
        # The exponent is bounded because 2.0**1100 is an error, and a process can die that often.
        delay: float = FIRST_DELAY_S * 2.0 ** min(deaths - 3, 32)
        return min(delay, self.longest_after_kill_s if killed else self.longest_s)


@dataclass
class Slot:
    """One place. pid: 0 while nobody has it.  deaths: early ones in a row.  Times are the owner's clock's."""

    patience: Patience = field(default=Patience(), kw_only=True)
    pid: int = field(default=0, kw_only=True)
    started_at: float = field(default=0.0, kw_only=True)
    deaths: int = field(default=0, kw_only=True)
    due_at: float = field(default=0.0, kw_only=True)

    def is_due(self, now: float) -> bool:
        return self.pid == 0 and self.due_at <= now

    def taken(self, pid: int, now: float) -> None:
        """A process was started."""
        self.pid, self.started_at = pid, now

    def vacated(self, now: float, *, killed: bool = False) -> None:
        """Its process has died, or could not be started."""
        self.pid = 0
        self.deaths = 1 if now - self.started_at >= self.patience.steady_s else self.deaths + 1
        self.due_at = now + self.patience.delay_s(self.deaths, killed=killed)


def until_due_s(slots: Iterable[Slot], now: float) -> float | None:
    """Seconds until the next start is due; None when every place is taken."""
    due = [slot.due_at for slot in slots if slot.pid == 0]
    return max(0.0, min(due) - now) if due else None
