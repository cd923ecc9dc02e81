"""From a sound spec to an accepted job: names resolved, data checked, budget asked, then kept, then told.

Nothing is kept unless Redis answers first; once the job is kept, telling Redis may fail, and the job is queued
when Redis returns.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from singlepoint.jobs.amounts import parse_moment_s
from singlepoint.jobs.clock import iso
from singlepoint.jobs.errors import InvalidInput, NotNow, NotPermitted, Problem
from singlepoint.jobs.host.capacity import check_fits, read_capacity
from singlepoint.jobs.ledger.learned import learned_memory_bytes
from singlepoint.jobs.lifecycle.dependencies import After, Condition, parse_after
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.spec.common import MEMORY_DEFAULT_BYTES, MEMORY_LEAST_BYTES, Checked
from singlepoint.jobs.spec.job import (
    PredictSpec,
    Spec,
    environment,
    fingerprint,
    likeness,
    outputs,
    paths,
    to_json,
    work,
)
from singlepoint.jobs.store.durable import is_denied
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.unique import alone_with

from .find import find_job, find_model
from .session import Session

Check = Callable[[Spec], Checked | None]
Tell = Callable[[Checked], None]

LONGEST_S = 1e12
"""What is reckoned to take longer is kept as that: 30,000 years."""

_SHOWN = 200
"""Characters of a refused name."""


@dataclass(frozen=True)
class Submitted:
    """An accepted job. ahead: how many others waited when it came, or None when Redis could not be told.

    is_new: False for one that was there, and bears the unique key of the one that was asked for.
    """

    job: Job
    ahead: int | None
    is_new: bool = True


class JobId(str):
    """A job's id. told: lines on its data and shapes, as the command tells them when a job is handed in."""

    told: tuple[str, ...]

    def __new__(cls, job_id: str, told: Iterable[str] = ()) -> Self:
        made = super().__new__(cls, job_id)
        made.told = tuple(told)
        return made


def submit(session: Session, spec: Spec, at: float, check: Check | None = None, tell: Tell | None = None) -> Submitted:
    """Accept a job; see `prepare` and `accept` for what can be raised."""
    return accept(session, prepare(session, spec, at, check, tell), at)


def prepare(session: Session, spec: Spec, at: float, check: Check | None = None, tell: Tell | None = None) -> Checked:
    """The spec with every word for a job, a model or a time replaced by what it means, checked in full; and how long it
    is reckoned to take.

    at: the time, which `+2h` and `18:00` go by.
    check: raises InvalidInput for data and shapes that do not do, and settles what the spec left open.
    tell: is given what the check found.
    Raises NotFound, UsageError, NotNow for what `model` and `after` say, NeverFits, or InvalidInput with every
    problem of data, shapes and budget together; NotPermitted for a file that may not be read.
    """
    with _refusals_explained(spec):
        settled = Checked(_resolved(session.store, spec))
    found: list[InvalidInput] = []
    for look in (_timed(at), _outside(session), check, _memory_of(session), _budget_of(session)):
        try:
            if look is not None:
                with _refusals_explained(settled.spec):
                    checked = look(settled.spec)
                if checked is not None:
                    settled = Checked(checked.spec, reckoned_s=checked.reckoned_s or settled.reckoned_s)
                    if tell is not None:
                        tell(checked)
        except InvalidInput as error:
            found.append(error)
    if len(found) == 1:
        raise found[0]
    if found:
        raise InvalidInput([problem for error in found for problem in error.problems], hint=found[-1].hint)
    return settled


@contextlib.contextmanager
def _refusals_explained(spec: Spec) -> Iterator[None]:
    """Turn the operating system's refusal of a name in the spec into an error with the field's path."""
    try:
        yield
    except OSError as error:
        name = os.fsdecode(error.filename or "")
        field = next((field for field, path in paths(spec).items() if name and (name in path or path in name)), "spec")
        what = f"{error.strerror or error}: {name[:_SHOWN]}{'…' if len(name) > _SHOWN else ''}"
        if is_denied(error):
            raise NotPermitted(f"{field}: {what}", hint="mend the permissions, or choose another file") from error
        raise InvalidInput(Problem(field, what, "choose another file")) from error


def _timed(at: float) -> Check:
    """Times of the clock and lengths become points in time, in UTC."""

    def look(spec: Spec) -> Checked:
        times = {name: getattr(spec, name) for name in ("begin", "deadline")}
        known = {name: parse_moment_s(text, at) for name, text in times.items() if text is not None}
        if "deadline" in known and known["deadline"] <= max(at, known.get("begin", at)):
            what = f"{iso(known['deadline'])} is not after " + ("the begin" if "begin" in known else "now")
            raise InvalidInput(Problem("deadline", what, "write it like +2h, 18:00 or 2026-11-27T18:00"))
        return Checked(spec.model_copy(update={name: iso(moment_s) for name, moment_s in known.items()}))

    return look


def _outside(session: Session) -> Check:
    """Answers belong to the user: a file in the home could be taken for one of ours."""

    def look(spec: Spec) -> None:
        inside = next((path for path in outputs(spec) if _is_ours(session.home, Path(path))), None)
        if inside is not None:
            what = f"{inside} lies in singlepoint's own home"
            raise InvalidInput(Problem("output", what, "choose another place"))

    return look


def _is_ours(home: Home, output: Path) -> bool:
    """Whether it would lie in the home, but for the outputs there, however it is spelled: links lead somewhere."""
    place = output.resolve()
    return place.is_relative_to(home.path.resolve()) and not place.is_relative_to(home.outputs.resolve())


def _memory_of(session: Session) -> Check:
    """What the spec leaves open of the memory: as like jobs have shown, or as it is reckoned already."""

    def look(spec: Spec) -> Checked | None:
        asked = spec.resources
        if asked.memory is not None and asked.memory_from == "spec":
            return None
        learned = learned_memory_bytes(session.store.ledger.like(likeness(spec)))
        if learned is not None:
            capacity = read_capacity(session.home)
            most = learned if capacity is None else min(learned, capacity.most.memory_bytes)
            asked = asked.with_memory(max(most, MEMORY_LEAST_BYTES), "learned")
        elif asked.memory is None:
            asked = asked.with_memory(MEMORY_DEFAULT_BYTES, "default")
        return Checked(spec.model_copy(update={"resources": asked}))

    return look


def _budget_of(session: Session) -> Check | None:
    capacity = read_capacity(session.home)
    return None if capacity is None else lambda spec: check_fits(spec.resources.amounts(), capacity)


def accept(session: Session, checked: Checked, at: float, *, job_id: str | None = None) -> Submitted:
    """Keep the job, then tell Redis; or answer with the living job that bears its unique key, and keep nothing.

    job_id: what it shall be called, where whoever asks may ask again; by default a new id.
    Raises BrokerAway, BrokerRefuses, StorageFull or NotPermitted, and then keeps nothing.
    """
    session.require_writable()
    spec, facts = checked.spec, facts_of(session.home, checked)
    with alone_with(session.store, facts.get("unique", "")) as living:
        if living is not None:
            return Submitted(living, 0, is_new=False)
        job = session.store.create(to_json(spec), facts, at, job_id=job_id, environment=environment(spec, os.environ))
    return Submitted(job, announce(session, job))


def facts_of(home: Home, checked: Checked) -> dict[str, Any]:
    """What the first line of a job's history says of what was asked for."""
    spec: Spec = checked.spec
    key = unique_key(home, spec)
    return {
        "name": spec.name,
        "kind": spec.kind,
        "requests": spec.resources.amounts().to_json(),
        "memory_from": spec.resources.memory_from,
        "priority": spec.priority,
        **({"project": spec.project} if spec.project else {}),
        "retries": spec.retries,
        "after": list(spec.after),
        "fingerprint": fingerprint(spec),
        "like": likeness(spec),
        **({"work": amount} if (amount := work(spec)) else {}),
        **({"reckoned_s": round(min(checked.reckoned_s, LONGEST_S), 6)} if checked.reckoned_s else {}),
        **({"begin_at": spec.begin} if spec.begin else {}),
        **({"deadline_at": spec.deadline} if spec.deadline else {}),
        **({} if spec.preemptible else {"preemptible": False}),
        **({"unique": key} if key else {}),
    }


def unique_key(home: Home, spec: Spec) -> str:
    """The key that no other living job may bear, `""` for none; where none was given, a digest of what is asked for."""
    if not spec.unique:
        return ""
    if isinstance(spec.unique, str):
        return spec.unique
    wish = spec.model_copy(update={"begin": None, "deadline": None})  # `+2h` is another time whenever it is said
    secrets = sorted((environment(spec, {}) or {}).items())  # masked in the spec, and decisive all the same
    return sha256(json.dumps([home.uuid, fingerprint(wish), secrets]).encode()).hexdigest()[:16]


def announce(session: Session, *jobs: Job) -> int | None:
    """Tell of pending jobs and wake the scheduler, which shows them as waiting; in one round trip.

    Answers how many waited before them, or None when Redis is away: then they are queued when Redis returns.
    """
    from singlepoint.jobs.broker import redis_errors
    from singlepoint.jobs.broker.rq_names import waiting_key

    try:
        with session.connection.pipeline() as pipe:
            for job in jobs:
                session.index.tell(job, pipeline=pipe)
            pipe.llen(waiting_key(session.home.uuid))
            return int(pipe.execute()[-1])
    except redis_errors.RedisError:
        return None


def _resolved(store: JobStore, spec: Spec) -> Spec:
    after = [replace(one, job=find_job(store, one.job)) for one in map(parse_after, spec.after)]
    changes: dict[str, object] = {}
    if isinstance(spec, PredictSpec):
        model = find_model(store, spec.model)
        changes["model"] = model
        if not model.startswith("/"):
            after.append(After(model))  # a training that has yet to end: its model is there once it succeeded
    for one in after:
        if (fate := one.never(store.fate(one.job))) is not None:
            hint = f"`singlepoint retry {one.job}`" if one.when is Condition.OK else f"`--after {one.job}:any`"
            raise NotNow(f"job {one.job}, which must come first, {fate}", hint=hint)
    return spec.model_copy(update={**changes, "after": tuple(dict.fromkeys(map(str, after)))})
