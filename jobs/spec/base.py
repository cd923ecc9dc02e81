"""What every part of a spec shares: frozen, closed to unknown fields, plain values only.

The records below this package are the vocabulary of a job. They are read by `jobs` (to check what was
asked), by `worker` (to do it) and by a saved model (to say what it is), so there is one definition of
each name and of its bounds. Nothing here reads a clock, a file or the environment.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A piece of a spec: immutable, and an unknown field is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,  # a command builds only the validators it uses
    )


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
