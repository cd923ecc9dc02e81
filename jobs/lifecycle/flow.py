"""What passed through the machine in a span of time: capacity, grants and use, as amounts times seconds. Pure.

U(t) = C(t) / C_max in three readings: *reserved* is what was granted, *used* what was measured, *useful* what was used
less saves, work done again, and attempts that failed by their own fault. Flows of adjoining spans add up.

What was of no use is known only when an attempt ends, so it is booked then; over any longer span that is no matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from .records import RESOURCE_NAMES, UNLIMITED, Attempt, Resources, Sample
from .spent import Waste

Amounts = tuple[float, ...]
"""One number for each of RESOURCE_NAMES, times seconds: `cpu_millis` times seconds are thousandths of core-seconds."""

NONE: Amounts = (0.0,) * len(RESOURCE_NAMES)

UNMETERED = frozenset({"network_bytes_s"})
"""Whose use nobody measures."""

Counted = Mapping[str, tuple[float, float]]
"""Of resources that are counted, by name: capacity and what was granted of it, times seconds."""


@dataclass(frozen=True)
class Flow:
    """seconds: how long somebody measured.  capacity, reserved, used: amounts times seconds.

    own_core_s: what our own processes used.  saving_core_s, repeated_core_s, failed_core_s: of `used`, what went into
    checkpoints, into work that had to be done again, and into attempts that failed by their own fault.  counted: of
    what the owner names besides; nobody measures what is done with it.
    """

    seconds: float = 0.0
    capacity: Amounts = NONE
    reserved: Amounts = NONE
    used: Amounts = NONE
    own_core_s: float = 0.0
    saving_core_s: float = 0.0
    repeated_core_s: float = 0.0
    failed_core_s: float = 0.0
    counted: Counted = field(default_factory=dict)

    def __add__(self, other: Flow) -> Flow:
        pairs = zip(self.figures(), other.figures(), strict=True)
        counted = dict(self.counted)
        for name, (capacity, granted) in other.counted.items():
            before = counted.get(name, (0.0, 0.0))
            counted[name] = (before[0] + capacity, before[1] + granted)
        return Flow.from_figures([a + b for a, b in pairs], counted)

    def __mul__(self, share: float) -> Flow:
        counted = {name: (share * capacity, share * granted) for name, (capacity, granted) in self.counted.items()}
        return Flow.from_figures([share * figure for figure in self.figures()], counted)

    @property
    def used_core_s(self) -> float:
        return self.used[0] / 1000

    @property
    def capacity_core_s(self) -> float:
        return self.capacity[0] / 1000

    @property
    def useful_core_s(self) -> float:
        wasted = self.saving_core_s + self.repeated_core_s + self.failed_core_s
        return max(0.0, self.used_core_s - wasted)

    @property
    def idle_core_s(self) -> float:
        """Not used by us, whatever others did with it meanwhile."""
        return max(0.0, self.capacity_core_s - self.used_core_s - self.own_core_s)

    @property
    def beyond_core_s(self) -> float:
        """Used beyond the budget: our own processes are not kept to its cores."""
        return max(0.0, self.used_core_s + self.own_core_s - self.capacity_core_s)

    def shares(self) -> dict[str, dict[str, float]]:
        """The three readings of each limited resource, by name, of the network and what is counted the first; empty
        when nothing was measured."""
        useful = self.useful_core_s / self.used_core_s if self.used_core_s > 0 else 1.0
        measured = {
            name: {"reserved": reserved / capacity, "used": used / capacity, "useful": used * useful / capacity}
            for name, capacity, reserved, used in zip(
                RESOURCE_NAMES, self.capacity, self.reserved, self.used, strict=True
            )
            if capacity > 0
        }
        for name in measured.keys() & UNMETERED:
            measured[name] = {"reserved": measured[name]["reserved"]}
        counted = {name: {"reserved": granted / all_} for name, (all_, granted) in self.counted.items() if all_ > 0}
        return measured | counted

    def figures(self) -> list[float]:
        """All of it as numbers in a fixed order, as it is stored; but for what is counted."""
        found: list[float] = []
        for one in _MEASURED:
            value = getattr(self, one.name)
            found += value if isinstance(value, tuple) else (value,)
        return found

    @classmethod
    def from_figures(cls, figures: Sequence[float], counted: Counted | None = None) -> Self:
        """The inverse of `figures`."""
        rest = list(figures)
        values: dict[str, Any] = {"counted": counted or {}}
        for one in _MEASURED:
            is_vector = isinstance(one.default, tuple)
            taken, rest = rest[: len(NONE) if is_vector else 1], rest[len(NONE) if is_vector else 1 :]
            values[one.name] = tuple(taken) if is_vector else taken[0]
        return cls(**values)


_MEASURED = [one for one in fields(Flow) if one.name != "counted"]
FIGURES = len(Flow().figures())


def standing(budget: Resources, reserved: Resources, seconds: float) -> Flow:
    """What there was and what was granted, the whole span long. Resources without a limit have no share."""
    limits = [amount if amount < UNLIMITED else 0 for amount in budget.amounts()]
    return Flow(
        seconds=seconds,
        capacity=tuple(amount * seconds for amount in limits),
        reserved=tuple(
            seconds * amount if limit else 0.0 for amount, limit in zip(reserved.amounts(), limits, strict=True)
        ),
        counted={name: (count * seconds, reserved.of(name) * seconds) for name, count in budget.counted},
    )


def used_since(before: Sample | None, now: Sample, seconds: float) -> Flow:
    """What an attempt used between two of its samples, `seconds` apart; before: None for its first."""
    core_s = max(0.0, now.cpu_s - (before.cpu_s if before is not None else 0.0))
    return Flow(used=(1000 * core_s, now.memory_bytes * seconds, now.storage_bytes * seconds, 0.0))


def settled(attempt: Attempt, last: Sample | None) -> Flow:
    """What an attempt that has ended used since its last sample, and what of all its use was of no use."""
    if attempt.usage is None:
        return Flow()
    rest_s = max(0.0, attempt.usage.cpu_s - (last.cpu_s if last is not None else 0.0))
    return Flow(used=(1000 * rest_s, 0.0, 0.0, 0.0), **vars(Waste.of(attempt)))
