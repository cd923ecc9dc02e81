"""The account of core-seconds: what the time of the machine went into, and what that came to in money. Pure.

useful + checkpoints + repeated + failed + our own + idle  =  C_max times the time that was measured
                                                              + what was used beyond the budget
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from singlepoint.jobs.lifecycle.flow import Flow

HOUR_S = 3600.0
GIB_HOUR = 2**30 * HOUR_S
KWH_J = 3.6e6
FEW_CORE_S = 100 * HOUR_S
"""Up to here people are told core-seconds, then core-hours."""

PARTS = ("useful", "checkpoints", "repeated", "failed", "own", "idle")


class Prices(Protocol):
    """What the settings say the machine costs: an hour of a core and of a GiB, a kWh; and watts, to reckon those."""

    @property
    def any_set(self) -> bool: ...
    @property
    def currency(self) -> str: ...
    @property
    def core_hour(self) -> float: ...
    @property
    def gib_hour(self) -> float: ...
    @property
    def kwh(self) -> float: ...
    @property
    def watts_idle(self) -> float: ...
    @property
    def watts_core(self) -> float: ...


def account(flow: Flow, prices: Prices) -> dict[str, Any]:
    """What passed, as a document: core-seconds by what they went into, the readings of U, and money."""
    return {
        "measured_s": round(flow.seconds, 3),
        "capacity_core_s": round(flow.capacity_core_s, 3),
        "core_s": {name: round(amount, 3) for name, amount in zip(PARTS, _parts(flow), strict=True)},
        "beyond_core_s": round(flow.beyond_core_s, 3),
        "utilisation": flow.shares(),
        "cost": cost(flow, prices),
    }


def _parts(flow: Flow) -> tuple[float, ...]:
    return (
        flow.useful_core_s,
        flow.saving_core_s,
        flow.repeated_core_s,
        flow.failed_core_s,
        flow.own_core_s,
        flow.idle_core_s,
    )


def cost(flow: Flow, prices: Prices) -> dict[str, Any] | None:
    """What was used, in money, by what it was; None when no price is set.

    Energy is reckoned: what the machine takes idle, all the time, and so much more for each core that works.
    """
    if not prices.any_set:
        return None
    energy_kwh = (prices.watts_idle * flow.seconds + prices.watts_core * (flow.used_core_s + flow.own_core_s)) / KWH_J
    parts = {
        "cores": prices.core_hour * flow.used_core_s / HOUR_S,
        "memory": prices.gib_hour * flow.used[1] / GIB_HOUR,
        "energy": prices.kwh * energy_kwh,
    }
    useful = flow.useful_core_s / flow.used_core_s if flow.used_core_s > 0 else 1.0
    total = sum(parts.values())
    return {
        "currency": prices.currency,
        **{name: round(amount, 6) for name, amount in parts.items()},
        "total": round(total, 6),
        "of_no_use": round(total * (1 - useful), 6),
        "energy_kwh": round(energy_kwh, 6),
    }


def account_rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The account for people: a name and a text a row."""
    measured_s, capacity = document["measured_s"], document["capacity_core_s"]
    if not capacity:
        yield "core-seconds", "none measured yet"
        return
    unit, one_s = ("core-hours", HOUR_S) if capacity >= FEW_CORE_S else ("core-seconds", 1.0)
    yield unit, f"{capacity / one_s:,.1f}, all that there were in the {measured_s / one_s:,.1f} that were measured"
    for name, core_s in document["core_s"].items():
        yield f"  {_NAMES[name]}", f"{core_s / one_s:,.1f} ({100 * core_s / capacity:.1f}%)"
    if beyond := document["beyond_core_s"]:
        yield "  beyond the budget", f"{beyond / one_s:,.1f} ({100 * beyond / capacity:.1f}%)"
    money = document["cost"]
    if money is not None:
        parts = ", ".join(f"{name} {money[name]:.2f}" for name in ("cores", "memory", "energy"))
        yield "cost", f"{money['total']:.2f} {money['currency']} ({parts}); of no use {money['of_no_use']:.2f}"


_NAMES = {
    "useful": "useful",
    "checkpoints": "checkpoints",
    "repeated": "done again after a death",
    "failed": "attempts that failed",
    "own": "singlepoint itself",
    "idle": "idle",
}
