"""`singlepoint ps`: the jobs, and why each waits."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable

import click

from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.client.query import Listing, Row, listing
from singlepoint.jobs.client.session import Session, Settings, open_session
from singlepoint.jobs.clock import now, seconds
from singlepoint.jobs.lifecycle.states import FINAL
from singlepoint.jobs.lifecycle.summary import SCHEMA

from .options import as_json, examples
from .text import age, duration, percent, plural, table

COLUMNS = (
    "id",
    "name",
    "kind",
    "state",
    "progress",
    "attempt",
    "priority",
    "cpu",
    "memory",
    "submitted",
    "running",
    "ended",
    "reason",
)

REDRAW_EVERY_S = 1.0


@click.command(epilog=examples("singlepoint ps", "singlepoint ps -a --json | jq '.jobs[].state'"))
@click.option("-a", "--all", "everything", is_flag=True, help="Show jobs that have ended, too.")
@click.option("-w", "--watch", is_flag=True, help="Keep showing them, until Ctrl-C.")
@as_json
@click.pass_obj
def ps(settings: Settings, everything: bool, watch: bool, as_json: bool) -> None:
    """List the jobs that have not ended, with the reason for which each one waits."""
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for programs: take one of them")
    session = open_session(settings)
    if watch:
        _watch(session, everything)
    found = listing(session)
    if as_json:
        rows = _shown(found, everything)
        click.echo(json.dumps({"schema": SCHEMA, "jobs": rows}, indent=1))
    else:
        _print(found, everything)
    if found.away is not None:
        raise found.away


def _shown(found: Listing, everything: bool) -> list[Row]:
    return [row for row in found.rows if everything or row["state"] not in FINAL]


def _print(found: Listing, everything: bool) -> None:
    rows = _shown(found, everything)
    hidden = len(found.rows) - len(rows)
    if rows:
        click.echo(table([cells(row, now()) for row in rows], COLUMNS))
    if hidden:
        click.echo(f"{plural(hidden, 'job')} that ended not shown; `singlepoint ps -a` shows all", err=True)
    elif not rows:
        click.echo("no jobs yet; `singlepoint submit train SPEC.toml` makes one", err=True)


def cells(row: Row, at: float) -> dict[str, str]:
    """A row of the table, as text."""
    started, ended = (seconds(row[name]) if row[name] else None for name in ("started_at", "ended_at"))
    return {
        "id": row["id"],
        "name": row["name"],
        "kind": row["kind"],
        "state": "paused" if row["paused"] else row["state"],
        "progress": percent(row["progress"]) if row["state"] == "running" else "",
        "attempt": str(row["attempt"]) if row["attempt"] > 1 else "",
        "priority": str(row["priority"]) if row["priority"] else "",
        "cpu": f"{row['cpu']:g}",
        "memory": format_bytes(row["memory_bytes"]),
        "submitted": age(seconds(row["submitted_at"]), at),
        "running": duration(at - started) if started is not None and row["state"] == "running" else "",
        "ended": age(ended, at),
        "reason": row["reason"] or "",
    }


def _watch(session: Session, everything: bool) -> None:
    """Draw the table anew while somebody looks at it; until Ctrl-C."""

    def draw() -> bool:
        found = listing(session)
        click.clear()
        _print(found, everything)
        return any(row["state"] == "running" and not row["paused"] for row in found.rows)

    with contextlib.suppress(KeyboardInterrupt):
        watch_over(session.index.news(REDRAW_EVERY_S), draw)
    raise click.exceptions.Exit(0)


def watch_over(news: Iterable[str], draw: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
    """Draw once at first, then after news or while something moves, never twice within a second.

    news: ids of jobs that moved, and "" whenever a second went by without any.  draw: answers whether
    something moves that no news will tell of.
    """
    drawn, due, moving = float("-inf"), True, False
    for job_id in news:
        due = due or bool(job_id) or moving
        if due and clock() - drawn >= REDRAW_EVERY_S:
            moving = draw()
            drawn, due = clock(), False
