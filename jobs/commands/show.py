"""`singlepoint show`: all that is known of one job, its attempts one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from singlepoint.jobs.amounts import amount_text, format_bytes, granted_text
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.query import Row, live
from singlepoint.jobs.client.session import Session, Settings, open_session
from singlepoint.jobs.clock import iso, now
from singlepoint.jobs.lifecycle.history import events
from singlepoint.jobs.lifecycle.outlook import foreseen_lines
from singlepoint.jobs.lifecycle.records import Attempt, Job, Terms
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.lifecycle.summary import detail, memory_from
from singlepoint.jobs.store.rings import RINGS_OF_A_JOB, Rings

from .options import as_json, examples, job_argument
from .text import age, duration, fields, percent, table

_ATTEMPT_COLUMNS = ("attempt", "started", "ran", "end", "steps", "lost", "recovered", "memory", "cause")


@click.command(epilog=examples("singlepoint show last", "singlepoint show k3v --json | jq .metrics"))
@job_argument
@as_json
@click.pass_obj
def show(settings: Settings, job: str, as_json: bool) -> None:
    """Show a job: where it stands, every attempt with how it ended and what that cost, and its result."""
    session = open_session(settings)
    job_id = find_job(session.store, job)
    known = session.store.load(job_id)
    beyond, away = live(session, known)
    if as_json:
        history = list(events(session.store.history(job_id)))
        click.echo(json.dumps({**detail(known), **beyond, "history": history}, indent=1))
    else:
        click.echo(page(known, {**beyond, "uses": _uses(session, known, now())}, now()))
    if away is not None:
        raise away


def page(job: Job, live: Row, at: float) -> str:
    """The text of `show`."""
    head = fields(
        {
            "id": job.id,
            "name": job.name,
            "kind": job.kind,
            "state": "paused" if job.paused else job.state.value,
            "reason": str(live.get("reason") or job.reason or ""),
            "progress": _progress(live),
            "priority": str(job.priority or ""),
            "after": " ".join(map(str, job.after)),
            "begins": iso(job.begin_at) if job.begin_at and not job.attempts else "",
            "deadline": iso(job.deadline_at) if job.deadline_at else "",
            "asks for": _request(job),
            "has": granted_text(terms.cores, terms.units) if (terms := _held(job)) else "",
            "uses": live.get("uses", ""),
            "submitted": age(job.submitted_at, at),
            "ended": age(job.ended_at, at),
            "bits": _bits(job),
        }
    )
    foreseen = "\n".join(foreseen_lines({**live, "deadline_at": job.deadline_at and iso(job.deadline_at)}, at))
    parts = [head, foreseen, _ledger(job, at), _section("result", job.result), _section("metrics", job.metrics)]
    return "\n\n".join(part for part in parts if part)


LATELY_S = 240.0


def _held(job: Job) -> Terms | None:
    """What it was granted, of one that holds it now."""
    return job.terms if job.state in (State.QUEUED, State.RUNNING) else None


def _uses(session: Session, job: Job, at: float) -> str:
    """Of what it was granted, lately; "" for a job that does not run, or has only begun to."""
    if _held(job) is None:
        return ""
    rings = Rings(session.home.job_files(job.id).utilisation, RINGS_OF_A_JOB)
    shares = rings.total(at - LATELY_S, at).shares()
    used = [f"{percent(shares[name]['used'])} of its {what}" for name, what in _USED.items() if name in shares]
    return ", ".join(used)


_USED = {"cpu_millis": "cores", "memory_bytes": "memory", "storage_bytes": "disk"}


def _request(job: Job) -> str:
    wanted = job.requests
    counted = [f", {amount_text(name, count)}" for name, count in wanted.counted]
    source = _SOURCES.get(memory_from(job), "")
    return f"{wanted.cpu_millis / 1000:g} cpu, {format_bytes(wanted.memory_bytes)}{source}{''.join(counted)}"


_SOURCES = {
    "learned": " (by what like jobs used)",
    "estimate": " (as it is reckoned to take)",
    "default": " (by default)",
    "grown": " (after it ran out)",
}


def _progress(live: Row) -> str:
    if "step" not in live:
        return ""
    losses = [f", {name.replace('_', ' ')} {live[name]:.6g}" for name in ("loss", "validation_loss") if name in live]
    far = f"{percent(live.get('progress'))}, step {live['step']} of {live['total']}"
    return (far if live["total"] else f"step {live['step']}") + "".join(losses)


def _bits(job: Job) -> str:
    if job.bit_identical is None:
        return ""
    return "as if never disturbed" if job.bit_identical else "may differ from an undisturbed run"


def _ledger(job: Job, at: float) -> str:
    return table([_attempt_cells(attempt, at) for attempt in job.attempts], _ATTEMPT_COLUMNS) if job.attempts else ""


def _attempt_cells(attempt: Attempt, at: float) -> dict[str, str]:
    until = attempt.ended_at or at
    return {
        "attempt": str(attempt.number),
        "started": age(attempt.started_at, at),
        "ran": duration(until - attempt.started_at) if attempt.started_at is not None else "",
        "end": attempt.end or ("" if attempt.ended_at is not None else "going on"),
        "steps": "" if attempt.steps is None else str(attempt.steps),
        "lost": duration(attempt.lost_s),
        "recovered": "" if attempt.recovery_s is None else f"after {duration(attempt.recovery_s)}",
        "memory": format_bytes(attempt.usage.peak_memory_bytes) if attempt.usage else "",
        "cause": attempt.cause or "",
    }


def _section(title: str, values: Any) -> str:
    if not values:
        return ""
    lines = fields({name: _value(value) for name, value in values.items()}).splitlines()
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
