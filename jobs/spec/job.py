"""A job's spec as a whole: what may be asked, and how a document becomes one. Pure; `spec.file` reads files.

`parse` reports every problem at once, each with its path, or returns a spec that is sound in itself.
A stored spec (`to_json`) is self-contained: paths absolute, defaults written out. `from_json` is its inverse.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from singlepoint.jobs.errors import InvalidInput, Problem

from .base import FORMAT, Part
from .common import CHECKS
from .fields import Place, child, expanded
from .kinds import KINDS, Spec
from .predict import PredictSpec, is_model_name
from .problems import closest, explain, place_of, shown
from .run import RunSpec
from .train import TrainSpec

__all__ = [
    "KINDS",
    "PredictSpec",
    "RunSpec",
    "Spec",
    "TrainSpec",
    "anchored",
    "environment",
    "fingerprint",
    "from_json",
    "is_model_name",
    "likeness",
    "outputs",
    "parse",
    "paths",
    "to_json",
]


def parse(document: dict[str, Any], resolve: Callable[[str], str] = str) -> Spec:
    """The spec that `document` describes, its paths made absolute by `resolve`.

    Raises InvalidInput with every problem found.
    """
    kind = document.get("kind", "train")
    if not isinstance(kind, str) or kind not in KINDS:
        like = closest(str(kind), KINDS)
        hint = f"did you mean {like}?" if like else ""
        raise InvalidInput(Problem("kind", f"must be {' or '.join(map(repr, KINDS))}, is {shown(kind)}", hint))
    spec = KINDS[kind].spec
    document = expanded(spec, document)
    try:
        parsed = spec.model_validate(document)
    except ValidationError as error:
        problems = explain(spec, document, error.errors())
        sections = _sound_sections(spec, document, [place_of(document, detail) for detail in error.errors()])
    else:
        problems = []
        sections = {name: getattr(parsed, name) for name in spec.model_fields}
    known = [f"{problem.field}." for problem in problems]
    # What is said of a section as a whole says nothing new when one of its fields is wrong already.
    between = _cross_checked(kind, sections)
    problems += [one for one in between if not any(field.startswith(f"{one.field}.") for field in known)]
    if problems:
        raise InvalidInput(problems)
    return cast(Spec, spec.model_validate(anchored(parsed.model_dump(exclude_unset=True), kind, resolve)))


def _cross_checked(kind: str, sections: Mapping[str, Any]) -> list[Problem]:
    """All problems between the fields of these sections (by name; those that are unsound left out)."""
    return [
        problem
        for needed, check in (*CHECKS, *KINDS[kind].checks)
        if all(name in sections for name in needed)
        for problem in check(*(sections[name] for name in needed))
    ]


def _sound_sections(spec: type[Part], document: dict[str, Any], faulty: Iterable[Place]) -> dict[str, Any]:
    """The sections of a faulty document as they would be without the faulty fields, where that is possible."""
    document = copy.deepcopy(document)
    for *parent, name in faulty:
        holder: Any = reduce(child, parent, document)
        if isinstance(holder, dict):
            holder.pop(name, None)
    sections = {}
    for name, field in spec.model_fields.items():
        with contextlib.suppress(ValidationError):
            if name in document:
                sections[name] = TypeAdapter[Any](cast(Any, field.annotation)).validate_python(document[name])
            elif not field.is_required():
                sections[name] = field.default
    return sections


def anchored(document: dict[str, Any], kind: str, resolve: Callable[[str], str]) -> dict[str, Any]:
    """`document` with every path in it made absolute; a model that is a name stays one."""
    document = dict(document)
    for (*sections, name), is_path in KINDS[kind].paths.items():
        holder = document
        for section in sections:
            holder[section] = dict(holder[section])
            holder = holder[section]
        field = KINDS[kind].spec.model_fields.get(name)  # of one at the top, the default is a path as well
        word = holder.get(name, field.default if field and not sections else None)
        if isinstance(word, str) and is_path(word):
            holder[name] = resolve(word)
        elif isinstance(word, list | tuple):
            holder[name] = tuple(map(resolve, word))
    return document


def paths(spec: Spec) -> dict[str, str]:
    """What a spec says of files, by field; of several in one field each by itself, as `data.path[1]`."""
    found: dict[str, str] = {}
    for place in KINDS[spec.kind].paths:
        field, value = ".".join(place), reduce(getattr, place, cast(Any, spec))
        if isinstance(value, str):
            found[field] = value
        elif value is not None:
            found |= {f"{field}[{number}]": path for number, path in enumerate(value)}
    return found


def environment(spec: Spec, submitter: Mapping[str, str]) -> Mapping[str, str] | None:
    """Of the environment of whoever submits, and of the spec's own, what has to be kept for the job; None: nothing."""
    select = KINDS[spec.kind].environment
    return None if select is None else select(spec, submitter)


def likeness(spec: Spec) -> str:
    """What jobs that take and use about the same have in common, as sixteen hex digits: kind, data, model or command.

    What only changes the result is left out (name, seed, learning rate), and so is how long to go on (epochs), which is
    a job's `work`.
    """
    decisive = KINDS[spec.kind].decisive(spec.model_dump(mode="json", exclude_none=True))
    return hashlib.sha256(json.dumps([spec.kind, decisive], sort_keys=True).encode()).hexdigest()[:16]


def work(spec: Spec) -> float:
    """How much there is to do, in a unit that like jobs share: the epochs of a training. 0: nobody can tell."""
    return KINDS[spec.kind].work(spec)


def outputs(spec: Spec) -> tuple[str, ...]:
    """What a job makes outside of the home, and may leave half made beside it."""
    return KINDS[spec.kind].outputs(spec)


def to_json(spec: Spec) -> bytes:
    """The spec as it is stored: JSON with every default written out, and the format's number."""
    document = {"format": FORMAT, **spec.model_dump(mode="json", exclude_none=True)}
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def from_json(content: bytes) -> Spec:
    """The inverse of `to_json`; a spec stored by an earlier version keeps the meaning it had.

    Raises ValueError, KeyError or TypeError for anything else, and InvalidInput for one of a later version.
    """
    document = json.loads(content)
    stored_in = document.pop("format", 1)
    if not 1 <= stored_in <= FORMAT:
        what = f"is of format {stored_in}, this version reads up to {FORMAT}"
        raise InvalidInput(Problem("spec.json", what, "use the version of singlepoint that made it, or a newer one"))
    spec = KINDS[document["kind"]].spec
    return cast(Spec, spec.model_validate(document, context={"format": stored_in}))


def fingerprint(spec: Spec) -> str:
    """sha256 of the spec as it would be stored: the same for the same wish, however it was written, and whatever was
    learned meanwhile of the memory it takes."""
    if spec.resources.memory_from != "spec":
        open_ = spec.resources.model_copy(update={"memory": None, "memory_from": "spec"})
        spec = spec.model_copy(update={"resources": open_})
    return hashlib.sha256(to_json(spec)).hexdigest()
