"""What crashes cost: failure rate, reliability, checkpoint interval, waste, as the document of `report`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.checkpoint_interval import checkpoint_interval_s, waste
from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.jobs.lifecycle.spent import account
from singlepoint.scheduler.world.job_times import save_s
from singlepoint.scheduler.world.learned.reliability import CAUSES, Posterior, Reliability, evidence_of

from .account import account_rows
from .request import request_report, request_rows
from .utilisation import of_account

SCHEMA = 1
HOUR_S = 3600.0
MASS = 0.9
"""How sure the intervals are."""


def overall_report(total: Account, budget: Resources, now: float) -> dict[str, Any]:
    """Of this machine, by all that ever ran on it. total: what all ended attempts came to, of jobs that are gone too.

    budget: C_max, for the utilisation since the first attempt.
    """
    reliability = Reliability(evidence_of(total))
    readings = of_account(total, budget, now)
    return {
        "schema": SCHEMA,
        **_reliability(reliability),
        **_waste(total, mean_save_s(total), reliability),
        "ends": _ends(total),
        "utilisation": vars(readings) if readings else None,
    }


def job_report(job: Job, total: Account) -> dict[str, Any]:
    """Of one job, with λ as all jobs taught it."""
    reliability, own = Reliability(evidence_of(total)), account(job.attempts)
    return {
        "schema": SCHEMA,
        "id": job.id,
        "state": job.state.value,
        **_reliability(reliability),
        **_waste(own, save_s(job), reliability),
        "ends": _ends(own),
        "request": request_report(job),
    }


def mean_save_s(total: Account) -> float | None:
    """What a save cost on average, over all that were measured."""
    return total.saving_s / total.saves if total.saves else None


def _reliability(reliability: Reliability) -> dict[str, Any]:
    low, mean, high = reliability.exponential_survival(HOUR_S, MASS)
    return {
        "exposure_s": reliability.exposure_s,
        "failures_per_hour": _rate(reliability.overall),
        "causes": {
            cause.value: {"deaths": reliability.evidence.deaths[number], **_rate(reliability.of(cause))}
            for number, cause in enumerate(CAUSES)
        },
        "survival_1h": {"predictive": reliability.survival(HOUR_S), "exponential": mean, "low": low, "high": high},
    }


def _rate(posterior: Posterior) -> dict[str, float]:
    low, high = posterior.rate_interval(MASS)
    return {"mean": posterior.rate_per_s * HOUR_S, "low": low * HOUR_S, "high": high * HOUR_S}


def _waste(spent: Account, one_save_s: float | None, reliability: Reliability) -> dict[str, Any]:
    """Predicted: of the interval in use.  actual: saves and repeated work over the time that was of use."""
    rate_per_s = reliability.overall.rate_per_s
    predicted = None
    interval_s = checkpoint_interval_s(one_save_s or 0.0, rate_per_s) if one_save_s else None
    if interval_s is not None and one_save_s is not None:
        predicted = waste(interval_s, one_save_s, 1 / rate_per_s)
    useful_s = spent.wall_s - spent.saving_s - spent.lost_s
    return {
        "save_s": one_save_s,
        "checkpoint_interval_s": interval_s,
        "waste": {
            "predicted": predicted,
            "actual": (spent.saving_s + spent.lost_s) / useful_s if useful_s > 0 else None,
            "saving_s": spent.saving_s,
            "lost_s": spent.lost_s,
            "wall_s": spent.wall_s,
        },
    }


def _ends(total: Account) -> dict[str, int]:
    return dict(sorted(total.ends.items()))


def page(document: dict[str, Any]) -> str:
    """The document for people."""
    spent = account_rows(document["account"]) if "account" in document else ()
    asked = request_rows(document["request"]) if document.get("request") else ()
    rows = [
        *asked,
        *_failure_rows(document),
        *_waste_rows(document),
        *_utilisation_rows(document),
        *spent,
        *_project_rows(document),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in rows)


def _failure_rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "attempts ran for", f"{document['exposure_s'] / HOUR_S:.2f} h"
    yield "failures an hour", _interval(document["failures_per_hour"])
    for cause, facts in document["causes"].items():
        yield f"  {cause.replace('_', ' ')}", f"{_interval(facts)}, {facts['deaths']} seen"
    survival = document["survival_1h"]
    yield "R(1 h)", f"{survival['predictive']:.4f}, the doubt about the rate included"
    yield "exp(-λ · 1 h)", f"{survival['exponential']:.4f} [{survival['low']:.4f}, {survival['high']:.4f}]"


def _waste_rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    waste = document["waste"]
    yield "a save costs", _seconds(document["save_s"])
    yield "saved every", _seconds(document["checkpoint_interval_s"])
    yield "waste predicted", _share(waste["predicted"])
    spent = f"saves {_seconds(waste['saving_s'])}, repeated {_seconds(waste['lost_s'])}"
    yield "waste actual", f"{_share(waste['actual'])} ({spent})"
    yield "attempts ended", ", ".join(f"{end} {count}" for end, count in document["ends"].items()) or "none yet"


def _utilisation_rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """By the ledger; of what that does not know, by what was measured."""
    measured = document["account"]["utilisation"] if "account" in document else {}
    for reading, values in (document.get("utilisation") or {}).items():
        others = {name: told[reading] for name, told in measured.items() if name not in values and reading in told}
        told = [f"{_WORD.get(name, name)} {100 * u:.1f}%" for name, u in (values | others).items()]
        yield f"utilisation, {reading}", ", ".join(told)


def _project_rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Told where there is more than one."""
    known = document.get("projects") or {}
    for name, had in known.items() if len(known) > 1 else ():
        worth = f", worth {had['weight']:g}" if had["weight"] != 1 else ""
        yield f"project {name or 'none'}", f"{had['part']:.1%} of late, {had['core_s'] / HOUR_S:.2f} core-hours{worth}"


_WORD = {"cpu_millis": "cpu", "memory_bytes": "memory", "storage_bytes": "disk", "network_bytes_s": "network"}


def _interval(rate: dict[str, float]) -> str:
    return f"{rate['mean']:.4f} [{rate['low']:.4f}, {rate['high']:.4f}]"


def _seconds(length_s: float | None) -> str:
    if length_s is None:
        return "not measured yet"
    return f"{1000 * length_s:.1f} ms" if length_s < 1 else f"{length_s:.1f} s"


def _share(share: float | None) -> str:
    return "not known yet" if share is None else f"{100 * share:.3f}%"
