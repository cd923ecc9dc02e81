"""How long to work between two checkpoints. Pure.

With failures at a constant rate and saves that cost C seconds, a short interval wastes saves and a long one
wastes work that has to be done again. `optimum_s` is the exact best; `checkpoint_interval_s` is what
singlepoint does: the best, but never so long that a crash costs more than seconds, unless saving that
often would cost more than one per cent.
"""

from __future__ import annotations

import math

UNMEASURED_SAVE_S = 0.010
"""What a save is taken to cost until one was measured."""

LEAST_SAVE_S = 0.0001

MOST_LOST_S = 10.0
"""No crash should cost more work than this ..."""

LEAST_SAVES_APART = 100
"""... unless saves would take more than 1 / this of the time."""


def checkpoint_interval_s(save_s: float, failure_rate_per_s: float) -> float:
    """Seconds of work between saves: min(optimum, max(10 s, 100 saves)).

    save_s: what one save costs the work; a clock too coarse to see it counts as `LEAST_SAVE_S`.
    failure_rate_per_s: failures a second of work; 0 when nothing is known, and then only the cap holds.
    """
    cost_s = max(save_s, LEAST_SAVE_S)
    cap_s = max(MOST_LOST_S, LEAST_SAVES_APART * cost_s)
    if failure_rate_per_s <= 0:
        return cap_s
    return min(optimum_s(cost_s, 1 / failure_rate_per_s), cap_s)


def optimum_s(save_s: float, mtbf_s: float) -> float:
    """The interval that wastes least when failures are exponential: M (1 + W(-exp(-C/M - 1))).

    save_s: C.  mtbf_s: M, mean time between failures. Raises ValueError unless both are positive.
    Solves ln(1 - u) + u + C/M = 0 for u = T/M by Newton's method. The function is concave and falling, so
    from any start on the right of the root the steps come down to it and never past it; Young's interval is
    such a start.
    """
    _require_positive(save_s, mtbf_s)
    cost = save_s / mtbf_s
    start = math.sqrt(2 * cost)
    # Where Young's is no interval of the function's (u < 1), 1 - exp(-1 - C/M) is one to the right of the root.
    u = start if start < 0.9 else -math.expm1(-1 - cost)
    for _ in range(50):
        if u >= 1.0:  # a save costs many times M: the root is 1 to the last digit
            return mtbf_s
        correction = (math.log1p(-u) + u + cost) * (1 - u) / u
        u += correction
        if abs(correction) <= 1e-12 * u:
            break
    return u * mtbf_s


def young_s(save_s: float, mtbf_s: float) -> float:
    """The first-order optimum sqrt(2 C M). Source: Young, CACM 17(9), 1974."""
    _require_positive(save_s, mtbf_s)
    return math.sqrt(2 * save_s * mtbf_s)


def daly_s(save_s: float, mtbf_s: float) -> float:
    """The higher-order estimate, M for C >= 2 M. Source: Daly, Future Generation Computer Systems 22(3), 2006."""
    _require_positive(save_s, mtbf_s)
    if save_s >= 2 * mtbf_s:
        return mtbf_s
    ratio = save_s / (2 * mtbf_s)
    return math.sqrt(2 * save_s * mtbf_s) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - save_s


def waste(interval_s: float, save_s: float, mtbf_s: float) -> float:
    """Time lost to saves and repeated work, as a share of the useful work: 0.02 is two per cent.

    Exact for exponential failures and no restart cost: M (exp((T + C) / M) - 1) / T - 1.
    """
    _require_positive(interval_s, mtbf_s)
    return mtbf_s * math.expm1((interval_s + save_s) / mtbf_s) / interval_s - 1


def _require_positive(first_s: float, mtbf_s: float) -> None:
    if first_s <= 0 or mtbf_s <= 0:
        raise ValueError(f"need positive times, got {first_s} s and a mean time between failures of {mtbf_s} s")
