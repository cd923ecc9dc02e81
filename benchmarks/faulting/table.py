"""One line of the result: what was measured, what came out, what was wanted, and whether that was reached."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """met: None where nothing was promised, or where it stands only for comparison."""

    what: str
    measured: str
    wanted: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        return f"{self.what:<58} {self.measured:<44} {self.wanted:<24} {verdict}".rstrip()


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed: the worst one, of fewer than twenty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def seconds_row(what: str, values: Sequence[float], *, median_s: float, p95_s: float) -> Row:
    middle, high = statistics.median(values), p95(values)
    return Row(
        what,
        f"median {middle:.3f} s, p95 {high:.3f} s (n={len(values)})",
        f"<= {median_s:g} s, <= {p95_s:g} s",
        middle <= median_s and high <= p95_s,
    )


def show(title: str, rows: Iterable[Row]) -> bool:
    """Print rows as they come; whether none of them was missed."""
    print(f"\n{title}", flush=True)
    good = True
    for row in rows:
        print(f"  {row}", flush=True)
        good = good and row.met is not False
    return good
