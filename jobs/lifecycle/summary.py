"""A job as the one JSON document that `ps`, `show` and the index share. Pure.

`read_summary` and `read_progress` take what Redis says of a job, and nothing that is not of its type and range.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from singlepoint.jobs import documents
from singlepoint.jobs.clock import iso
from singlepoint.jobs.documents import Malformed

from .records import Attempt, Job, is_job_id
from .states import Author, State

SCHEMA = 1


def _time(at: float | None) -> str | None:
    return None if at is None else iso(at)


def summary(job: Job) -> dict[str, Any]:
    """The fields of `ps`; `show` adds attempts, result and metrics (`detail`)."""
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "project": job.project,
        "state": job.state.value,
        "reason": job.reason,
        "priority": job.priority,
        "attempt": job.attempt,
        "submitted_at": iso(job.submitted_at),
        "started_at": _time(job.started_at),
        "ended_at": _time(job.ended_at),
        "progress": 1.0 if job.state is State.SUCCEEDED else None if job.attempt else 0.0,
        "cpu": job.requests.cpu_millis / 1000,
        "memory_bytes": job.requests.memory_bytes,
        "storage_bytes": job.requests.storage_bytes,
        "network_bytes_s": job.requests.network_bytes_s,
        "counted": dict(job.requests.counted) or None,
        "grown": job.has_grown,
        "bit_identical": job.bit_identical,
        "held": job.held,
        "paused": job.paused,
        "asks": sorted(ask.value for ask in job.asks),
        "gives_way": any(asked.by is Author.SCHEDULER for asked in job.asks.values()),
        "after": list(map(str, job.after)),
        "begin_at": _time(job.begin_at or None),
        "not_before": _time(job.not_before or None),
        "deadline_at": _time(job.deadline_at),
        "eta": None,  # these two are the scheduler's to tell (`reasons.with_reason`)
        "deadline_probability": None,
        "unique": job.unique or None,
        "preemptible": job.preemptible,
        "size": job.size,
    }


_STATES = frozenset(map(str, State))
_ANY_WHOLE = partial(documents.whole, least=-documents.MOST_WHOLE)
_ALWAYS: dict[str, Callable[[documents.Document, str], object]] = {
    "id": documents.text,
    "name": documents.text,
    "kind": documents.text,
    "project": documents.text,
    "state": documents.text,
    "priority": _ANY_WHOLE,
    "attempt": documents.whole,
    "submitted_at": documents.time,
    "cpu": documents.number,
    "memory_bytes": documents.whole,
    "storage_bytes": documents.whole,
    "network_bytes_s": documents.whole,
    "grown": documents.flag,
    "held": documents.flag,
    "paused": documents.flag,
    "asks": documents.texts,
    "gives_way": documents.flag,
    "after": documents.texts,
    "preemptible": documents.flag,
    "size": documents.whole,
}
_AT_TIMES: dict[str, Callable[[documents.Document, str, None], object]] = {
    "reason": documents.text,
    "started_at": documents.time,
    "ended_at": documents.time,
    "progress": partial(documents.number, most=1.0),
    "bit_identical": documents.flag,
    "begin_at": documents.time,
    "not_before": documents.time,
    "deadline_at": documents.time,
    "unique": documents.text,
    "counted": documents.figures,
}


def read_summary(content: bytes | str) -> dict[str, Any]:
    """The inverse of `summary`, of its JSON; raises Malformed."""
    document = documents.parse_object(content)
    for name, read in _ALWAYS.items():
        read(document, name)
    for name, read_if_there in _AT_TIMES.items():
        read_if_there(document, name, None)
    if not is_job_id(document["id"]) or document["state"] not in _STATES:
        raise Malformed("`id` or `state` is none")
    return {name: document.get(name) for name in (*_ALWAYS, *_AT_TIMES)}


def read_progress(content: bytes | str) -> dict[str, Any]:
    """What a running attempt tells of itself (`progress`, 0..1, and figures of its own); raises Malformed.

    It adds to a summary, and takes the place of nothing in it.
    """
    document = documents.parse_object(content)
    _AT_TIMES["progress"](document, "progress", None)
    if not documents.is_finite(document):
        raise Malformed("a figure is not finite")
    return {name: value for name, value in document.items() if name == "progress" or name not in _ALWAYS | _AT_TIMES}


def detail(job: Job) -> dict[str, Any]:
    """All that `show --json` says of a job."""
    return {
        "schema": SCHEMA,
        **summary(job),
        "fingerprint": job.fingerprint,
        "memory_from": memory_from(job),
        "attempts": [attempt(one) for one in job.attempts],
        "result": dict(job.result) if job.result is not None else None,
        "metrics": dict(job.metrics) if job.metrics is not None else None,
        "facts": dict(job.facts),
    }


def memory_from(job: Job) -> str:
    """Where what it asks of memory comes from: `grown` once an attempt ran out of it."""
    return "grown" if job.has_grown else job.memory_from or "spec"


def attempt(one: Attempt) -> dict[str, Any]:
    """One row of the ledger of attempts."""
    return {
        "number": one.number,
        "dispatched_at": iso(one.dispatched_at),
        "started_at": _time(one.started_at),
        "ended_at": _time(one.ended_at),
        "end": one.end,
        "cause": one.cause,
        "worker": one.worker,
        "first_step": one.first_step,
        "steps": one.steps,
        "lost_s": one.lost_s,
        "recovery_s": one.recovery_s,
        "terms": one.terms.to_json(),
        "usage": one.usage.to_json() if one.usage else None,
    }
