"""What attempts came to, as values that add up. Pure; `spent` says what one attempt comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from singlepoint.jobs import documents

Ends = Mapping[str, int]
"""How many attempts ended in which way."""


@dataclass(frozen=True)
class Account:
    """What ended attempts came to; accounts add up.

    ends: how they ended.  own_ends: those of them that were the job's own doing.  wall_s: how long they ran, and
    paused_s: how long of that they stood still.  cpu_s: what they used of the processor.  peak_memory_bytes: the most
    that any of them used.  saves, saving_s: checkpoints, and what they cost the work.  lost_s: work that had to be done
    again.  granted_core_s, granted_byte_s: cores and memory they were granted, times seconds; used_byte_s of memory was
    used, useful_core_s and useful_byte_s moved a job on.  began_at: when the first was dispatched; 0 when there was
    none.
    """

    ends: Ends = field(default_factory=dict)
    own_ends: Ends = field(default_factory=dict)
    wall_s: float = 0.0
    paused_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    steps: int = 0
    saves: int = 0
    saving_s: float = 0.0
    lost_s: float = 0.0
    granted_core_s: float = 0.0
    granted_byte_s: float = 0.0
    used_byte_s: float = 0.0
    useful_core_s: float = 0.0
    useful_byte_s: float = 0.0
    began_at: float = 0.0

    def __add__(self, other: Account) -> Account:
        return Sum(vars(self)).add(vars(other)).account()

    def to_json(self) -> dict[str, Any]:
        """Without what is nothing."""
        return {
            name: round(value, 3) if isinstance(value, float) else value for name, value in vars(self).items() if value
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Raises documents.Malformed."""
        read: dict[str, Any] = {name: documents.number(document, name, 0) for name in _NUMBERS & document.keys()}
        read |= {name: dict(_counts(document.get(name))) for name in _ENDS}
        return cls(**read)


_ENDS = ("ends", "own_ends")
_NUMBERS = frozenset(f.name for f in fields(Account) if f.name not in _ENDS)
_SUMS = tuple(name for name in sorted(_NUMBERS) if name not in ("peak_memory_bytes", "began_at"))


class Sum:
    """An account that grows: of 100,000 entries, new values for each addition would cost more than the reading."""

    def __init__(self, account: Mapping[str, Any]) -> None:
        self._sums = {**account, **{name: dict(account.get(name) or {}) for name in _ENDS}}

    def add(self, document: Mapping[str, Any]) -> Self:
        """What an entry's document, or another account, says; fields of the wrong type count as nothing."""
        sums = self._sums
        for name in _SUMS:
            value = document.get(name)
            if type(value) is float or type(value) is int:
                sums[name] = sums.get(name, 0) + value
        for name in _ENDS:
            for end, count in _counts(document.get(name)):
                sums[name][end] = sums[name].get(end, 0) + count
        sums["peak_memory_bytes"] = max(sums.get("peak_memory_bytes", 0), _number(document.get("peak_memory_bytes")))
        began = [at for at in (sums.get("began_at", 0), _number(document.get("began_at"))) if at]
        sums["began_at"] = min(began, default=0.0)
        return self

    def account(self) -> Account:
        return Account(**self._sums)


def _number(value: Any) -> Any:
    return value if type(value) is float or type(value) is int else 0


def _counts(value: Any) -> list[tuple[str, int]]:
    return [(end, count) for end, count in value.items() if type(count) is int] if isinstance(value, Mapping) else []
