"""Homes of any size, written directly: directories of jobs as they would be left by years of work, without the work."""

from __future__ import annotations

import random
from collections.abc import Iterator

from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.history import fold, line
from singlepoint.jobs.lifecycle.records import Resources, Terms, Usage
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import new_id

REQUESTS = Resources(1000, 128 * 2**20)
TERMS = Terms(REQUESTS, (0,)).to_json()
USAGE = Usage(wall_s=8.0, cpu_s=7.5, peak_memory_bytes=90 * 2**20, saves=2, save_s=0.01, overhead_s=0.02).to_json()
BEGAN_AT = 1_760_000_000.0
APART_S = 30.0
"""Between two submissions."""


def history(number: int, attempts: int, *, end: Event | None) -> bytes:
    """Of the `number`th job of a home: killed in each attempt but the last, which ended so; without end, it waits."""
    at = BEGAN_AT + APART_S * number
    facts = {"name": f"job-{number % 1000}", "kind": "train", "requests": REQUESTS.to_json(), "like": "synthetic"}
    lines = [line(Event.ACCEPT, at, facts)]
    for attempt in range(1, attempts + 1):
        lines.append(line(Event.DISPATCH, at + 1, {"attempt": attempt, "terms": TERMS}))
        claim = {"attempt": attempt, "worker": "synthetic", "boot_id": "synthetic"}
        lines.append(line(Event.CLAIM, at + 1.1, claim))
        at += 9
        ended = {"attempt": attempt, "steps": 500, "usage": USAGE, "lost_s": 0.5}
        if attempt < attempts or end is None:
            lines.append(line(Event.LOSE, at, {**ended, "end": "killed", "cause": "its process was killed"}))
        elif end is Event.SUCCEED:
            lines.append(line(end, at, {**ended, "end": "succeeded", "metrics": {"loss": 0.1}}))
        else:
            lines.append(line(end, at, {**ended, "end": "failed", "cause": "it raised", "reason": "it raised"}))
    return b"".join(lines)


def histories(count: int, *, ended: bool, seed: int) -> Iterator[tuple[str, bytes]]:
    """(id, history) of jobs that have ended, one in twenty of them badly, or of jobs that wait."""
    chance = random.Random(seed)
    for number in range(count):
        if ended:
            yield new_id(), history(number, 1, end=Event.FAIL if chance.random() < 0.05 else Event.SUCCEED)
        else:
            yield new_id(), history(number, 0, end=None)


def write(home: Home, job_id: str, lines: bytes) -> None:
    """A job's directory, as far as anybody reads it here."""
    directory = home.job(job_id)
    directory.mkdir()
    (directory / "spec.json").write_bytes(b"{}")
    (directory / "history.jsonl").write_bytes(lines)
    (directory / "log.txt").write_bytes(b"epoch 1\n")


def fill(home: Home, *, ended: int, waiting: int) -> list[str]:
    """Write so many jobs into a home; the ids of those that wait."""
    left = []
    with open(home.ledger, "ab") as ledger:
        for count, has_ended in ((ended, True), (waiting, False)):
            for job_id, lines in histories(count, ended=has_ended, seed=count):
                write(home, job_id, lines)
                if has_ended:
                    ledger.write(Entry.of(fold(job_id, lines)).line())
                else:
                    left.append(job_id)
    return left
