"""`singlepoint ps`: the jobs, and why each waits."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import click

from singlepoint.jobs.amounts import amount_text, format_bytes
from singlepoint.jobs.client.listing import SORTS, Selection, Wanted, select
from singlepoint.jobs.client.query import Row
from singlepoint.jobs.client.session import Session, Settings, open_session
from singlepoint.jobs.clock import local, now, seconds
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.lifecycle.summary import SCHEMA

from .options import as_json, examples, status_option, statuses
from .text import age, duration, percent, plural, table, terminal_width

COLUMNS = (
    "id",
    "name",
    "kind",
    "project",
    "state",
    "progress",
    "attempt",
    "priority",
    "cpu",
    "memory",
    "counted",
    "submitted",
    "running",
    "ended",
    "starts",
    "ends",
    "reason",
)

_ORDER = (State.RUNNING, State.QUEUED, State.PENDING, State.SUCCEEDED, State.FAILED, State.CANCELLED)

REDRAW_EVERY_S = 1.0


MOST_ENDED = 100
"""Shown to people when they do not say how many they want."""


def listing_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say which jobs are listed, passed as `wanted`."""

    @click.option("-a", "--all", "everything", is_flag=True, help="Show jobs that have ended, too.")
    @status_option
    @click.option("--name", metavar="GLOB", help="Those of such a name, for example 'wdbc-*'.")
    @click.option("--project", metavar="P", help="Those of a project.")
    @click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many, the newest.")
    @click.option("--sort", metavar="F", help=f"By a column: {', '.join(SORTS)}; -cpu: largest first.  [newest first]")
    @functools.wraps(command)
    def with_wanted(
        *arguments: Any,
        everything: bool,
        status: tuple[str, ...],
        name: str | None,
        project: str | None,
        limit: int | None,
        sort: str | None,
        **options: Any,
    ) -> None:
        wanted = Wanted(everything, statuses(status), name, project=project, limit=limit, sort=sort)
        command(*arguments, wanted=wanted, **options)

    return with_wanted


@click.command(
    epilog=examples(
        "singlepoint ps",
        "singlepoint ps --status failed --name 'wdbc-*' --limit 20",
        "singlepoint ps -a --json | jq '.jobs[].state'",
    )
)
@listing_options
@click.option("-w", "--watch", is_flag=True, help="Keep showing them, until Ctrl-C.")
@as_json
@click.pass_obj
def ps(settings: Settings, wanted: Wanted, watch: bool, as_json: bool) -> None:
    """List the jobs that have not ended, newest first, with the reason for which each one waits."""
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for programs: take one of them")
    wanted = wanted if as_json else for_people(wanted)
    session = open_session(settings)
    if watch:
        _watch(session, wanted)
    found = select(session, wanted)
    show_list(found, wanted, as_json=as_json)
    if found.away is not None:
        raise found.away


def for_people(wanted: Wanted) -> Wanted:
    """No more of those that have ended than anybody reads."""
    return replace(wanted, limit=MOST_ENDED) if wanted.limit is None and wanted.takes_ended else wanted


def show_list(found: Selection, wanted: Wanted, *, as_json: bool) -> None:
    """Print it as a table, or as a document."""
    if as_json:
        document = {"schema": SCHEMA, "jobs": found.rows, "matched": found.matched, "counts": dict(found.counts)}
        click.echo(json.dumps(document, indent=1))
    else:
        _print(found, wanted)


def _print(found: Selection, wanted: Wanted) -> None:
    if found.rows:
        click.echo(table([cells(row, now()) for row in found.rows], COLUMNS, terminal_width()))
    click.echo("; ".join(_sums(found, wanted)), err=True)


def _sums(found: Selection, wanted: Wanted) -> Iterator[str]:
    """What there is, and what of it is not shown."""
    counts = ", ".join(f"{found.counts[state]} {word}" for state, word in _WORDS.items() if found.counts.get(state))
    yield counts or "no job waits or runs"
    if found.matched > len(found.rows):
        yield f"{len(found.rows)} of {plural(found.matched, 'job')} shown, --limit N shows more"
    if not wanted.takes_ended:
        yield "`singlepoint ps -a` shows those that have ended, too"


_WORDS = {state.value: "waiting" if state is State.PENDING else state.value for state in _ORDER}


def cells(row: Row, at: float) -> dict[str, str]:
    """A row of the table, as text."""
    started, ended = (seconds(row[name]) if row[name] else None for name in ("started_at", "ended_at"))
    return {
        "id": row["id"],
        "name": row["name"],
        "kind": row["kind"],
        "project": row["project"],
        "state": "paused" if row["paused"] else row["state"],
        "progress": percent(row["progress"]) if row["state"] == "running" else "",
        "attempt": str(row["attempt"]) if row["attempt"] > 1 else "",
        "priority": str(row["priority"]) if row["priority"] else "",
        "cpu": f"{row['cpu']:g}",
        "memory": format_bytes(row["memory_bytes"]),
        "counted": ", ".join(amount_text(name, count) for name, count in (row.get("counted") or {}).items()),
        "submitted": age(seconds(row["submitted_at"]), at),
        "running": duration(at - started) if started is not None and row["state"] == "running" else "",
        "ended": age(ended, at),
        **{f"{name}s": _expected(row, name, at) for name in ("start", "end")},
        "reason": row["reason"] or "",
    }


def _expected(row: Row, name: str, at: float) -> str:
    """When it should start or end, as `eta` has it in the middle; what will not be told is nothing."""
    times = (row.get("eta") or {}).get(name)
    return local(seconds(times["p50"]), at) if times else ""


def _watch(session: Session, wanted: Wanted) -> None:
    """Draw the table anew while somebody looks at it; until Ctrl-C."""

    def draw() -> bool:
        found = select(session, wanted)
        click.clear()
        _print(found, wanted)
        return any(row["state"] == "running" and not row["paused"] for row in found.rows)

    with contextlib.suppress(KeyboardInterrupt):
        watch_over(replace(session, brief=False).index.news(REDRAW_EVERY_S), draw)
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
