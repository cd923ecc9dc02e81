"""U(t) = C(t) / C_max, for each resource, in three readings. Pure.

reserved: what was granted.  used: what attempts measured of themselves.  useful: what was used, less saves,
work that had to be done again, and attempts that failed. Over a span of time each is a mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.records import RESOURCE_NAMES, UNLIMITED, Resources

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
