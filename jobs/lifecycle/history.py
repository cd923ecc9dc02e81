"""A job's history: lines of what happened, folded into a `Job`. Pure; `store` reads and writes the file.

A line is one JSON object: `at` (UTC), `event`, `attempt` where one is meant, and the event's facts. Events
are the moves of the life cycle, and the notes below, which change a field but not the state. A last line
without its newline was cut by a crash: it never happened. Every other is held to types and ranges as it is
read, so that a `Job` can be worked with whatever its file says; one that breaks them makes the history damaged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from singlepoint.jobs import documents
from singlepoint.jobs.clock import iso
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import HistoryDamaged, ImpossibleMove, Problem, Superseded

from .account import Account
from .dependencies import After, parse_after
from .records import Asked, Attempt, Job, Resources, Terms, Usage, changed, is_job_id
from .spent import spent
from .states import Ask, Author, Event, State, advance

Facts = Mapping[str, Any]

MOST_NAME = 1000
MOST_PRIORITY = 2**31


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
    """The job that this history tells of; raises HistoryDamaged when it cannot be read or tells the impossible.

    known: the job as the history in front of `content` tells it; then only what follows is read.
    """
    whole = whole_lines(content)
    job, earlier = _with_the_newest(known, [])
    for number, raw in enumerate(whole.splitlines(), 1):
        try:
            job = step(job_id, job, documents.parse_object(raw))
        except (Malformed, ImpossibleMove, Superseded) as error:
            raise _damaged(job_id, f"line {number} is damaged: {error}") from None
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
    """The job after one more line; raises ImpossibleMove or Superseded if the line may not follow, or Malformed."""
    at = documents.time(entry, "at")
    name = documents.text(entry, "event")
    if name in _NOTES:
        return _noted(job, at, entry, Note(name))
    if name not in _EVENTS:
        raise Malformed(f"nobody knows the event {name[:40]!r}")
    event = Event(name)
    state = advance(job.state if job else None, event)
    if job is None:
        return _accepted(job_id, at, entry)
    attempt = documents.whole(entry, "attempt", None, least=1)
    if attempt is not None and event is not Event.DISPATCH and attempt != job.attempt:
        raise Superseded(f"attempt {attempt} of {job_id} cannot {event}: attempt {job.attempt} is the newest")
    return changed(_MOVES[event](job, at, entry), state=state)


def _noted(job: Job | None, at: float, entry: Facts, note: Note) -> Job:
    if job is None:
        raise Malformed(f"`{note}` before the job was accepted")
    if note in _OF_AN_ATTEMPT and not job.attempts:
        raise Malformed(f"`{note}` before the first attempt")
    return _NOTES[note](job, at, entry)


def _accepted(job_id: str, at: float, entry: Facts) -> Job:
    return Job(
        id=job_id,
        name=documents.text(entry, "name", most=MOST_NAME),
        kind=documents.text(entry, "kind", most=MOST_NAME),
        state=State.PENDING,
        submitted_at=at,
        requests=Resources.from_json(documents.mapping(entry, "requests")),
        priority=_priority(entry, 0),
        retries=documents.whole(entry, "retries", 0),
        after=_after(entry),
        fingerprint=documents.text(entry, "fingerprint", ""),
        project=documents.text(entry, "project", "", most=MOST_NAME),
        like=documents.text(entry, "like", ""),
        work=documents.number(entry, "work", 0.0),
        reckoned_s=documents.number(entry, "reckoned_s", 0.0),
        memory_from=documents.text(entry, "memory_from", "", most=MOST_NAME),
        begin_at=documents.time(entry, "begin_at", 0.0),
        deadline_at=documents.time(entry, "deadline_at", None),
        unique=documents.text(entry, "unique", "", most=MOST_NAME),
        preemptible=documents.flag(entry, "preemptible", True),
        spec_sha256=documents.text(entry, "spec_sha256", ""),
        facts=documents.mapping(entry, "facts", {}),
    )


def _after(entry: Facts) -> tuple[After, ...]:
    try:
        after = tuple(map(parse_after, documents.texts(entry, "after", ())))
    except ValueError as error:
        raise Malformed(f"`after`: {error}") from None
    if not all(is_job_id(one.job) for one in after):
        raise Malformed("`after` is not a list of ids of jobs")
    return after


def _priority(entry: Facts, default: int | documents.Needed = documents.NEEDED) -> int:
    return documents.whole(entry, "priority", default, least=-MOST_PRIORITY, most=MOST_PRIORITY)


def _dispatched(job: Job, at: float, entry: Facts) -> Job:
    number = documents.whole(entry, "attempt", least=1)
    if number != job.attempt + 1:
        raise Superseded(f"attempt {number} of {job.id} was dispatched already")
    attempt = Attempt(number=number, dispatched_at=at, terms=Terms.from_json(documents.mapping(entry, "terms")))
    return changed(job, attempts=(*job.attempts, attempt), reason=None)


def _claimed(job: Job, at: float, entry: Facts) -> Job:
    earlier = job.attempts[:-1]
    if earlier and earlier[-1].ended_at is not None and earlier[-1].end not in {"succeeded", "cancelled"}:
        earlier = (*earlier[:-1], changed(earlier[-1], recovery_s=round(at - earlier[-1].ended_at, 6)))
    claimed = changed(
        job.attempts[-1],
        started_at=at,
        worker=documents.text(entry, "worker", None),
        boot_id=documents.text(entry, "boot_id", None),
    )
    return changed(job, attempts=(*earlier, claimed))


def _ended(job: Job, at: float, entry: Facts) -> Job:
    """Close the newest attempt with what the line says of it."""
    if not job.attempts or job.attempts[-1].ended_at is not None:
        return changed(job, asks={})
    newest = job.attempts[-1]
    usage = documents.mapping(entry, "usage", None)
    ended = changed(
        newest,
        ended_at=documents.time(entry, "ended_at", at),
        end=documents.text(entry, "end", newest.end, most=MOST_NAME),
        cause=documents.text(entry, "cause", newest.cause),
        first_step=documents.whole(entry, "first_step", newest.first_step),
        steps=documents.whole(entry, "steps", newest.steps, least=-documents.MOST_WHOLE),
        lost_s=documents.number(entry, "lost_s", newest.lost_s, least=-documents.LAST_S),
        usage=Usage.from_json(usage) if usage else None,
    )
    return changed(
        job,
        attempts=(*job.attempts[:-1], ended),
        round=job.round + spent(ended),
        worked_s=job.worked_s + ended.worked_s(at),
        save_s=ended.usage.save_s if ended.usage and ended.usage.saves else job.save_s,
        has_grown=job.has_grown or ended.end == "out_of_memory",
        asks={},
        paused=False,
    )


def _back(job: Job, at: float, entry: Facts) -> Job:
    """Handed back or lost: pending again, held when the user had asked for a pause."""
    held = job.held or job.is_asked(Ask.PAUSE, Author.USER)
    requests = documents.mapping(entry, "requests", None)
    return changed(
        _ended(job, at, entry),
        held=held,
        failures=job.failures + documents.flag(entry, "counts", False),
        not_before=documents.number(entry, "not_before", 0.0, most=documents.LAST_S),
        requests=Resources.from_json(requests) if requests is not None else job.requests,
        reason=documents.text(entry, "cause", None),
    )


def _settled(job: Job, at: float, entry: Facts) -> Job:
    result = documents.mapping(entry, "result", None)
    if result is not None:
        documents.text(result, "path", None)
    return changed(
        _ended(job, at, entry),
        ended_at=at,
        reason=documents.text(entry, "reason", None),
        result=result,
        metrics=documents.figures(entry, "metrics", None),
        bit_identical=documents.flag(entry, "bit_identical", None),
        held=False,
    )


def _retried(job: Job, _at: float, entry: Facts) -> Job:
    fresh = documents.flag(entry, "fresh", False)
    return changed(
        job,
        ended_at=None,
        reason=None,
        result=None,
        metrics=None,
        failures=0,
        not_before=0.0,
        retried_after=job.attempt,
        round=Account(),
        fresh_after=job.attempt if fresh else job.fresh_after,
        facts={} if fresh else job.facts,
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
    word, author = documents.text(entry, "ask"), documents.text(entry, "by", str(Author.USER))
    if word not in _ASKS or author not in _AUTHORS:
        raise Malformed(f"nobody knows the ask {word[:40]!r} of {author[:40]!r}")
    ask, by = Ask(word), Author(author)
    if by is Author.SCHEDULER and job.is_asked(ask, Author.USER):
        return job
    return changed(job, asks={**job.asks, ask: Asked(at, by)})


def _resumed(job: Job, _at: float, _entry: Facts) -> Job:
    return changed(job, held=False, asks={ask: asked for ask, asked in job.asks.items() if ask is Ask.CANCEL})


def _paused(job: Job, at: float, _entry: Facts) -> Job:
    """From here on the attempt holds its memory and no cores; new terms give it some again."""
    terms = job.attempts[-1].terms
    kept = changed(terms, resources=changed(terms.resources, cpu_millis=0), cores=())
    since = at if job.attempts[-1].paused_at is None else job.attempts[-1].paused_at
    return changed(job.with_attempt(terms=kept, paused_at=since), paused=True)


def _gone_on(job: Job, at: float, _entry: Facts) -> Job:
    newest = job.attempts[-1]
    stood_still_s = max(0.0, at - newest.paused_at) if newest.paused_at is not None else 0.0
    return changed(job.with_attempt(paused_at=None, paused_s=newest.paused_s + stood_still_s), paused=False)


def _revised(job: Job, _at: float, entry: Facts) -> Job:
    """New terms. Cores for a paused attempt take a pause of the scheduler's back; one of the user's stays."""
    terms = Terms.from_json(documents.mapping(entry, "terms"))
    goes_on = job.paused and terms.cores and job.is_asked(Ask.PAUSE, Author.SCHEDULER)
    asks = {ask: asked for ask, asked in job.asks.items() if ask is not Ask.PAUSE} if goes_on else job.asks
    return changed(job.with_attempt(terms=terms), asks=asks)


_NOTES: dict[Note, Callable[[Job, float, Facts], Job]] = {
    Note.ASK: _asked,
    Note.RESUME: _resumed,
    Note.HOLD: lambda job, _at, _entry: changed(job, held=True),
    Note.PAUSE: _paused,
    Note.GO_ON: _gone_on,
    Note.PRIORITISE: lambda job, _at, entry: changed(job, priority=_priority(entry)),
    Note.REVISE: _revised,
    Note.RECORD: lambda job, _at, entry: changed(job, facts={**job.facts, **documents.mapping(entry, "facts")}),
}

_EVENTS, _ASKS, _AUTHORS = (frozenset(map(str, words)) for words in (Event, Ask, Author))
_OF_AN_ATTEMPT = frozenset({Note.PAUSE, Note.GO_ON, Note.REVISE})


def events(content: bytes) -> Iterable[dict[str, Any]]:
    """The lines as they stand, for people and for `show --json`. Raises Malformed."""
    return (documents.parse_object(raw) for raw in whole_lines(content).splitlines())
