"""A job's spec as a whole: what may be asked, and how a document becomes one. Pure; `spec.file` reads files.

`parse` reports every problem at once, each with its path, or returns a spec that is sound in itself.
A stored spec (`to_json`) is self-contained: paths absolute, defaults written out. `from_json` is its inverse.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from singlepoint.jobs.amounts import parse_bytes
from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.lifecycle.records import Resources

from .base import FORMAT, Count, FilePath, Part, Positive
from .checks import cross_checked
from .data import DataSpec, PreprocessingSpec
from .fields import Place, child, expanded
from .network import ModelSpec
from .problems import closest, explain, place_of, shown
from .training import TrainingSpec

MIB = 2**20

MEMORY_DEFAULT_BYTES = 512 * MIB
MEMORY_LEAST_BYTES = 32 * MIB  # below this an attempt dies before it has read a row


def _amount(value: Any) -> Any:
    """A size with its unit as a number of bytes; anything but text is left to the next check."""
    return parse_bytes(value.removesuffix("/s")) if isinstance(value, str) else value


_Amount = Annotated[int, BeforeValidator(_amount)]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class ResourceSpec(Part):
    """`[resources]`: what a job asks of the budget. Sizes as "512MiB" or a number of bytes.

    cpu: threads of a training, children of a prediction.  memory: anonymous and shared memory.
    storage: disk it may add.  network: bytes a second.
    """

    cpu: Annotated[int, Field(strict=True, ge=1, le=4096)] = 1
    memory: Annotated[_Amount, Field(ge=MEMORY_LEAST_BYTES)] = MEMORY_DEFAULT_BYTES
    storage: Annotated[_Amount, Field(ge=0)] = 0
    network: Annotated[_Amount, Field(ge=0)] = 0

    def amounts(self) -> Resources:
        """The same as the scheduler counts it."""
        return Resources(1000 * self.cpu, self.memory, self.storage, self.network)


class _JobSpec(Part):
    """What every kind of job may say.

    after: ids of jobs that must have succeeded first.  checkpoint_interval_s: seconds of work between saves;
    None: what the reliability model finds best.
    """

    name: Name
    resources: ResourceSpec = ResourceSpec()
    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] = 0  # higher runs earlier
    retries: Annotated[int, Field(strict=True, ge=0, le=100)] = 0  # own failures that are tried again
    after: tuple[str, ...] = ()
    checkpoint_interval_s: Positive | None = None


class TrainSpec(_JobSpec):
    """Train a model and keep it under the job's name."""

    kind: Literal["train"] = "train"
    data: DataSpec
    preprocessing: PreprocessingSpec = PreprocessingSpec()
    model: ModelSpec
    training: TrainingSpec = TrainingSpec()


class PredictSpec(_JobSpec):
    """Score a data set with a model.

    model: NAME (its newest), NAME/n, a directory with a model.json, or the id of a training job.
    input: as `data.path` of a training.  output: .csv or .npy.  pass_through: columns of the input that are
    copied in front of the answers; None means all of them.
    answer_prefix: put before the answers' names.  tile: rows computed together; None: chosen once.
    """

    earlier: ClassVar[Mapping[str, Any]] = {"answer_prefix": ""}

    kind: Literal["predict"] = "predict"
    model: Annotated[FilePath, Field(min_length=1)]
    input: FilePath
    output: FilePath
    pass_through: tuple[str, ...] | None = None
    answer_prefix: Annotated[str, Field(max_length=64)] = ""
    tile: Count | None = None


Spec = TrainSpec | PredictSpec

KINDS: dict[str, type[TrainSpec] | type[PredictSpec]] = {"train": TrainSpec, "predict": PredictSpec}

_PATHS: dict[str, tuple[tuple[str, ...], ...]] = {
    "train": tuple(("data", name) for name in ("path", "target_path", "validation_path", "validation_target_path")),
    "predict": (("input",), ("output",)),
}

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[0-9]+)?")


def parse(document: dict[str, Any], resolve: Callable[[str], str] = str) -> Spec:
    """The spec that `document` describes, its paths made absolute by `resolve`.

    Raises InvalidInput with every problem found.
    """
    kind = document.get("kind", "train")
    if not isinstance(kind, str) or kind not in KINDS:
        like = closest(str(kind), KINDS)
        hint = f"did you mean {like}?" if like else ""
        raise InvalidInput(Problem("kind", f"must be {' or '.join(map(repr, KINDS))}, is {shown(kind)}", hint))
    spec = KINDS[kind]
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
    between = cross_checked(kind, sections)
    problems += [one for one in between if not any(field.startswith(f"{one.field}.") for field in known)]
    if problems:
        raise InvalidInput(problems)
    return spec.model_validate(anchored(parsed.model_dump(exclude_unset=True), kind, resolve))


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
    for *sections, name in _PATHS[kind]:
        holder = document
        for section in sections:
            holder[section] = dict(holder[section])
            holder = holder[section]
        if holder.get(name) is not None:
            holder[name] = resolve(holder[name])
    if kind == "predict" and not is_model_name(document["model"]):
        document["model"] = resolve(document["model"])
    return document


def paths(spec: Spec) -> dict[str, str]:
    """What a spec says of files, by field."""
    found = {}
    for place in (*_PATHS[spec.kind], *((("model",),) if spec.kind == "predict" else ())):
        value: Any = reduce(getattr, place, spec)
        if value is not None:
            found[".".join(place)] = str(value)
    return found


def is_model_name(word: str) -> bool:
    """Whether `word` may be NAME, NAME/n or a job's id; anything else is a path."""
    return _MODEL_NAME.fullmatch(word) is not None


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
    return KINDS[document["kind"]].model_validate(document, context={"format": stored_in})


def fingerprint(spec: Spec) -> str:
    """sha256 of the stored spec: the same for the same wish, however it was written."""
    return hashlib.sha256(to_json(spec)).hexdigest()
