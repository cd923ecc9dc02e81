"""Whether the machine as a whole is short of memory, whoever takes it: then nothing is started, and if it lasts,
work is put down. Pure.

Two signs: the share of time in which some task waits for memory (PSI), and how much can still be had without swapping.
Each begins at one mark and ends at a milder one, so that nothing flickers. Cores and disk are no such sign: work that
waits for them is slow, and nothing worse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

WAITED = (0.10, 0.05)
"""Share of the last ten seconds in which some task waited for memory: from here on, until there."""

LEFT = (0.03, 0.045)
"""Share of the machine's memory that can still be had: likewise."""

LASTS_S = 10.0
"""So long after it began, and after the last one, the least important work is put down; one at a time."""


@dataclass(frozen=True)
class Strain:
    """why: for people.  since: from when on it counts; anew when something was done, which may help."""

    why: str
    since: float

    def lasts(self, now: float) -> bool:
        return now - self.since >= LASTS_S

    def eased(self, now: float) -> Strain:
        """Something was done about it, or happened meanwhile."""
        return replace(self, since=now)


def judged(before: Strain | None, waited: float | None, left: float | None, now: float) -> Strain | None:
    """The strain there is now; None for none. waited, left: see WAITED and LEFT; None where nobody tells."""
    mark = 0 if before is None else 1
    signs = []
    if waited is not None and waited > WAITED[mark]:
        signs.append(f"tasks wait for memory {waited:.0%} of the time")
    if left is not None and left < LEFT[mark]:
        signs.append(f"{left:.1%} of its memory can still be had")
    if not signs:
        return None
    return Strain(f"the machine is short of memory: {', '.join(signs)}", before.since if before is not None else now)
