"""A scene as a JSON document, and back: how the scheduler hands it to whoever asks. Pure.

What comes back is held to types and ranges, since it lay in Redis; infinity is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Document, Malformed
from singlepoint.jobs.lifecycle.records import MOST_CORES, Resources, is_job_id
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.world.learned.experience import Estimate, Pace
from singlepoint.scheduler.world.learned.reliability import Posterior
from singlepoint.scheduler.world.sharing.usage import Shares
from singlepoint.scheduler.world.tasks import Holding, Task

from .scene import Came, Coming, Hope, Scene

T = TypeVar("T")
SCHEMA = 1
MOST_PRIORITY = 2**31

_FIELDS = {field.name: str(field.type) for field in fields(Task)}


def to_json(scene: Scene) -> dict[str, Any]:
    """As one document; the inverse of `from_json`."""
    return {
        "schema": SCHEMA,
        "now": scene.now,
        "room": scene.room.to_json(),
        "cores": list(scene.cores),
        "policy": scene.policy,
        "drains_at": _finite(scene.drains_at),
        "waiting": [_task(task) for task in scene.waiting],
        "holding": [_holding(one) for one in scene.holding],
        "coming": [{"task": _task(one.task), "at": one.at, "after": list(one.after)} for one in scene.coming],
        "left": {job_id: _values(one) for job_id, one in scene.left.items()},
        "hopes": {job_id: [one.deadline_at, _finite(one.setback_s)] for job_id, one in scene.hopes.items()},
        "survival": [scene.survival.a, scene.survival.b],
        "shares": {
            "used": dict(scene.shares.used),
            "weights": dict(scene.shares.weights),
            "half_life_s": scene.shares.half_life_s,
        },
        "lately": [_came(one) for one in scene.lately],
        "starting": _values(scene.starting),
        "together": scene.together,
        "paces": [[*kind, pace.start_s, pace.piece_s, _values(pace.around)] for kind, pace in scene.paces.items()],
    }


def from_json(document: Document) -> Scene:
    """Raises Malformed."""
    try:
        scene = _read(document)
    except (TypeError, ValueError, LookupError) as error:
        raise Malformed(f"it is no scene ({error})") from None
    ids = [task.id for task in scene.tasks()] + [one.task.id for one in scene.holding if one.cores]
    if scene.policy not in POLICIES or not all(map(is_job_id, scene.left)) or not set(ids) <= scene.left.keys():
        raise Malformed("it is no scene")
    return scene


def _read(document: Document) -> Scene:
    left, hopes = documents.mapping(document, "left"), documents.mapping(document, "hopes")
    a, b = map(_number, document["survival"])
    return Scene(
        now=documents.number(document, "now", most=documents.LAST_S),
        room=Resources.from_json(documents.mapping(document, "room")),
        cores=documents.wholes(document, "cores", most=MOST_CORES),
        policy=documents.text(document, "policy"),
        drains_at=_or_infinity(document, "drains_at"),
        waiting=_each(document, "waiting", _task_of),
        holding=_each(document, "holding", _holding_of),
        coming=_each(document, "coming", _coming_of),
        left={job_id: _estimate(one) for job_id, one in left.items()},
        hopes={job_id: Hope(_number(at), _number(setback)) for job_id, (at, setback) in hopes.items()},
        survival=Posterior(a, b),
        shares=_shares(documents.mapping(document, "shares")),
        lately=_each(document, "lately", _came_of),
        starting=_estimate(document["starting"]),
        together=documents.number(document, "together", 0.0, most=1.0),
        paces={
            (str(like), bool(worked)): Pace(_number(start_s), _number(piece_s), _estimate(around))
            for like, worked, start_s, piece_s, around in document.get("paces", ())
        },
    )


def _shares(document: Document) -> Shares:
    used, weights = documents.mapping(document, "used"), documents.mapping(document, "weights")
    return Shares(
        {name: documents.number(used, name) for name in used},
        {name: documents.number(weights, name, least=1e-9) for name in weights},
        documents.number(document, "half_life_s", least=1.0),
    )


def _values(one: Estimate) -> list[Any]:
    return [one.low_s, one.median_s, one.high_s, one.source]


def _estimate(values: Any) -> Estimate:
    low_s, median_s, high_s, source = values
    return Estimate(_number(low_s), _number(median_s), _number(high_s), str(source))


# --- a task, a holding --------------------------------------------------------------------------------------


def _task(task: Task) -> dict[str, Any]:
    return {name: _plain(getattr(task, name)) for name in _FIELDS}


def _task_of(document: Document) -> Task:
    return Task(**{name: _READ[kind](document, name) for name, kind in _FIELDS.items()})


def _holding(one: Holding) -> dict[str, Any]:
    known = {"granted": one.granted.to_json(), "leaving": one.leaving.to_json(), "cores": list(one.cores)}
    return {"task": _task(one.task), **known, "since": one.since, "begun": one.begun}


def _holding_of(document: Document) -> Holding:
    return Holding(
        task=_task_of(documents.mapping(document, "task")),
        granted=Resources.from_json(documents.mapping(document, "granted")),
        cores=documents.wholes(document, "cores", most=MOST_CORES),
        since=documents.number(document, "since", least=-documents.LAST_S),
        begun=documents.flag(document, "begun"),
        leaving=Resources.from_json(documents.mapping(document, "leaving")),
    )


def _coming_of(document: Document) -> Coming:
    task = _task_of(documents.mapping(document, "task"))
    return Coming(task, documents.number(document, "at"), documents.texts(document, "after"))


def _came(one: Came) -> dict[str, Any]:
    return {"gap_s": one.gap_s, "task": _task(one.task), "takes": None if one.takes is None else _values(one.takes)}


def _came_of(document: Document) -> Came:
    task, takes = _task_of(documents.mapping(document, "task")), document["takes"]
    return Came(documents.number(document, "gap_s"), task, None if takes is None else _estimate(takes))


# --- values -------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return _finite(value)
    return value.to_json() if isinstance(value, Resources) else value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: Any) -> float:
    """A number, null for infinity; raises TypeError."""
    return math.inf if value is None else float(value + 0.0)


def _or_infinity(document: Document, name: str) -> float:
    value = documents.number(document, name, None, least=-documents.LAST_S)
    return math.inf if value is None else value


def _each(document: Document, name: str, read: Callable[[Document], T]) -> tuple[T, ...]:
    value = document[name]
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Malformed(f"`{name}` is not a list of objects")
    return tuple(map(read, value))


_READ: Mapping[str, Callable[[Document, str], Any]] = {
    "float": _or_infinity,
    "int": lambda document, name: documents.whole(document, name, least=-MOST_PRIORITY, most=MOST_PRIORITY),
    "str": documents.text,
    "bool": documents.flag,
    "Resources": lambda document, name: Resources.from_json(documents.mapping(document, name)),
    "float | None": lambda document, name: documents.number(document, name, None, least=-documents.LAST_S),
}
"""By the type of a task's field."""
