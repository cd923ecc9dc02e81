"""A prediction: what may be asked, and what must agree between its fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from singlepoint.jobs.errors import Problem

from .base import Count, FilePath
from .common import JobSpec, Kind, always_a_path
from .data import DialectFields, mark_problems

OUTPUT_SUFFIXES = (".csv", ".npy")

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*([/~][0-9]+)?")


class PredictSpec(JobSpec, DialectFields):
    """Score a data set with a model.

    model: NAME (its newest), NAME/n, a directory with a model.json, or the id of a training job.
    input: as `data.path` of a training.  output: .csv or .npy.  pass_through: columns of the input that are
    copied in front of the answers; None means all of them.
    answer_prefix: put before the answers' names.  tile: rows computed together; None: chosen once.
    """

    earlier: ClassVar[Mapping[str, Any]] = {**JobSpec.earlier, **DialectFields.earlier, "answer_prefix": ""}

    kind: Literal["predict"] = "predict"
    model: Annotated[FilePath, Field(min_length=1)]
    input: Annotated[FilePath | tuple[FilePath, ...], Field(min_length=1)]
    output: FilePath
    pass_through: tuple[str, ...] | None = None
    answer_prefix: Annotated[str, Field(max_length=64)] = ""
    tile: Count | None = None


def is_model_name(word: str) -> bool:
    """Whether `word` may be NAME, NAME/n, NAME~n or a job's id; anything else is a path."""
    return _MODEL_NAME.fullmatch(word) is not None


def _output(output: str, sources: str | tuple[str, ...]) -> Iterator[Problem]:
    suffix = PurePath(output).suffix
    if suffix not in OUTPUT_SUFFIXES:
        yield Problem("output", f"must end in {' or '.join(OUTPUT_SUFFIXES)}, is {output!r}")
    if PurePath(output) in map(PurePath, (sources,) if isinstance(sources, str) else sources):
        yield Problem("output", "would overwrite the input", "choose another file")


_DIALECT = tuple(DialectFields.model_fields)


def _marks(*said: str | None) -> Iterator[Problem]:
    yield from mark_problems(DialectFields.model_validate(dict(zip(_DIALECT, said, strict=True))), "")


PREDICT = Kind(
    spec=PredictSpec,
    checks=((("output", "input"), _output), (_DIALECT, _marks)),
    paths={
        ("input",): always_a_path,
        ("output",): always_a_path,
        ("model",): lambda word: not is_model_name(word),
    },
    decisive=lambda spec: [spec["model"], spec["input"]],
    outputs=lambda spec: (spec.output,),
)
