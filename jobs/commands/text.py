"""How values look to a person: tables without empty columns, ages, durations, states in colour."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence

import click

from singlepoint.jobs.errors import SinglepointError

from .terminal import spelled_out

STATE_COLOURS: dict[str, str] = {
    "running": "cyan",
    "queued": "cyan",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
}

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def table(rows: Sequence[Mapping[str, str]], columns: Sequence[str], width: int | None = None) -> str:
    """Rows of cells under their columns' names; a column in which no row has anything is left out.

    width: of the terminal, to which the last column is cut; None: nothing is.
    """
    rows = [{name: spelled_out(row.get(name, "")) for name in columns} for row in rows]
    shown = [name for name in columns if any(row.get(name) for row in rows)]
    widths = {name: max(len(name), *(len(row.get(name, "")) for row in rows)) for name in shown}
    if shown:
        last = shown.pop()
        room = None if width is None else max(_LEAST_WIDTH, width - sum(widths[name] + 2 for name in shown))
        rows = [{**row, last: _cut(row.get(last, ""), room)} for row in rows]
        widths[last] = 0  # nothing follows that would have to line up
        shown.append(last)
    lines = ["  ".join(name.upper().ljust(widths[name]) for name in shown)]
    lines += ["  ".join(_cell(name, row.get(name, ""), widths[name]) for name in shown) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


_LEAST_WIDTH = 12


def _cut(text: str, room: int | None) -> str:
    return text if room is None or len(text) <= room else text[: room - 1] + "…"


def terminal_width() -> int | None:
    """How many columns whoever looks at stdout has; None when it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _cell(name: str, text: str, width: int) -> str:
    padded = text.ljust(width)
    return coloured(padded) if name in ("state", "end") else padded


def coloured(text: str) -> str:
    """A state in its colour; click takes the colour out again where nobody would see it."""
    colour = STATE_COLOURS.get(text.strip())
    return click.style(text, fg=colour) if colour else text


def fields(pairs: Mapping[str, str]) -> str:
    """`name   value` lines; a pair without a value is left out."""
    shown = {name: spelled_out(value) for name, value in pairs.items() if value}
    width = max((len(name) for name in shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {_cell(name, value, 0)}" for name, value in shown.items())


def duration(length_s: float | None) -> str:
    """`0.35 s`, `12 s`, `3m 20s`, `2d 4h`: the two units that matter."""
    if length_s is None:
        return ""
    if length_s < 60:
        return f"{length_s:.2g} s" if length_s < 10 else f"{length_s:.0f} s"
    left = int(length_s)
    words: list[str] = []
    for size, unit in _UNITS:
        if left >= size or words:
            words.append(f"{left // size}{unit}")
            left %= size
    return " ".join(words[:2])


def age(at: float | None, now: float) -> str:
    """`just now`, `2m ago`."""
    if at is None:
        return ""
    past = int(now - at)
    size, unit = next(((size, unit) for size, unit in _UNITS if past >= size), (1, "s"))
    return "just now" if past < 1 else f"{past // size}{unit} ago"


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}%"


def plural(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def complaint(error: SinglepointError) -> str:
    """An error as every command prints it: what happened, then what to do."""
    message = error.message.replace("\n", "\n             ")
    return spelled_out(f"singlepoint: {message}" + (f"\n  hint: {error.hint}" if error.hint else ""))
