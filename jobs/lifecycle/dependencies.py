"""What a job comes after: another job, and how that one must have ended. Pure.

Written `ID` or `ID:ok` (it succeeded), `ID:failed` (it failed or was cancelled), `ID:any` (it ended). A job comes
after jobs that were there before it and never changes its mind, so no circle can come about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .states import FINAL, State


class Condition(StrEnum):
    """How the other job must have ended."""

    OK = "ok"
    ANY = "any"
    FAILED = "failed"


_MET: Mapping[Condition, frozenset[State]] = {
    Condition.OK: frozenset({State.SUCCEEDED}),
    Condition.ANY: FINAL,
    Condition.FAILED: FINAL - {State.SUCCEEDED},
}

_NEVER: Mapping[State | None, str] = {
    State.FAILED: "failed",
    State.CANCELLED: "was cancelled",
    State.SUCCEEDED: "succeeded, and was to fail",
    None: "was removed",
}


@dataclass(frozen=True)
class After:
    """One job to come after, by its id. As text: the id alone where it must have succeeded."""

    job: str
    when: Condition = Condition.OK

    def __str__(self) -> str:
        return self.job if self.when is Condition.OK else f"{self.job}:{self.when}"

    def is_met(self, state: State | None) -> bool:
        """Whether it may start, the other standing so. None: it was removed, and nobody knows how it had ended."""
        return state in _MET[self.when] if state is not None else self.when is Condition.ANY

    def never(self, state: State | None) -> str | None:
        """In words, why the other, standing so, keeps it from ever starting; None where it does not."""
        has_ended = state is None or state in FINAL
        return _NEVER[state] if has_ended and not self.is_met(state) else None


def parse_after(text: str) -> After:
    """The inverse of `str`, for any word for a job; raises ValueError saying what is expected."""
    word, colon, when = text.rpartition(":")
    if not colon:
        return After(text)
    if not word or when not in frozenset(map(str, Condition)):
        raise ValueError(f"{text!r} says when in no way there is; write it like ID, ID:any or ID:failed")
    return After(word, Condition(when))
