"""How long attempts survive on this machine. Pure.

Each cause of death has a rate λ, believed to be Gamma(a, b): before any evidence a = 0.05 deaths in b = 1.2
hours, afterwards a + deaths in b + exposure, exposure being all the time attempts ran. The mean of λ sets the
checkpoint interval (the waste is linear in λ to first order, so the mean is the best guess). The chance to
survive t seconds, with the doubt about λ in it, is Lomax: R(t) = (b / (b + t)) ** a.

What does not count as a death: attempts stopped on request, and those that failed by their own fault. Their
time counts as exposure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.spent import account_of_round


class Cause(StrEnum):
    """What ends an attempt that did nothing wrong."""

    CRASH = "crash"
    OUT_OF_MEMORY = "out_of_memory"
    HOST_RESTART = "host_restart"


CAUSE_OF_END: dict[str, Cause] = {
    "killed": Cause.CRASH,
    "out_of_memory": Cause.OUT_OF_MEMORY,
    "host_restart": Cause.HOST_RESTART,
}
CAUSES = tuple(Cause)

PRIOR_DEATHS = 0.05
PRIOR_EXPOSURE_S = 1.2 * 3600.0
"""The rate of one death a day for each cause, held so lightly that the first hours decide. With ten times the
weight, 4 000 failures a minute apart wasted 7 % more than the best fixed interval; with this, 1 %
(`python -m benchmarks.faults --only interval`)."""


@dataclass(frozen=True)
class Evidence:
    """exposure_ms: time attempts ran.  deaths: how many, in the order of `CAUSES`.

    Whole numbers, so that what is added and taken back leaves nothing behind.
    """

    exposure_ms: int = 0
    deaths: tuple[int, ...] = (0,) * len(CAUSES)

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            self.exposure_ms + other.exposure_ms,
            tuple(a + b for a, b in zip(self.deaths, other.deaths, strict=True)),
        )

    def __sub__(self, other: Evidence) -> Evidence:
        return Evidence(
            self.exposure_ms - other.exposure_ms,
            tuple(a - b for a, b in zip(self.deaths, other.deaths, strict=True)),
        )


def evidence_of(account: Account) -> Evidence:
    """What jobs taught that have ended, by what their attempts came to."""
    deaths = dict.fromkeys(CAUSES, 0)
    for end, cause in CAUSE_OF_END.items():
        deaths[cause] += account.ends.get(end, 0) - account.own_ends.get(end, 0)
    return Evidence(round(1000 * account.wall_s), tuple(deaths.values()))


def evidence(job: Job) -> Evidence:
    """What the ended attempts of one job tell, those since it was last retried: the others are in the ledger."""
    return evidence_of(account_of_round(job))


@dataclass(frozen=True)
class Posterior:
    """What is believed of a rate: Gamma with shape a and b seconds."""

    a: float
    b: float

    @property
    def rate_per_s(self) -> float:
        """The mean."""
        return self.a / self.b

    def survival(self, t_s: float) -> float:
        """R(t), doubt about the rate included."""
        return float((self.b / (self.b + t_s)) ** self.a)

    def rate_interval(self, mass: float = 0.9) -> tuple[float, float]:
        """The rates between which the true one lies with probability `mass`, equal tails."""
        tail = (1 - mass) / 2
        return gamma_quantile(self.a, tail) / self.b, gamma_quantile(self.a, 1 - tail) / self.b


@dataclass(frozen=True)
class Reliability:
    """What the evidence says, by cause and over all."""

    evidence: Evidence

    @property
    def exposure_s(self) -> float:
        return self.evidence.exposure_ms / 1000

    def of(self, cause: Cause) -> Posterior:
        deaths = self.evidence.deaths[CAUSES.index(cause)]
        return Posterior(PRIOR_DEATHS + deaths, PRIOR_EXPOSURE_S + self.exposure_s)

    @property
    def overall(self) -> Posterior:
        """Of dying from whatever cause: rates of independent causes with one exposure add up to a Gamma again."""
        return Posterior(sum(self.of(cause).a for cause in CAUSES), PRIOR_EXPOSURE_S + self.exposure_s)

    def survival(self, t_s: float) -> float:
        """R(t) of an attempt."""
        return self.overall.survival(t_s)

    def exponential_survival(self, t_s: float, mass: float = 0.9) -> tuple[float, float, float]:
        """exp(-λt) for the mean rate, and its bounds for the rates of `rate_interval`: (low, mean, high)."""
        low, high = self.overall.rate_interval(mass)
        return math.exp(-high * t_s), math.exp(-self.overall.rate_per_s * t_s), math.exp(-low * t_s)


def gamma_quantile(shape: float, probability: float) -> float:
    """x with P(X <= x) = probability for X ~ Gamma(shape, 1); bisection on log x."""
    if not (shape > 0 and 0 < probability < 1):
        raise ValueError(f"need a positive shape and 0 < probability < 1, got {shape} and {probability}")
    low, high = -700.0, math.log(shape + 40 * math.sqrt(shape) + 800)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if gamma_cdf(shape, math.exp(middle)) < probability else (low, middle)
    return math.exp((low + high) / 2)


def gamma_cdf(shape: float, x: float) -> float:
    """The regularised lower incomplete gamma function P(shape, x), for x > 0.

    By its power series below the mean, by the continued fraction of its complement (Lentz's method) above it.
    """
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1:
        term = total = 1 / shape
        n = shape
        while term > total * 1e-16:
            n += 1
            term *= x / n
            total += term
        return total * front
    tiny = 1e-300
    b = x + 1 - shape
    c, d = 1 / tiny, 1 / b
    fraction = d
    for i in range(1, 10_000):
        factor = -i * (i - shape)
        b += 2
        d = 1 / (factor * d + b or tiny)
        c = b + factor / c or tiny
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return 1 - front * fraction
