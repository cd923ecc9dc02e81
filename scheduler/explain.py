"""`singlepoint explain` and `eta`, and what `submit` is told: why a job waits, when it should start, what would help.

The sentence is the one of `ps` and `show`, the times are those that the scheduler told last. Times that it has not told
yet come of playing the line forward that it published, as does what holds a job up, and what would change that: without
one nothing is said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from singlepoint.jobs.amounts import amount_text, granted_text
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.listing import Wanted
from singlepoint.jobs.client.query import listing, live
from singlepoint.jobs.client.remote import API, listed, open_server
from singlepoint.jobs.client.session import Session, Settings, open_session
from singlepoint.jobs.clock import iso, local, now, seconds
from singlepoint.jobs.commands.options import as_json, complete_job, job_argument
from singlepoint.jobs.commands.text import table
from singlepoint.jobs.lifecycle.outlook import Outlook, foreseen_lines
from singlepoint.jobs.lifecycle.reasons import Eta
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import FINAL, State
from singlepoint.jobs.lifecycle.summary import summary
from singlepoint.jobs.spec.common import Checked
from singlepoint.scheduler.foresight import known, known_of, read_scene, with_spec
from singlepoint.scheduler.simulation.forecast import Foresight, foresee
from singlepoint.scheduler.simulation.situation import situation
from singlepoint.scheduler.simulation.whatif import outlook, sooner

NEW = "new"
"""What a job is called that has no id yet."""

MOST_NAMED = 5
"""Jobs that a line of text names; a document has all of them."""


@click.command(epilog="\b\nExamples:\n  singlepoint explain last\n  singlepoint explain k3v --json")
@job_argument
@as_json
@click.pass_obj
def explain(settings: Settings, job: str, as_json: bool) -> None:
    """Say why a job waits, or where it stands; of one that waits, what for, and what would make it start sooner.

    Each change that is told was tried, by playing the line forward with it.
    """
    if settings.server:
        server = open_server(settings)
        document = server.get(f"{API}/jobs/{server.job(job)['id']}/explain")
    else:
        session = open_session(settings)
        document = explanation(session, find_job(session.store, job))
    click.echo(json.dumps(document) if as_json else "\n".join(_lines(document, now())))


@click.command(epilog="\b\nExamples:\n  singlepoint eta\n  singlepoint eta last\n  singlepoint eta k3v --json")
@click.argument("job", metavar="[ID]", required=False, shell_complete=complete_job)
@as_json
@click.pass_obj
def eta(settings: Settings, job: str | None, as_json: bool) -> None:
    """Say when a job should start and end, with the times that eight in ten keep to.

    Without an ID: of every job that has not ended, in the order of the line.
    """
    if job is None:
        _print_line(in_line(_open_rows(settings)), as_json)
        return
    if settings.server:
        row = open_server(settings).job(job)
    else:
        session = open_session(settings)
        found = session.store.load(find_job(session.store, job))
        row = {**summary(found), **_foreseen(session, found)}
    document = {"schema": 1, **_expected(row)}
    click.echo(json.dumps(document) if as_json else "\n".join(_expected_lines(row, now())))


def _open_rows(settings: Settings) -> list[dict[str, Any]]:
    if settings.server:
        return list(listed(open_server(settings), Wanted()).rows)
    return listing(open_session(settings)).rows


def _print_line(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"schema": 1, "jobs": [_expected(row) for row in rows]}))
    elif not rows:
        click.echo("no job waits or runs", err=True)
    else:
        cells = [{**row, "expected": "; ".join(_expected_lines(row, now()))} for row in rows]
        click.echo(table(cells, ("id", "name", "state", "expected")))


def in_line(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What runs, then what waits as it should start; of what nothing is foreseen the higher priority first, then the
    older. Pure.

    rows: of jobs that have not ended, as `ps` has them.
    """

    def place(row: Mapping[str, Any]) -> tuple[int, bool, str, int, str, str]:
        starts = ((row.get("eta") or {}).get("start") or {}).get("p50", "")
        return _STATES.index(row["state"]), not starts, starts, -row["priority"], row["submitted_at"], row["id"]

    return sorted(rows, key=place)


_STATES = (State.RUNNING, State.QUEUED, State.PENDING)


def _expected(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("id", "state", "eta", "deadline_at", "deadline_probability")}


def _expected_lines(row: Mapping[str, Any], at: float) -> Iterator[str]:
    if row.get("eta") is not None:
        yield from foreseen_lines(_expected(row), at)
    else:
        yield row["state"] if row["state"] in FINAL else f"not known yet; {row['reason'] or row['state']}"


def _foreseen(session: Session, job: Job) -> dict[str, Any]:
    """What is told of a job, nothing of one that has ended; times that are not told yet come of playing the line."""
    row = live(session, job)[0]
    scene = read_scene(session) if row and row["eta"] is None else None
    seen = foresee(scene) if scene is not None and scene.knows(job.id) else Foresight()
    if (eta := seen.eta.get(job.id)) is not None:
        row |= {"eta": eta.to_json(), "deadline_probability": seen.in_time.get(job.id)}
    return row


def _times(job: Job, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "eta": row.get("eta"),
        "deadline_at": iso(job.deadline_at) if job.deadline_at is not None else None,
        "deadline_probability": row.get("deadline_probability"),
    }


def explanation(session: Session, job_id: str) -> dict[str, Any]:
    """The document of `explain`: where a job stands, and in one sentence why, the same that `ps` and `show` say; its
    times; and of one that waits, what for (`lacks`, `waits_for`, `ahead`, `reservation`) and what would help
    (`sooner`)."""
    job = session.store.load(job_id)
    row: dict[str, Any] = {"reason": job.reason} if job.is_final else _foreseen(session, job)
    known = {"schema": 1, "id": job_id, "state": job.state.value, "reason": row["reason"], "stands": _stands(job)}
    waiting = _waiting(session, job, row.get("eta")) if job.state is State.PENDING else {}
    return {**known, **_times(job, row), **waiting}


def _stands(job: Job) -> str:
    if job.terms is None or job.state is not State.RUNNING:
        return job.state.value
    return f"running as attempt {job.attempt} on {granted_text(job.terms.cores, job.terms.units)}"


def _waiting(session: Session, job: Job, expected: dict[str, Any] | None) -> dict[str, Any]:
    scene = read_scene(session)
    stands = situation(scene, job.id) if scene is not None else None
    if scene is None or stands is None:
        return {}
    expected_eta = Eta.from_json(expected) if expected is not None else None
    changes = sooner(scene, job.id, known_of(session, job), expected_eta)
    kept = stands.reservation
    return {
        "lacks": {name: {"needs": needs, "free": free} for name, (needs, free) in stands.lacks.items()},
        "waits_for": list(stands.waits_for),
        "ahead": list(stands.ahead),
        "reservation": {"id": kept.task.id, "at": iso(kept.at) if kept.at < math.inf else None} if kept else None,
        "sooner": [change.to_json() for change in changes],
    }


def _lines(document: Mapping[str, Any], at: float) -> Iterator[str]:
    """The document for people. The first line says all, if nothing more is known."""
    yield document["reason"] or document["stands"]
    for name, one in document.get("lacks", {}).items():
        yield f"lacks {amount_text(name, one['needs'] - one['free'])}{_WHAT.get(name, '')}"
    for name, words in (("waits_for", "waits for"), ("ahead", "goes after")):
        if ids := document.get(name):
            more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
            yield f"{words} {', '.join(ids[:MOST_NAMED])}{more}"
    if kept := document.get("reservation"):
        when = f" from {local(seconds(kept['at']), at)} on" if kept["at"] else ""
        yield f"room is kept for {kept['id']}{when}"
    yield from foreseen_lines(document, at)
    for change in document.get("sooner", ()):
        yield f"with {change['change']} it should start {local(seconds(change['eta']['start']['p50']), at)}"


_WHAT = {"cpu_millis": "", "memory_bytes": " of memory", "storage_bytes": " of disk", "network_bytes_s": " of network"}


# --- what submit is told ------------------------------------------------------------------------------------


def expectation(session: Session, checked: Checked, at: float) -> Outlook | None:
    """What is foreseen of a job that is about to be handed in; None while nothing can be.

    checked: with its times in UTC, and the ids of jobs that it comes after.
    """
    scene = read_scene(session)
    scene = with_spec(session, scene, checked, at, NEW) if scene is not None else None
    return outlook(scene, NEW, known(session, checked.spec)) if scene is not None else None
