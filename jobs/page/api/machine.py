"""The machine and its models: budget, services, utilisation over time, draining, doctor, what crashes cost; models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from singlepoint.jobs.amounts import parse_moment_s
from singlepoint.jobs.broker.index import LOOK_AT_EVERYTHING
from singlepoint.jobs.client.find import find_job, find_model
from singlepoint.jobs.client.query import listing
from singlepoint.jobs.client.session import Session, asked
from singlepoint.jobs.clock import iso, now
from singlepoint.jobs.errors import InvalidInput, NotFound, Problem
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.standstill import scheduler_complaint
from singlepoint.jobs.lifecycle.flow import Flow
from singlepoint.jobs.lifecycle.records import UNLIMITED, Resources, as_counted
from singlepoint.jobs.lifecycle.summary import SCHEMA
from singlepoint.jobs.page.service import Answer, Call, Document, Service
from singlepoint.jobs.services.draining import Drain, drain, end_drain, lasting, planned_drain
from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.common import Moment
from singlepoint.jobs.store.rings import RINGS_OF_A_JOB, Rings


class Draining(Part):
    """Whether nothing is to be started and running work is to be saved and handed back.

    until: work goes on until then (`+2h`, `18:00`, `2026-11-27T18:00`).  for_s: it ends by itself after so long.
    """

    draining: bool = Field(strict=True)
    until: Moment | None = None
    for_s: Annotated[float, Field(gt=0)] | None = None


class Span(Part):
    """The time that ends now, a second at least: it is sampled once a second. points: entries, at most."""

    span_s: Annotated[float, Field(ge=1, le=400 * 86400)] = 900.0
    points: Annotated[int, Field(ge=10, le=2000)] = 300


def machine(service: Service, call: Call) -> Answer:
    """The budget, what of it is granted, and whether everything is at work."""
    return Answer(machine_document(service.session))


def machine_document(session: Session) -> Document:
    """Also sent as an event whenever it changes."""
    try:
        capacity = read_capacity(session.home)
    except InvalidInput:
        capacity = None  # damaged: `doctor` tells of it
    plan = planned_drain(session.home, now())
    return {
        "schema": SCHEMA,
        "scheduler": capacity is not None and capacity.is_live(),
        "complaint": scheduler_complaint(session.home) or None,
        "redis": asked(session, lambda index: index.is_complete())[1] is None,
        "draining_since": iso(plan.begins_at) if plan is not None and plan.holds(now()) else None,
        "drain": plan.to_json() if plan is not None else None,
        "budget": _limited(capacity.budget) if capacity is not None else None,
        "reserve": capacity.reserve.to_json() if capacity is not None else None,
        "page": capacity.page.to_json() if capacity is not None else None,
        "granted": granted(session).to_json(),
    }


def _limited(budget: Resources) -> Document:
    return {name: amount for name, amount in budget.to_json().items() if name == "counted" or amount < UNLIMITED}


def granted(session: Session) -> Resources:
    """What the attempts that run now were granted, all together."""
    total = Resources()
    for row in listing(session).rows:
        if row["state"] in ("queued", "running"):
            cpu = 0 if row["paused"] else round(1000 * row["cpu"])
            rest = (row["memory_bytes"], row["storage_bytes"], row["network_bytes_s"])
            total += Resources(cpu, *rest, counted=as_counted(row.get("counted") or {}))
    return total


def utilisation(service: Service, call: Call) -> Answer:
    """U(t) of each limited resource over time, in three readings, and the account of core-seconds."""
    return _over_time(Rings(service.session.home.utilisation), call)


def utilisation_of_job(service: Service, call: Call) -> Answer:
    """The same of one job: what it used of what it was granted."""
    session = service.session
    job_id = find_job(session.store, call.words["id"])
    return _over_time(Rings(session.home.job_files(job_id).utilisation, RINGS_OF_A_JOB), call)


def _over_time(rings: Rings, call: Call) -> Answer:
    until = now()
    begin = until - call.query.span_s
    spans: dict[int, Flow] = {}
    for at, flow in rings.over(begin, until):
        place = int((at - begin) * call.query.points / call.query.span_s)
        spans[place] = spans[place] + flow if place in spans else flow
    total = sum(spans.values(), Flow())
    shares = [flow.shares() for flow in spans.values()]
    document = {
        "schema": SCHEMA,
        "until": until,
        "at": [begin + (place + 1) * call.query.span_s / call.query.points for place in spans],
        "shares": {
            name: {reading: [one.get(name, {}).get(reading) for one in shares] for reading in readings}
            for name, readings in total.shares().items()
        },
        "account": {name: getattr(total, name) for name in ACCOUNT},
    }
    return Answer(document)


ACCOUNT = (
    *("capacity_core_s", "used_core_s", "useful_core_s", "saving_core_s", "repeated_core_s", "failed_core_s"),
    *("own_core_s", "idle_core_s", "beyond_core_s"),
)


def set_draining(service: Service, call: Call) -> Answer:
    """Begin to drain, at once or at a time, or end it. Survives a restart."""
    session, asked_for, at = service.session, call.document, now()
    session.require_redis()
    if asked_for.draining:
        begins_at = at if asked_for.until is None else parse_moment_s(asked_for.until, at)
        drain(session.home, _lasting(begins_at, asked_for.for_s), at)
    else:
        end_drain(session.home, at)
    session.index.ring(LOOK_AT_EVERYTHING)
    return Answer(machine_document(session))


def _lasting(begins_at: float, for_s: float | None) -> Drain:
    try:
        return lasting(begins_at, for_s)
    except ValueError as error:
        raise InvalidInput(Problem("for_s", str(error))) from None


def doctor(service: Service, call: Call) -> Answer:
    """What is there, what is missing, and what to do."""
    checks = service.sources.doctor()
    return Answer(
        {"schema": SCHEMA, "healthy": all(one["grade"] in ("ok", "limited") for one in checks), "checks": checks}
    )


def report(service: Service, call: Call) -> Answer:
    """What crashes cost, over all that ever ran here: failure rate, reliability, saves, waste."""
    return Answer(service.sources.report(service.session, None))


def models(service: Service, call: Call) -> Answer:
    """Every model that jobs made, newest version first."""
    return Answer({"schema": SCHEMA, "models": service.sources.models(service.session)[::-1]})


def model(service: Service, call: Call) -> Answer:
    """One model: its layers, metrics and origin."""
    name, version = call.words["name"], call.words.get("version")
    word = f"{name}/{version}" if version else name
    home = service.session.home
    if not (home.models / name).is_dir():
        raise NotFound(f"no model {word}", hint="`singlepoint models` lists them")
    return Answer({"schema": SCHEMA, **service.sources.model(find_model(service.session.store, word))})
