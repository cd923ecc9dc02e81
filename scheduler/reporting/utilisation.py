"""U(t) = C(t) / C_max, for each resource, in three readings. Pure.

reserved: what was granted.  used: what attempts measured of themselves.  useful: what was used, less saves,
work that had to be done again, and attempts that failed. Over a span of time each is a mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from singlepoint.jobs.lifecycle.ledger import Account, useful_share
from singlepoint.jobs.lifecycle.records import RESOURCE_NAMES, UNLIMITED, Attempt, Resources

Shares = dict[str, float]
"""A number for each limited resource, by its name; 1.0 is all of it."""


@dataclass(frozen=True)
class Reading:
    """The three readings over one span of time."""

    reserved: Shares
    used: Shares
    useful: Shares


def limited(budget: Resources) -> tuple[str, ...]:
    """The resources of which there is a certain amount."""
    pairs = zip(RESOURCE_NAMES, budget.amounts(), strict=True)
    return tuple(name for name, amount in pairs if 0 < amount < UNLIMITED)


def shares(amount: Resources, budget: Resources) -> Shares:
    """U at one moment, for what is granted at that moment."""
    return {name: getattr(amount, name) / getattr(budget, name) for name in limited(budget)}


def over(attempts: Iterable[Attempt], budget: Resources, begin: float, end: float) -> Reading:
    """Mean utilisation by `attempts` between two times; raises ValueError unless begin < end.

    An attempt that still goes on counts as reserved up to `end`; what it uses is known only when it ends. Its
    use is spread evenly over the time it ran.
    """
    if begin >= end:
        raise ValueError(f"need a span of time, got {begin} to {end}")
    names = limited(budget)
    sums = {reading: dict.fromkeys(names, 0.0) for reading in ("reserved", "used", "useful")}
    for attempt in attempts:
        overlap_s = _overlap_s(attempt, begin, end)
        if overlap_s <= 0:
            continue
        used = _used(attempt)
        useful = useful_share(attempt)
        for name in names:
            sums["reserved"][name] += overlap_s * getattr(attempt.terms.resources, name)
            sums["used"][name] += overlap_s * used.get(name, 0.0)
            sums["useful"][name] += overlap_s * used.get(name, 0.0) * useful
    span = {name: (end - begin) * getattr(budget, name) for name in names}
    return Reading(**{reading: {n: total / span[n] for n, total in sums[reading].items()} for reading in sums})


def of_account(total: Account, budget: Resources, end: float) -> Reading | None:
    """Mean utilisation from the first attempt until `end`, by what all of them came to; None before there was one.

    Of cores and memory; of disk and network nothing is measured.
    """
    if not 0 < total.began_at < end:
        return None
    cores, memory = 1000 / budget.cpu_millis, 1 / budget.memory_bytes
    span_s = end - total.began_at

    def shares_of(core_s: float, byte_s: float) -> Shares:
        return {"cpu_millis": core_s * cores / span_s, "memory_bytes": byte_s * memory / span_s}

    return Reading(
        reserved=shares_of(total.granted_core_s, total.granted_byte_s),
        used=shares_of(total.cpu_s, total.used_byte_s),
        useful=shares_of(total.useful_core_s, total.useful_byte_s),
    )


def _overlap_s(attempt: Attempt, begin: float, end: float) -> float:
    ended_at = attempt.ended_at if attempt.ended_at is not None else end
    return min(ended_at, end) - max(attempt.dispatched_at, begin)


def _used(attempt: Attempt) -> dict[str, float]:
    """Mean use of each resource while the attempt held it, in the units of `Resources`."""
    if attempt.usage is None or attempt.ended_at is None:
        return {}
    held_s = attempt.ended_at - attempt.dispatched_at
    cpu_millis = 1000 * attempt.usage.cpu_s / held_s if held_s > 0 else 0.0
    return {"cpu_millis": cpu_millis, "memory_bytes": float(attempt.usage.peak_memory_bytes)}
