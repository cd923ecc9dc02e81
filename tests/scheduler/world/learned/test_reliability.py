"""λ, learned; R(t), with the doubt about λ in it."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from singlepoint.jobs.lifecycle.records import Attempt, Job, Resources, Terms
from singlepoint.jobs.lifecycle.spent import account
from singlepoint.jobs.lifecycle.states import State
from singlepoint.scheduler.world.learned.reliability import (
    CAUSES,
    PRIOR_EXPOSURE_S,
    Cause,
    Evidence,
    Posterior,
    Reliability,
    evidence,
    evidence_of,
    gamma_cdf,
    gamma_quantile,
)

HOUR = 3600.0


def a_job(*ends: str, hours: float = 1.0, **more: Any) -> Job:
    attempts = tuple(
        Attempt(n, 0.0, Terms(Resources()), started_at=1000.0, ended_at=1000.0 + hours * HOUR, end=end)
        for n, end in enumerate(ends, 1)
    )
    round_ = account(attempts)
    return Job("a", "a", "train", State.PENDING, 0.0, Resources(), attempts=attempts, round=round_, **more)


def test_deaths_are_counted_by_cause_and_all_time_is_exposure() -> None:
    known = evidence(a_job("killed", "killed", "out_of_memory", "host_restart", "succeeded"))
    assert known == Evidence(exposure_ms=int(5 * HOUR * 1000), deaths=(2, 1, 1))


@pytest.mark.parametrize("end", ["preempted", "drained", "cancelled", "failed", "crashed", "lost", "disk_full"])
def test_what_was_asked_for_or_the_jobs_own_fault_is_no_death(end: str) -> None:
    assert evidence(a_job(end)) == Evidence(exposure_ms=int(HOUR * 1000))


def test_a_quarantined_job_teaches_nothing_of_memory() -> None:
    job = a_job("out_of_memory", "out_of_memory", reason="quarantined: attempts 1 and 2 failed alike")
    assert evidence(job).deaths == (0, 0, 0)


def test_an_attempt_that_never_began_is_no_exposure() -> None:
    attempt = Attempt(1, 0.0, Terms(Resources()), ended_at=5.0, end="lost")
    assert evidence_of(account([attempt])) == Evidence()


def test_evidence_that_is_added_and_taken_back_leaves_nothing() -> None:
    some, other = Evidence(123, (1, 2, 3)), Evidence(456, (0, 1, 0))
    assert some + other - other == some


def test_before_any_evidence_the_prior_speaks() -> None:
    rate = Reliability(Evidence()).of(Cause.CRASH).rate_per_s
    assert rate == pytest.approx(0.5 / (12 * HOUR))


def test_the_posterior_finds_the_true_rate() -> None:
    chance = random.Random(0)
    rate_per_s, deaths, exposure_s = 1 / 600, 0, 0.0
    for _ in range(2000):
        exposure_s += chance.expovariate(rate_per_s)
        deaths += 1
    learned = Reliability(Evidence(int(1000 * exposure_s), (deaths, 0, 0)))
    low, high = learned.of(Cause.CRASH).rate_interval(0.98)
    assert low < rate_per_s < high
    assert learned.overall.rate_per_s == pytest.approx(rate_per_s, rel=0.08)


def test_survival_averages_over_the_doubt_about_the_rate() -> None:
    posterior = Posterior(a=0.5, b=12 * HOUR)
    chance = random.Random(1)
    rates = [chance.gammavariate(posterior.a, 1 / posterior.b) for _ in range(40_000)]
    for t_s in (HOUR, 10 * HOUR, 100 * HOUR):
        mean = sum(math.exp(-rate * t_s) for rate in rates) / len(rates)
        assert posterior.survival(t_s) == pytest.approx(mean, abs=0.01)
        assert posterior.survival(t_s) >= math.exp(-posterior.rate_per_s * t_s)


def test_the_exponential_form_comes_with_its_interval() -> None:
    low, mean, high = Reliability(Evidence(int(1e9), (3, 0, 0))).exponential_survival(HOUR)
    assert 0 < low < mean < high < 1


def test_causes_add_up_to_the_whole() -> None:
    known = Reliability(Evidence(int(1e8), (4, 2, 1)))
    assert known.overall.rate_per_s == pytest.approx(sum(known.of(cause).rate_per_s for cause in CAUSES))
    product = math.prod(known.of(cause).survival(HOUR) for cause in CAUSES)
    assert known.survival(HOUR) == pytest.approx(product)
    assert known.overall.b == PRIOR_EXPOSURE_S + 1e5


@pytest.mark.parametrize("shape", [0.5, 1.0, 1.5, 4.0, 50.0, 2000.0])
@pytest.mark.parametrize("probability", [0.001, 0.05, 0.5, 0.95, 0.999])
def test_quantiles_invert_the_distribution(shape: float, probability: float) -> None:
    assert gamma_cdf(shape, gamma_quantile(shape, probability)) == pytest.approx(probability, rel=1e-9)


KNOWN = [
    (1.0, 1.0, 1 - math.exp(-1)),
    (0.5, 0.5, math.erf(math.sqrt(0.5))),
    (1.0, 30.0, 1 - math.exp(-30)),
    (2.0, 5.0, 1 - 6 * math.exp(-5)),
]


@pytest.mark.parametrize(("shape", "x", "value"), KNOWN)
def test_the_distribution_has_its_known_values(shape: float, x: float, value: float) -> None:
    assert gamma_cdf(shape, x) == pytest.approx(value, rel=1e-12)


def test_senseless_quantiles_are_refused() -> None:
    with pytest.raises(ValueError, match="need a positive shape"):
        gamma_quantile(0.0, 0.5)
