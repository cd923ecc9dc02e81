"""Homes of any size, written directly: directories of jobs as they would be left by years of work, without the work."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from singlepoint.jobs.lifecycle.history import fold, line
from singlepoint.jobs.lifecycle.ledger import Entry
from singlepoint.jobs.lifecycle.records import Job, Resources, Terms, Usage
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import new_id

REQUESTS = Resources(1000, 128 * 2**20)
TERMS = Terms(REQUESTS, (0,)).to_json()
USAGE = Usage(wall_s=8.0, cpu_s=7.5, peak_memory_bytes=90 * 2**20, saves=2, save_s=0.01, overhead_s=0.02).to_json()
BEGAN_AT = 1_760_000_000.0
APART_S = 30.0
"""Between two submissions."""


def histories(count: int, *, ended: bool, seed: int) -> Iterator[tuple[str, bytes]]:
    """(id, history) of jobs that have ended, one in twenty of them badly, or of jobs that wait."""
    chance = random.Random(seed)
    for number in range(count):
        at = BEGAN_AT + APART_S * number
        facts = {"name": f"job-{number % 1000}", "kind": "train", "requests": REQUESTS.to_json(), "like": "synthetic"}
        lines = line(Event.ACCEPT, at, facts)
        if ended:
            lines += line(Event.DISPATCH, at + 1, {"attempt": 1, "terms": TERMS})
            lines += line(Event.CLAIM, at + 1.1, {"attempt": 1, "worker": "synthetic", "boot_id": "synthetic"})
            lines += _end(at + 9, failed=chance.random() < 0.05)
        yield new_id(), lines


def _end(at: float, *, failed: bool) -> bytes:
    facts = {"attempt": 1, "end": "failed" if failed else "succeeded", "steps": 500, "usage": USAGE}
    result = {"reason": "it raised", "cause": "it raised"} if failed else {"metrics": {"loss": 0.1}}
    return line(Event.FAIL if failed else Event.SUCCEED, at, {**facts, **result})


def fill(home: Home, *, ended: int, waiting: int, spec: Path) -> list[Job]:
    """Write so many jobs into a home; the jobs that wait."""
    document = spec.read_bytes()
    left: list[Job] = []
    with open(home.ledger, "ab") as ledger:
        for count, has_ended in ((ended, True), (waiting, False)):
            for job_id, lines in histories(count, ended=has_ended, seed=count):
                directory = home.job(job_id)
                directory.mkdir()
                (directory / "spec.json").write_bytes(document)
                (directory / "history.jsonl").write_bytes(lines)
                job = fold(job_id, lines)
                if has_ended:
                    ledger.write(Entry.of(job).line())
                else:
                    left.append(job)
    return left
