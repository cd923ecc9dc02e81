"""U(t) as one HTML page with inline SVG: no scripts, nothing from elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle.flow import Flow

Point = tuple[float, Flow]
"""When a span of time began, and what passed in it."""

WIDTH, HEIGHT = 900, 180
READINGS = {"reserved": "#c9c7bf", "used": "#7fa3c7", "useful": "#2f5f93"}
_TITLES = {"cpu_millis": "Cores", "memory_bytes": "Memory", "storage_bytes": "Disk", "network_bytes_s": "Network"}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:940px;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "svg{width:100%;height:auto;background:#f6f6f4}text{font:11px system-ui,sans-serif;fill:#555}"
    "h2{font-size:1.05em;margin:1.6em 0 .4em}b{display:inline-block;width:.8em;height:.8em;margin:0 .4em 0 1.2em}"
    "td{padding:.1em 1.2em .1em 0}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}svg{background:#222}text{fill:#aaa}}"
)


def chart_page(
    title: str, series: Sequence[tuple[str, float, Sequence[Point]]], rows: Sequence[tuple[str, str]]
) -> str:
    """The whole document.

    series: a name, the seconds a point stands for, and the points, oldest first.  rows: the account, name and text.
    """
    table = "".join(f"<tr><td>{escape(name)}<td>{escape(text)}" for name, text in rows)
    legend = "".join(f'<b style="background:{colour}"></b>{name}' for name, colour in READINGS.items())
    drawn = "".join(_section(name, slot_s, points) for name, slot_s, points in series if points)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1><table>{table}</table>"
        f"<p>U(t) = C(t) / C_max{legend}</p>{drawn or '<p>Nothing was measured yet.</p>'}</html>"
    )


def _section(name: str, slot_s: float, points: Sequence[Point]) -> str:
    resources = dict.fromkeys(resource for _, flow in points for resource in flow.shares())
    begin, end = points[0][0], points[-1][0] + slot_s
    span = f"{iso(begin)[:19]}Z to {iso(end)[:19]}Z"
    titles = {resource: escape(_TITLES.get(resource, resource)) for resource in resources}
    return "".join(
        f"<h2>{titles[resource]}, {escape(name)}</h2>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{titles[resource]}, {span}">'
        f"{_bars(resource, slot_s, points)}"
        f'<text x="4" y="{HEIGHT - 4}">{span}</text><text x="4" y="12">100 %</text></svg>'
        for resource in resources
    )


def _bars(resource: str, slot_s: float, points: Sequence[Point]) -> str:
    """A step for each point and reading, the larger reading behind; a gap is a time that nobody measured."""
    begin = points[0][0]
    scale = WIDTH / (points[-1][0] + slot_s - begin)
    parts = []
    for reading, colour in READINGS.items():
        steps = []
        for at, flow in points:
            share = min(1.0, flow.shares().get(resource, {}).get(reading, 0.0))
            x, high = (at - begin) * scale, (HEIGHT - 20) * share
            steps.append(f"M{x:.1f} {HEIGHT - 16}v{-high:.1f}h{slot_s * scale:.2f}v{high:.1f}z")
        parts.append(f'<path fill="{colour}" d="{"".join(steps)}"/>')
    return "".join(parts)
