"""The pictures of a replay: one HTML page with inline SVG; no scripts, nothing from elsewhere. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from .machine import Life, Replay

WIDTH, HEIGHT = 900, 220
DAY_S = 86_400.0
WAIT_STEPS_S = (1, 10, 60, 600, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 48 * 3600, math.inf)
WAIT_NAMES = ("<1 s", "<10 s", "<1 min", "<10 min", "<1 h", "<4 h", "<12 h", "<1 d", "<2 d", "more")
POINTS = 300
"""Spans of time in the picture of utilisation."""

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:940px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse}td{padding:.1em 1.2em .1em 0}svg{width:100%;height:auto;background:#f6f6f4}"
    "h2{font-size:1.05em;margin:1.6em 0 .4em}text{font:11px system-ui,sans-serif;fill:#555}"
)


def page(replay: Replay, figures: Mapping[str, Any]) -> str:
    """The whole document."""
    title = escape(f"{replay.workload.name}, {replay.policy}")
    rows = "".join(f"<tr><td>{escape(name)}<td>{_value(value)}" for name, value in figures.items())
    day = busiest_day(replay.lives)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><table>{rows}</table>"
        f"<h2>Waits: jobs by how long they waited</h2>{_svg(_bars(wait_counts(replay.lives)))}"
        f"<h2>Utilisation over time</h2>{_svg(_area(busy_over_time(replay)))}"
        f"<h2>The busiest day ({day:.0f} days after the first job): cores over time</h2>{_svg(_gantt(replay, day))}"
        "</html>"
    )


def wait_counts(lives: Iterable[Life]) -> list[int]:
    """Jobs by their wait, in the steps of `WAIT_STEPS_S`."""
    counts = [0] * len(WAIT_STEPS_S)
    for life in lives:
        counts[next(n for n, most in enumerate(WAIT_STEPS_S) if life.wait_s < most)] += 1
    return counts


def busy_over_time(replay: Replay) -> list[float]:
    """The share of the cores that worked, in `POINTS` spans from the first arrival to the last end."""
    end = max(life.ended_at for life in replay.lives)
    span = max(end, 1e-9) / POINTS
    busy = [0.0] * POINTS
    for life in replay.lives:
        for begun, until, _ in life.stints:
            for n in range(int(begun / span), min(POINTS - 1, int(until / span)) + 1):
                overlap = min(until, (n + 1) * span) - max(begun, n * span)
                busy[n] += max(0.0, overlap) * life.arrival.cores
    return [work / (span * replay.workload.cores) for work in busy]


def busiest_day(lives: Iterable[Life]) -> int:
    """The day, from 0, on which most core-seconds were wanted by those that arrived."""
    wanted: dict[int, float] = {}
    for life in lives:
        day = int(life.arrival.submit_s // DAY_S)
        wanted[day] = wanted.get(day, 0.0) + life.arrival.cores * life.arrival.run_s
    return max(wanted, key=lambda day: (wanted[day], -day))


def _svg(content: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{content}</svg>'


def _bars(counts: list[int]) -> str:
    step, most = WIDTH / len(counts), max(*counts, 1)
    parts = []
    for n, (count, name) in enumerate(zip(counts, WAIT_NAMES, strict=True)):
        high = (HEIGHT - 50) * count / most
        x = n * step + 8
        box = f'x="{x:.1f}" y="{HEIGHT - 25 - high:.1f}" width="{step - 16:.1f}" height="{high:.1f}"'
        parts.append(
            f'<rect {box} fill="#3b6ea5"/>'
            f'<text x="{x:.1f}" y="{HEIGHT - 8}">{escape(name)}</text>'
            f'<text x="{x:.1f}" y="{HEIGHT - 30 - high:.1f}">{count}</text>'
        )
    return "".join(parts)


def _area(shares: list[float]) -> str:
    step = WIDTH / len(shares)
    points = " ".join(f"{n * step:.1f},{HEIGHT - (HEIGHT - 10) * share:.1f}" for n, share in enumerate(shares))
    return f'<polygon points="0,{HEIGHT} {points} {WIDTH},{HEIGHT}" fill="#3b6ea5"/>'


def _gantt(replay: Replay, day: int) -> str:
    begin, row = day * DAY_S, HEIGHT / replay.workload.cores
    parts = []
    for life in replay.lives:
        for begun, until, core in life.stints:
            left, right = max(begun, begin), min(until, begin + DAY_S)
            if left < right:
                x, width = (left - begin) / DAY_S * WIDTH, (right - left) / DAY_S * WIDTH
                y, high = core * row, min(life.arrival.cores, replay.workload.cores - core) * row
                shade = f"hsl({hash_hue(life.arrival.id)} 45% 60%)"
                box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{high:.1f}"'
                parts.append(f'<rect {box} fill="{shade}" fill-opacity=".8"/>')
    return "".join(parts)


def hash_hue(name: str) -> int:
    """A colour for a name, the same on every run."""
    return sum(ord(letter) * 37 for letter in name) % 360


def _value(value: Any) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else escape(str(value))
