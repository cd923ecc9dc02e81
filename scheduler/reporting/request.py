"""Was a job's request sensible? What it asked for beside what its attempts used, and what would have done. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from singlepoint.jobs.amounts import format_bytes, format_cores
from singlepoint.jobs.ledger.learned import MARGIN
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.summary import memory_from

MUCH = 2.0
"""Asking for so many times what would have done keeps others waiting for nothing."""

BUSY = 0.75
"""Which share of a further core must have been used for it to be worth asking for."""

MIB = 2**20
LEAST_S = 1.0
"""What ran for less says nothing of what it needs."""


def request_report(job: Job) -> dict[str, Any] | None:
    """What was asked for and used, of cores and memory, and a sentence for each; None while no attempt has told.

    Cores are used on average over all attempts, memory at most in any.
    """
    told = [(one, one.usage) for one in job.attempts if one.usage is not None and one.ended_at is not None]
    ran_s = sum(one.worked_s(one.ended_at or 0.0) for one, _ in told)
    if ran_s < LEAST_S:
        return None
    used_cores = sum(usage.cpu_s for _, usage in told) / ran_s
    peak_bytes = max(usage.peak_memory_bytes for _, usage in told)
    asked = job.requests
    return {
        "cpu": {"asked": asked.cpu_millis / 1000, "used": round(used_cores, 3)},
        "memory_bytes": {"asked": asked.memory_bytes, "used": peak_bytes, "from": memory_from(job)},
        "advice": [*_of_cores(asked.cpu_millis, used_cores), *_of_memory(asked.memory_bytes, peak_bytes)],
    }


def _of_cores(asked_millis: int, used_cores: float) -> Iterator[str]:
    would_do = max(1, math.floor(used_cores - BUSY) + 1)
    if 1000 * would_do < asked_millis:
        yield f"{format_cores(1000 * would_do)} would have done: it used {used_cores:.2f} on average"


def _of_memory(asked_bytes: int, peak_bytes: int) -> Iterator[str]:
    would_do = -(-int(peak_bytes * MARGIN) // MIB) * MIB
    if peak_bytes and MUCH * would_do < asked_bytes:
        yield f"{format_bytes(would_do)} of memory would have done: it used {format_bytes(peak_bytes)} at most"
    elif peak_bytes > asked_bytes:
        yield f"it took more memory than it asked for: {format_bytes(peak_bytes)}"


def request_rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The same for people: a name and a text a row."""
    cpu, memory = document["cpu"], document["memory_bytes"]
    yield "cores", f"asked for {cpu['asked']:g}, used {cpu['used']:.2f} on average"
    yield "memory", f"asked for {format_bytes(memory['asked'])}, used {format_bytes(memory['used'])} at most"
    yield "the request", "; ".join(document["advice"]) or "was sensible"
