"""What every part of a spec shares: frozen, closed to unknown fields, plain values only.

The records below this package are the vocabulary of a job. They are read by `jobs` (to check what was
asked), by `worker` (to do it) and by a saved model (to say what it is), so there is one definition of
each name and of its bounds. Nothing here reads a clock, a file or the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

FORMAT = 2
"""Of a stored spec. A field that came after format 1 stands in its part's `earlier`."""


class Part(BaseModel):
    """A piece of a spec: immutable, and an unknown field is an error."""

    earlier: ClassVar[Mapping[str, Any]] = {}
    """Fields that format 1 did not have, each with the value that does as version 0.1.0 did. A spec stored by that
    version is read with these, whatever the default is today, so that it keeps its meaning."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,  # a command builds only the validators it uses
    )

    @model_validator(mode="before")
    @classmethod
    def _keep_its_meaning(cls, document: Any, info: ValidationInfo) -> Any:
        stored_in = (info.context or {}).get("format", FORMAT)
        return {**cls.earlier, **document} if stored_in < FORMAT and isinstance(document, dict) else document


def build_all(part: type[Part] = Part) -> None:
    """Build every part's validators now, for a process whose children would each build them at their first use."""
    for kind in part.__subclasses__():
        kind.model_rebuild()
        build_all(kind)


def as_known_to_format_1(part: Part) -> dict[str, Any]:
    """The part as plain JSON, without later fields that do as that format did: so two versions call one wish alike."""
    plain = part.model_dump(mode="json")
    for name in type(part).model_fields:
        value = getattr(part, name)
        if name in part.earlier and value == part.earlier[name]:
            del plain[name]
        elif isinstance(value, Part):
            plain[name] = as_known_to_format_1(value)
        elif isinstance(value, tuple):
            plain[name] = [
                as_known_to_format_1(one) if isinstance(one, Part) else item
                for one, item in zip(value, plain[name], strict=True)
            ]
    return plain


Count = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
"""A whole number of things, at least one."""

Fraction = Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]
"""A share of a whole: 0 <= value < 1."""


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError("must not hold a NUL character")
    return path


FilePath = Annotated[str, AfterValidator(_without_nul)]
"""The name of a file, as the operating system takes it."""

NonNegative = Annotated[float, Field(strict=True, ge=0.0)]
Positive = Annotated[float, Field(strict=True, gt=0.0)]
