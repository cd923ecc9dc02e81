"""A job as the one JSON document that `ps`, `show` and the index share. Pure."""

from __future__ import annotations

from typing import Any

from singlepoint.jobs.clock import iso

from .records import Attempt, Job
from .states import Author

SCHEMA = 1


def _time(at: float | None) -> str | None:
    return None if at is None else iso(at)


def summary(job: Job) -> dict[str, Any]:
    """The fields of `ps`; `show` adds attempts, result and metrics (`detail`)."""
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "state": job.state.value,
        "reason": job.reason,
        "priority": job.priority,
        "attempt": job.attempt,
        "submitted_at": iso(job.submitted_at),
        "started_at": _time(job.started_at),
        "ended_at": _time(job.ended_at),
        "progress": 1.0 if job.state.value == "succeeded" else None,
        "cpu": job.requests.cpu_millis / 1000,
        "memory_bytes": job.requests.memory_bytes,
        "bit_identical": job.bit_identical,
        "held": job.held,
        "paused": job.paused,
        "asks": sorted(ask.value for ask in job.asks),
        "gives_way": any(asked.by is Author.SCHEDULER for asked in job.asks.values()),
        "after": list(job.after),
        "not_before": _time(job.not_before or None),
        "size": job.size,
    }


def detail(job: Job) -> dict[str, Any]:
    """All that `show --json` says of a job."""
    return {
        "schema": SCHEMA,
        **summary(job),
        "fingerprint": job.fingerprint,
        "attempts": [attempt(one) for one in job.attempts],
        "result": dict(job.result) if job.result is not None else None,
        "metrics": dict(job.metrics) if job.metrics is not None else None,
        "facts": dict(job.facts),
    }


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
