"""The checkpoint interval: exact, capped, and never worse than its famous approximations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singlepoint.jobs.lifecycle.checkpoint_interval import checkpoint_interval_s, daly_s, optimum_s, waste, young_s

KNOWN = [  # save_s, mtbf_s, Young, Daly, exact: calculated independently
    (0.010, 3600, 8.49, 8.48, 8.48),
    (0.010, 60, 1.10, 1.09, 1.09),
    (1, 3600, 84.9, 84.2, 84.2),
    (10, 600, 109.5, 103.0, 103.0),
    (30, 300, 134.2, 114.9, 115.0),
]


@pytest.mark.parametrize(("save_s", "mtbf_s", "young", "daly", "exact"), KNOWN)
def test_known_values(save_s: float, mtbf_s: float, young: float, daly: float, exact: float) -> None:
    assert young_s(save_s, mtbf_s) == pytest.approx(young, rel=0.005)
    assert daly_s(save_s, mtbf_s) == pytest.approx(daly, rel=0.005)
    assert optimum_s(save_s, mtbf_s) == pytest.approx(exact, rel=0.005)


times = st.floats(1e-3, 1e6)


@given(save_s=times, mtbf_s=times)
def test_no_interval_wastes_less_than_the_optimum(save_s: float, mtbf_s: float) -> None:
    best_s = optimum_s(save_s, mtbf_s)
    assert 0 < best_s <= mtbf_s
    if save_s / mtbf_s > 100:
        return  # the waste overflows; nobody would save at all
    least = waste(best_s, save_s, mtbf_s)
    for other_s in (best_s * 0.9, best_s * 1.1, young_s(save_s, mtbf_s), daly_s(save_s, mtbf_s)):
        if other_s > 0 and other_s / mtbf_s < 600:
            assert least <= waste(other_s, save_s, mtbf_s) * (1 + 1e-9) + 1e-12


def test_waste_is_what_the_exponential_says() -> None:
    assert waste(60, 0.010, 3600) == pytest.approx(0.00855, rel=0.01)
    assert waste(60, 0.010, 60) == pytest.approx(0.719, rel=0.01)


def test_no_crash_costs_more_than_ten_seconds_of_work_while_saves_are_cheap() -> None:
    assert checkpoint_interval_s(0.010, 1 / 1e7) == 10.0


def test_dear_saves_take_at_most_one_per_cent() -> None:
    assert checkpoint_interval_s(2.0, 1 / 1e9) == 200.0


def test_frequent_failures_bring_the_optimum_below_the_cap() -> None:
    assert checkpoint_interval_s(0.010, 1 / 60) == pytest.approx(optimum_s(0.010, 60))


def test_an_unknown_rate_and_an_unmeasurable_save_leave_the_cap() -> None:
    assert checkpoint_interval_s(0.010, 0.0) == 10.0
    assert checkpoint_interval_s(0.0, 1e-9) == 10.0


@pytest.mark.parametrize("function", [optimum_s, young_s, daly_s])
@pytest.mark.parametrize("bad", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_times_that_make_no_sense_are_refused(function: object, bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="need positive times"):
        function(*bad)  # type: ignore[operator]


def test_the_optimum_solves_its_equation() -> None:
    for save_s, mtbf_s in ((1e-6, 1e6), (1.0, 1.0), (50.0, 3.0)):
        u = optimum_s(save_s, mtbf_s) / mtbf_s
        assert math.log1p(-u) + u + save_s / mtbf_s == pytest.approx(0, abs=1e-6)
