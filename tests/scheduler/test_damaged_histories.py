"""A history that was tampered with is a job everybody can work with, or HistoryDamaged; never anything else.

`SINGLEPOINT_MUTATIONS` sets how many are tried; the default keeps this to seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from singlepoint.jobs.errors import HistoryDamaged
from singlepoint.jobs.lifecycle import retry
from singlepoint.jobs.lifecycle.history import Note, fold
from singlepoint.jobs.lifecycle.records import Job, Resources, Terms, Usage
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.lifecycle.summary import detail
from singlepoint.scheduler.policy import fifo
from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.shortage import told
from singlepoint.scheduler.world.places import Place
from singlepoint.scheduler.world.world import World

MUTATIONS = int(os.environ.get("SINGLEPOINT_MUTATIONS", "10000"))
BUDGET = Resources(4000, 2**34)
TERMS = Terms(Resources(1000, 2**28), cores=(0,)).to_json()
USAGE = Usage(2.0, 1.9, 2**20, 1, 0.01, 0.01).to_json()
ACCEPT = {
    "name": "a",
    "kind": "train",
    "requests": TERMS["resources"],
    "retries": 2,
    "priority": 3,
    "after": ["b2345678"],
    "fingerprint": "0f",
    "spec_sha256": "0f",
    "facts": {"digest": "0f"},
}


def entry(event: Event | Note, second: int, **facts: Any) -> dict[str, Any]:
    return {"at": f"2026-01-01T00:00:{second:02d}.000000Z", "event": event.value, **facts}


LIFE = (
    entry(Event.ACCEPT, 1, **ACCEPT),
    entry(Note.HOLD, 2),
    entry(Note.RESUME, 3),
    entry(Note.PRIORITISE, 4, priority=-3),
    entry(Event.DISPATCH, 5, attempt=1, terms=TERMS),
    entry(Event.CLAIM, 6, attempt=1, worker="w", boot_id="b"),
    entry(Note.RECORD, 7, attempt=1, facts={"digest": "0f", "tile": 256}),
    entry(Note.ASK, 8, ask="preempt", by="scheduler"),
    entry(Note.PAUSE, 9, attempt=1),
    entry(Note.REVISE, 10, attempt=1, terms=TERMS),
    entry(Note.GO_ON, 11, attempt=1),
    entry(Event.HAND_BACK, 12, attempt=1, end="preempted", cause="asked", steps=3, usage=USAGE),
    entry(Event.DISPATCH, 13, attempt=2, terms=TERMS),
    entry(Event.CLAIM, 14, attempt=2, worker="w", boot_id="b"),
    entry(Event.LOSE, 15, attempt=2, end="out_of_memory", cause="x", first_step=3, steps=4, lost_s=1.5, counts=True,
          not_before=1767225610.5, requests={"cpu_millis": 1000, "memory_bytes": 2**29},
          ended_at="2026-01-01T00:00:15Z"),
    entry(Event.CANCEL, 16, end="cancelled", reason="cancelled on request"),
    entry(Event.RETRY, 17, fresh=True),
    entry(Event.DISPATCH, 18, attempt=3, terms=TERMS),
    entry(Event.CLAIM, 19, attempt=3, worker="w", boot_id="b"),
    entry(Event.SUCCEED, 20, attempt=3, end="succeeded", steps=9, result={"path": "m", "sha256": "0f"},
          metrics={"loss": 0.5}, bit_identical=True, usage=USAGE),
)  # fmt: skip

WRONG: tuple[Any, ...] = (
    *(None, True, -1, 0.5, 2**70, -(2**70), 1e308, 1e400, "", "x", "\x1b[2J", "\ud800", "../../x", "9" * 5000),
    *([], [[1]], [None], ["../x"], {}, {"a": None}, {"path": 3}, {"cpu_millis": -1}, "0001-01-01T00:00:00Z"),
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where something can be put in place of something else: every field, at whatever depth."""
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(child, (*path, key))


def changed(document: Any, path: tuple[str | int, ...], new: Any) -> Any:
    copy = json.loads(json.dumps(document))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    return copy


def history(entries: Iterator[Any] | list[Any] | tuple[Any, ...]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in entries)


def outcome(content: bytes) -> Job | None:
    """The job, after everybody worked with it; None for a history that is damaged. Nothing else may come of it."""
    try:
        job = fold("a2345678", content)
    except HistoryDamaged as error:
        assert "rm --force a2345678" in error.message
        return None
    json.dumps(detail(job), allow_nan=False)
    world = World(BUDGET, range(4))
    other = fold("c2345678", history([entry(Event.ACCEPT, 1, **{**ACCEPT, "after": []})]))
    world.see(job)
    world.see(other)
    world.seen_at(1767225700.0)
    world.lock_seen(job.id, False)
    plan = decide(world, fifo.RULES)
    decisions = plan.decisions
    if world.place(job.id) not in (Place.READY, Place.RESUMING) and world.need(other).fits_in(world.free):
        assert any(decision.job_id == other.id for decision in decisions) or not world.books.free_cores
    told(world, plan)
    assert world.reliability.overall.survival(60.0) > 0
    if job.newest is not None and job.state is State.RUNNING:
        retry.after_failure(job, end="failed", cause="x", step=3, at=2.0)
        retry.after_death(job, end="killed", cause="x", steps=3, at=2.0)
        retry.for_now(job, "disk_full", "x", 2.0)
    return job


def test_a_wrong_value_in_any_field_of_any_event_stops_only_its_own_job() -> None:
    cases = damaged = 0
    for number, one in enumerate(LIFE):
        for path in places(one):
            for value in WRONG:
                lines = [*LIFE[:number], changed(one, path, value)]
                damaged += outcome(history(lines)) is None
                cases += 1
    assert cases >= 2000 and damaged > cases / 4


@pytest.mark.parametrize("number", range(len(LIFE)))
def test_every_beginning_of_a_sound_history_is_a_job(number: int) -> None:
    assert outcome(history(LIFE[: number + 1])) is not None


def test_mutated_histories_end_in_an_answer_or_in_damage() -> None:
    draw = random.Random(7)
    everywhere = [(number, path) for number, one in enumerate(LIFE) for path in places(one)]
    values = [value for one in LIFE for value in one.values()]
    for _ in range(MUTATIONS):
        lines: list[Any] = list(LIFE[: draw.randint(1, len(LIFE))])
        for _ in range(draw.randint(1, 3)):
            number = draw.randrange(len(lines))
            _mutate(draw, lines, number, [path for where, path in everywhere if where == number], values)
        outcome(history(lines))


def _mutate(draw: random.Random, lines: list[Any], number: int, paths: list[Any], values: list[Any]) -> None:
    """Leave a line out, say one twice, swap two, or give a field what is wrong, or what belongs elsewhere."""
    match draw.randrange(6):
        case 0 if len(lines) > 1:
            del lines[number]
        case 1:
            lines.insert(number, lines[draw.randrange(len(lines))])
        case 2:
            other = draw.randrange(len(lines))
            lines[number], lines[other] = lines[other], lines[number]
        case 3:
            lines[number] = draw.choice((lines[number], [], None, 7, "x", {}, {"at": None}))
        case _:
            with contextlib.suppress(KeyError, IndexError, TypeError):  # what was there is gone already
                lines[number] = changed(lines[number], draw.choice(paths), draw.choice((*WRONG, *values)))


def test_deep_nesting_anywhere_is_damage() -> None:
    deep = b'{"at":"2026-01-01T00:00:02Z","event":"record","facts":' + b'{"a":' * 5000 + b"1" + b"}" * 5001 + b"\n"
    assert outcome(history(LIFE[:1]) + deep) is None
