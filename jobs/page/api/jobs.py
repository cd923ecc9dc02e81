"""Jobs: list, show, submit, control, remove; their logs, curves and checkpoints.

A job is named as on the command line: its id, a unique beginning of it, its name, or `last`.
"""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from singlepoint.jobs.client import control
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.follow import log_path
from singlepoint.jobs.client.listing import ENDED, Wanted, select
from singlepoint.jobs.client.query import Row, listing, live
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.client.submit import accept, prepare
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import HistoryDamaged, InvalidInput, NotFound, NotPermitted, Problem
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.lifecycle.history import events
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.lifecycle.summary import SCHEMA, detail, summary
from singlepoint.jobs.page.service import Answer, Call, Document, Service
from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.spec.job import Spec

from .curves import Curves
from .places import permitted

CANCEL_PATIENCE_S = 20.0
LOG_BYTES = 256 * 1024
POINTS = 2000
"""Of a curve, at most: about what a screen has columns."""

Word = Annotated[str, Field(max_length=256)]


class Filter(Part):
    """Which jobs, newest first. ended: whether they have.  name: a pattern such as `wdbc-*`.  cursor: `next` of the
    answer before.  status: states and `waiting`, `paused`, `ended`, with commas; then `ended` says nothing."""

    state: State | None = None
    status: Word | None = None
    ended: bool | None = None
    project: Word | None = None
    kind: Word | None = None
    name: Word | None = None
    cursor: Word | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class Submission(Part):
    """dry_run: check all of it and answer with the spec as it would be kept; keep nothing."""

    dry_run: bool = False


class Removal(Part):
    """force: cancel a job that has not ended first, and remove even one whose history is damaged."""

    force: bool = False


class Retry(Part):
    """fresh: begin from nothing instead of from the last checkpoint."""

    fresh: bool = False


class Priority(Part):
    """Higher runs earlier; 0 is usual."""

    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)]


MOST_AGE_S = 1e10
"""Three centuries: a time before there were jobs, which a calendar still has."""


class Prune(Part):
    """older_than_s: only what ended longer ago.  keep: the newest that many stay.  dry_run: delete nothing."""

    older_than_s: Annotated[float, Field(ge=0, le=MOST_AGE_S)] = 30 * 86400.0
    keep: Annotated[int, Field(ge=0)] = 0
    dry_run: bool = False


class Piece(Part):
    """Of a log, in bytes. offset: where to begin; below 0 counts from the end."""

    offset: Annotated[int, Field(ge=-(2**53), le=2**53)] = 0
    limit: Annotated[int, Field(ge=1, le=LOG_BYTES)] = LOG_BYTES


class Curve(Part):
    """Of the metrics. after: only epochs after this one.  points: at most so many, each span with its extremes."""

    after: Annotated[int, Field(ge=0)] = 0
    points: Annotated[int, Field(ge=10, le=10_000)] = POINTS


class Verification(Part):
    """verify: read each checkpoint whole."""

    verify: bool = False


# ---- reading ---------------------------------------------------------------------------------------------


def list_jobs(service: Service, call: Call) -> Answer:
    """All jobs, newest first, ended ones too, a page at a time."""
    asked: Filter = call.query
    wanted = Wanted(
        ended=asked.ended is not False,
        statuses=_statuses(asked),
        name=asked.name,
        kind=asked.kind,
        project=asked.project,
        limit=asked.limit,
        before=_before(asked.cursor),
    )
    found = select(service.session, wanted)
    document = {
        "schema": SCHEMA,
        "jobs": found.rows,
        "total": found.matched,
        "counts": {state.value: found.counts.get(state.value, 0) for state in State},
        "next": _cursor(found.rows[-1]) if found.behind else None,
        "complaint": found.away.message if found.away else None,
    }
    return Answer(document)


def _cursor(row: Row) -> str:
    return f"{row['submitted_at']}/{row['id']}"


def _statuses(asked: Filter) -> frozenset[str]:
    if asked.state is not None:
        return frozenset({asked.state.value})
    if asked.status is not None:
        return frozenset(asked.status.split(","))
    return frozenset({ENDED} if asked.ended else ())


def _before(cursor: str | None) -> tuple[str, str] | None:
    """Where a page begins. A job that came since, or went, moves no other to another page."""
    if cursor is None:
        return None
    at, _, job_id = cursor.partition("/")
    return at, job_id


def show(service: Service, call: Call) -> Answer:
    """All that is known of a job: its attempts, result, metrics, history and spec."""
    job = _job(service, call)
    return Answer(job_document(service.session, job))


def job_document(session: Session, job: Job) -> Document:
    """As `show --json`, with the spec."""
    beyond, _ = live(session, job)
    try:
        spec: Any = json.loads(session.store.spec(job.id))
    except (ValueError, HistoryDamaged):
        spec = None
    return {**detail(job), **beyond, "history": list(events(session.store.history(job.id))), "spec": spec}


def _job(service: Service, call: Call) -> Job:
    store = service.session.store
    return store.load(find_job(store, call.words["id"]))


def log(service: Service, call: Call) -> Answer:
    """A piece of a job's log. `next` is the offset to go on from; as long as it is below `bytes`, there is more."""
    job = _job(service, call)
    text, begin, end, size = log_piece(log_path(service.session.store, job.id), call.query.offset, call.query.limit)
    return Answer({"schema": SCHEMA, "id": job.id, "offset": begin, "next": end, "bytes": size, "text": text})


def log_piece(path: Path, offset: int, limit: int) -> tuple[str, int, int, int]:
    """Text, where it begins and ends, and the log's size, in bytes. A character is never cut in two."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            begin = max(0, size + offset) if offset < 0 else min(offset, size)
            file.seek(begin)
            content = file.read(limit)
    except FileNotFoundError:
        return "", 0, 0, 0
    whole = _whole_characters(content)
    return whole.decode(errors="replace"), begin, begin + len(whole), size


def _whole_characters(content: bytes) -> bytes:
    """`content` less the beginning of a character whose rest is not there yet."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte & 0xC0 == 0xC0:  # the first of several
            needed = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return content[:-back] if needed > back and len(content) > back else content
        if byte < 0x80:
            break
    return content


def metrics(service: Service, call: Call) -> Answer:
    """A training's curves: a column for each figure, one entry an epoch."""
    job = _job(service, call)
    path = service.session.home.job(job.id) / "metrics.jsonl"
    columns = CURVES.of(path, call.query.after, call.query.points)
    return Answer({"schema": SCHEMA, "id": job.id, "columns": columns})


CURVES = Curves()


# ---- submitting ------------------------------------------------------------------------------------------


def submit(service: Service, call: Call) -> Answer:
    """Hand in a job: the body is its spec.

    The answer's `outlook` says when it should start and end; null where nothing is foreseen. Its `told` are lines on
    data and shapes.
    With `unique`, while a job with that key lives, it is answered (200) and no other is made.
    With an `Idempotency-Key` the same request may be sent again: the job it made is answered, and no other is made.
    """
    session = service.session
    job_id = _id_of(session, call.key, call.document) if call.key else None
    if job_id is not None and not call.query.dry_run and (known := _known(session, job_id)) is not None:
        return _kept(session, known, 200)
    told: list[str] = []
    spec = _spec(service, call.document)
    settled = prepare(session, spec, now(), service.sources.check, lambda checked: told.extend(checked.lines))
    permitted(settled.spec, session.home, service.settings.roots)  # a pattern has become files by now
    outlook = service.sources.foresee(session, settled, now())
    foreseen = {"outlook": outlook.to_json() if outlook is not None else None}
    if call.query.dry_run:
        return Answer({**_plan(session, settled.spec), **foreseen, "told": told})
    try:
        submitted = accept(session, settled, now(), job_id=job_id)
        if not submitted.is_new:
            return _kept(session, submitted.job, 200)
        return _kept(session, submitted.job, 201, {**foreseen, "told": told})
    except OSError as error:
        if job_id is None or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return _kept(session, session.store.load(job_id), 200)  # the same, sent twice at once


def _kept(session: Session, job: Job, status: int, found: Document | None = None) -> Answer:
    document = {**job_document(session, job), **(found or {})}
    return Answer(document, status, {"location": f"/api/v1/jobs/{job.id}"})


def _spec(service: Service, document: Any) -> Spec:
    """The spec of a body, its files where they may be."""
    if not isinstance(document, dict):
        raise InvalidInput(Problem("spec", "must be a table"))
    kind = document.get("kind", "train")
    if kind == "run" and not service.settings.commands:
        raise NotPermitted("commands are not taken here", hint="the owner sets `commands = true` under [http]")
    home = service.session.home
    if kind in ("predict", "run") and isinstance(document.get("output"), str) and document["output"][:1] != "/":
        document = {**document, "output": str(home.outputs / document["output"])}
    spec = parse_document(document, home.uploads, "job")
    return permitted(spec, home, service.settings.roots)


def _plan(session: Session, spec: Spec) -> Document:
    capacity = read_capacity(session.home)
    return {
        "schema": SCHEMA,
        "spec": spec.model_dump(mode="json"),
        "requests": spec.resources.amounts().to_json(),
        "budget": capacity.budget.to_json() if capacity is not None else None,
    }


def _id_of(session: Session, key: str, document: Any) -> str:
    """The id of the job that a key makes of a request: kept nowhere, so no crash can come between a job and its key.

    Raises InvalidInput for a key that made another job.
    """
    of_key = _letters(f"{session.home.uuid}:{key}", 8)
    job_id = of_key + _letters(json.dumps(document, sort_keys=True), 6)
    other = next((one for one in session.store.ids() if one.startswith(of_key) and one != job_id), None)
    if other is not None:
        raise InvalidInput(Problem("Idempotency-Key", f"was used for another job ({other})", "choose another key"))
    return job_id


def _letters(text: str, count: int) -> str:
    """A digest in letters."""
    alphabet = "abcdefghijkmnpqrstuvwxyz"
    return "".join(alphabet[byte % len(alphabet)] for byte in hashlib.sha256(text.encode()).digest()[:count])


def _known(session: Session, job_id: str) -> Job | None:
    try:
        return session.store.load(job_id)
    except NotFound:
        return None


# ---- control ---------------------------------------------------------------------------------------------


def cancel(service: Service, call: Call) -> Answer:
    """End a job for good: a waiting one at once, a running one at its next step."""
    return _done(service, control.cancel(service.session, _job(service, call).id, now()))


def pause(service: Service, call: Call) -> Answer:
    """Keep a job from going on until `resume`."""
    return _done(service, control.pause(service.session, _job(service, call).id, now()))


def resume(service: Service, call: Call) -> Answer:
    """Let a paused job go on as soon as there is room."""
    return _done(service, control.resume(service.session, _job(service, call).id, now()))


def retry(service: Service, call: Call) -> Answer:
    """Run a failed or cancelled job again, under the same id."""
    fresh = call.document.fresh if call.document is not None else False
    return _done(service, control.retry(service.session, _job(service, call).id, now(), fresh=fresh))


def prioritise(service: Service, call: Call) -> Answer:
    """Give a job another priority."""
    return _done(service, control.prioritise(service.session, _job(service, call).id, call.document.priority, now()))


def _done(service: Service, job: Job) -> Answer:
    beyond, _ = live(service.session, job)
    return Answer({"schema": SCHEMA, **summary(job), **beyond})


def remove(service: Service, call: Call) -> Answer:
    """Delete a job that has ended, with all that lies in its directory; its model and its answers stay."""
    session = service.session
    job_id = find_job(session.store, call.words["id"])
    control.require_unneeded(job_id, control.dependents(listing(session).rows))
    try:
        if call.query.force:
            control.cancel_and_wait(session, job_id, now(), CANCEL_PATIENCE_S)
        control.remove(session, job_id)
    except HistoryDamaged:
        if not call.query.force:
            raise
        control.remove_damaged(session, job_id)
    return Answer({"schema": SCHEMA, "id": job_id, "removed": True})


def prune(service: Service, call: Call) -> Answer:
    """Delete old jobs that have ended, and tell their ids."""
    session, how = service.session, call.document
    session.require_redis()
    doomed = control.prunable(session, now(), how.older_than_s, how.keep)
    for job_id in [] if how.dry_run else doomed:
        control.remove(session, job_id)
    return Answer({"schema": SCHEMA, "ids": doomed, "dry_run": how.dry_run})


# ---- what scheduler and worker tell ------------------------------------------------------------------------


def explain(service: Service, call: Call) -> Answer:
    """In one sentence why a job waits, or where it stands."""
    return Answer(service.sources.explanation(service.session, _job(service, call).id))


def report(service: Service, call: Call) -> Answer:
    """What crashes cost this job."""
    return Answer(service.sources.report(service.session, _job(service, call).id))


def checkpoints(service: Service, call: Call) -> Answer:
    """The checkpoints of a job."""
    job = _job(service, call)
    rows = service.sources.checkpoints(service.session, job.id, call.query.verify)
    return Answer({"schema": SCHEMA, "id": job.id, "checkpoints": rows})
