"""A job's history: lines of what happened, folded into a `Job`. Pure; `store` reads and writes the file.

A line is one JSON object: `at` (UTC), `event`, `attempt` where one is meant, and the event's facts. Events
are the moves of the life cycle, and the notes below, which change a field but not the state. A last line
without its newline was cut by a crash: it never happened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from singlepoint.jobs.clock import iso, seconds
from singlepoint.jobs.errors import HistoryDamaged, Problem, Superseded

from .records import Asked, Attempt, Job, Resources, Terms, Usage, changed
from .states import Ask, Author, Event, State, advance

Facts = Mapping[str, Any]


class Note(StrEnum):
    """What may be written down without a move.

    ask: somebody (`by`: the user, where it does not say) wants the running attempt to stop (`ask`).  resume: such a
    wish, or a hold, is taken back.  hold: do not dispatch.  pause, go_on: the attempt stopped using cores, and uses
    them again.  prioritise: a new `priority`.  revise: new `terms` for the running attempt; with cores, one that the
    scheduler had paused goes on.  record: `facts` that later attempts must obey (digest of the data, tile, precision).
    """

    ASK = "ask"
    RESUME = "resume"
    HOLD = "hold"
    PAUSE = "pause"
    GO_ON = "go_on"
    PRIORITISE = "prioritise"
    REVISE = "revise"
    RECORD = "record"


def line(event: Event | Note, at: float, facts: Facts) -> bytes:
    """One line of history, newline included."""
    return json.dumps({"at": iso(at), "event": event.value, **facts}, separators=(",", ":")).encode() + b"\n"


def whole_lines(content: bytes) -> bytes:
    """`content` without a torn last line."""
    return content[: content.rfind(b"\n") + 1]


FEW_ATTEMPTS = 64
"""How many of a job's attempts a step carries along; to copy thousands at each line would be quadratic."""


def fold(job_id: str, content: bytes, known: Job | None = None) -> Job:
    """The job that this history tells of.

    known: the job as the history in front of `content` tells it; then only what follows is read.
    Raises ImpossibleMove or Superseded when it tells the impossible, HistoryDamaged when it cannot be read.
    """
    whole = whole_lines(content)
    job, earlier = _with_the_newest(known, [])
    for number, raw in enumerate(whole.splitlines(), 1):
        try:
            job = step(job_id, job, json.loads(raw))
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise _damaged(job_id, f"line {number} is damaged ({type(error).__name__})") from error
        if len(job.attempts) > FEW_ATTEMPTS:
            job, earlier = _with_the_newest(job, earlier)
    if job is None:
        raise _damaged(job_id, "it is empty")
    return changed(job, attempts=(*earlier, *job.attempts), size=(known.size if known else 0) + len(whole))


def _with_the_newest(job: Job | None, earlier: list[Attempt]) -> tuple[Job | None, list[Attempt]]:
    """The job with its two newest attempts, which are all that a line may change, and `earlier` with the others."""
    if job is None or len(job.attempts) <= 2:
        return job, earlier
    earlier += job.attempts[:-2]
    return changed(job, attempts=job.attempts[-2:]), earlier


def _damaged(job_id: str, what: str) -> HistoryDamaged:
    hint = f"restore the file, or delete the job with `singlepoint rm --force {job_id}`"
    return HistoryDamaged(Problem(f"jobs/{job_id}/history.jsonl", what, hint))


def step(job_id: str, job: Job | None, entry: Facts) -> Job:
    """The job after one more line; raises ImpossibleMove or Superseded if the line may not follow."""
    at = seconds(entry["at"])
    if entry["event"] in _NOTES:
        assert job is not None
        return _NOTES[Note(entry["event"])](job, at, entry)
    event = Event(entry["event"])
    state = advance(job.state if job else None, event)
    if job is None:
        return _accepted(job_id, at, entry)
    if "attempt" in entry and event is not Event.DISPATCH and entry["attempt"] != job.attempt:
        raise Superseded(f"attempt {entry['attempt']} of {job_id} cannot {event}: attempt {job.attempt} is the newest")
    return changed(_MOVES[event](job, at, entry), state=state)


def _accepted(job_id: str, at: float, entry: Facts) -> Job:
    return Job(
        id=job_id,
        name=entry["name"],
        kind=entry["kind"],
        state=State.PENDING,
        submitted_at=at,
        requests=Resources.from_json(entry["requests"]),
        priority=entry.get("priority", 0),
        retries=entry.get("retries", 0),
        after=tuple(entry.get("after", ())),
        fingerprint=entry.get("fingerprint", ""),
        facts=entry.get("facts", {}),
    )


def _dispatched(job: Job, at: float, entry: Facts) -> Job:
    if entry["attempt"] != job.attempt + 1:
        raise Superseded(f"attempt {entry['attempt']} of {job.id} was dispatched already")
    attempt = Attempt(number=entry["attempt"], dispatched_at=at, terms=Terms.from_json(entry["terms"]))
    return changed(job, attempts=(*job.attempts, attempt), reason=None)


def _claimed(job: Job, at: float, entry: Facts) -> Job:
    earlier = job.attempts[:-1]
    if earlier and earlier[-1].ended_at is not None and earlier[-1].end not in {"succeeded", "cancelled"}:
        earlier = (*earlier[:-1], changed(earlier[-1], recovery_s=round(at - earlier[-1].ended_at, 6)))
    claimed = changed(job.attempts[-1], started_at=at, worker=entry.get("worker"), boot_id=entry.get("boot_id"))
    return changed(job, attempts=(*earlier, claimed))


def _ended(job: Job, at: float, entry: Facts) -> Job:
    """Close the newest attempt with what the line says of it."""
    if not job.attempts or job.attempts[-1].ended_at is not None:
        return changed(job, asks={})
    usage = Usage.from_json(entry["usage"]) if entry.get("usage") else None
    names = ("end", "cause", "first_step", "steps", "lost_s")
    facts = {name: entry[name] for name in names if entry.get(name) is not None}
    ended_at = seconds(entry["ended_at"]) if "ended_at" in entry else at
    return changed(job.with_attempt(ended_at=ended_at, usage=usage, **facts), asks={}, paused=False)


def _back(job: Job, at: float, entry: Facts) -> Job:
    """Handed back or lost: pending again, held when the user had asked for a pause."""
    held = job.held or job.is_asked(Ask.PAUSE, Author.USER)
    return changed(
        _ended(job, at, entry),
        held=held,
        failures=job.failures + int(entry.get("counts", False)),
        not_before=entry.get("not_before", 0.0),
        requests=Resources.from_json(entry["requests"]) if "requests" in entry else job.requests,
        reason=entry.get("cause"),
    )


def _settled(job: Job, at: float, entry: Facts) -> Job:
    return changed(
        _ended(job, at, entry),
        ended_at=at,
        reason=entry.get("reason"),
        result=entry.get("result"),
        metrics=entry.get("metrics"),
        bit_identical=entry.get("bit_identical"),
        held=False,
    )


def _retried(job: Job, _at: float, entry: Facts) -> Job:
    return changed(
        job,
        ended_at=None,
        reason=None,
        result=None,
        metrics=None,
        failures=0,
        not_before=0.0,
        fresh_after=job.attempt if entry.get("fresh") else job.fresh_after,
        facts={} if entry.get("fresh") else job.facts,
    )


_MOVES: dict[Event, Callable[[Job, float, Facts], Job]] = {
    Event.DISPATCH: _dispatched,
    Event.CLAIM: _claimed,
    Event.HAND_BACK: _back,
    Event.LOSE: _back,
    Event.SUCCEED: _settled,
    Event.FAIL: _settled,
    Event.CANCEL: _settled,
    Event.RETRY: _retried,
}


def _asked(job: Job, at: float, entry: Facts) -> Job:
    """The scheduler's wish never takes the place of the user's."""
    ask, by = Ask(entry["ask"]), Author(entry.get("by", Author.USER))
    if by is Author.SCHEDULER and job.is_asked(ask, Author.USER):
        return job
    return changed(job, asks={**job.asks, ask: Asked(at, by)})


def _resumed(job: Job, _at: float, _entry: Facts) -> Job:
    return changed(job, held=False, asks={ask: asked for ask, asked in job.asks.items() if ask is Ask.CANCEL})


def _paused(job: Job, _at: float, _entry: Facts) -> Job:
    """From here on the attempt holds its memory and no cores; new terms give it some again."""
    terms = job.attempts[-1].terms
    kept = changed(terms, resources=changed(terms.resources, cpu_millis=0), cores=())
    return changed(job.with_attempt(terms=kept), paused=True)


def _revised(job: Job, _at: float, entry: Facts) -> Job:
    """New terms. Cores for a paused attempt take a pause of the scheduler's back; one of the user's stays."""
    terms = Terms.from_json(entry["terms"])
    goes_on = job.paused and terms.cores and job.is_asked(Ask.PAUSE, Author.SCHEDULER)
    asks = {ask: asked for ask, asked in job.asks.items() if ask is not Ask.PAUSE} if goes_on else job.asks
    return changed(job.with_attempt(terms=terms), asks=asks)


_NOTES: dict[Note, Callable[[Job, float, Facts], Job]] = {
    Note.ASK: _asked,
    Note.RESUME: _resumed,
    Note.HOLD: lambda job, _at, _entry: changed(job, held=True),
    Note.PAUSE: _paused,
    Note.GO_ON: lambda job, _at, _entry: changed(job, paused=False),
    Note.PRIORITISE: lambda job, _at, entry: changed(job, priority=entry["priority"]),
    Note.REVISE: _revised,
    Note.RECORD: lambda job, _at, entry: changed(job, facts={**job.facts, **entry["facts"]}),
}


def events(content: bytes) -> Iterable[dict[str, Any]]:
    """The lines as they stand, for people and for `show --json`."""
    return (json.loads(raw) for raw in whole_lines(content).splitlines())
