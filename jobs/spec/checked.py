"""What a check of a spec comes to, besides refusing it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .job import Spec


@dataclass(frozen=True)
class Checked:
    """spec: with what was left open (how a file is written, which files a pattern means) settled for good.

    summary: lines on what was found and how it was understood.  warnings: what usually goes wrong.
    """

    spec: Spec
    summary: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All there is to tell."""
        return (*self.summary, *(f"warning: {line}" for line in self.warnings))
