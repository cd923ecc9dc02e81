"""Projects of equal priority get equal core-seconds however much each hands in, or as many as they are worth."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singlepoint.scheduler.policy.fair_share import above_share
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.simulation.machine import Machine, knows_all, knows_nothing
from singlepoint.scheduler.simulation.paper import Paper
from singlepoint.scheduler.simulation.workload import Arrival
from singlepoint.scheduler.world.sharing.usage import Shares, Usage

HOUR_S = 3600.0


def used_until(machine: Machine, at: float) -> dict[str, float]:
    """Core-seconds by project."""
    used: dict[str, float] = {}
    for life in machine.lives.values():
        done_s = sum(max(0.0, min(until, at) - begun) for begun, until, _ in life.stints)
        used[life.arrival.project] = used.get(life.arrival.project, 0.0) + done_s * life.arrival.cores
    return used


def competing(
    policy: str, run_s: dict[str, float], jobs: dict[str, int], weights: dict[str, float]
) -> dict[str, float]:
    """What each project had when the first of them had nothing left; all was handed in at once, on four cores."""
    machine = Machine(4, POLICIES[policy], 0.0, knows_all if policy == "feedback" else knows_nothing)
    machine.books.usage = Usage(Shares({}, weights))
    machine.play([Arrival(f"{p}{n}", 0.0, run_s[p], 1, project=p) for p, count in jobs.items() for n in range(count)])
    ends = {p: max(one.ended_at for one in machine.lives.values() if one.arrival.project == p) for p in jobs}
    return used_until(machine, min(ends.values()))


@pytest.mark.parametrize("policy", ["feedback", "easy"])
@pytest.mark.parametrize("run_s", [{"many": 600.0, "few": 600.0}, {"many": 300.0, "few": 900.0}])
def test_two_projects_with_unequal_submissions_get_equal_core_seconds(policy: str, run_s: dict[str, float]) -> None:
    had = competing(policy, run_s, {"many": 300, "few": 60}, {})
    assert had["many"] == pytest.approx(had["few"], rel=0.1)


@pytest.mark.parametrize("policy", ["fifo", "best-effort"])
def test_without_fair_share_whoever_is_first_has_all(policy: str) -> None:
    had = competing(policy, {"many": 600.0, "few": 600.0}, {"many": 300, "few": 60}, {})
    assert had == {"few": 60 * 600.0, "many": 0.0}


def test_a_project_that_is_worth_twice_as_much_gets_twice_as_much() -> None:
    had = competing("easy", {"a": 600.0, "b": 600.0}, {"a": 300, "b": 300}, {"a": 2.0})
    assert had["a"] == pytest.approx(2 * had["b"], rel=0.1)


def test_one_project_alone_has_all_and_priority_goes_before_shares() -> None:
    had = competing("easy", {"only": 600.0}, {"only": 40}, {})
    assert had["only"] == 40 * 600
    paper = Paper(cpu=1, rules=POLICIES["easy"])
    paper.world.books.usage.had("greedy", 1e6, paper.now)
    paper.submit("modest", project="modest")
    paper.submit("urgent", project="greedy", priority=1)
    paper.pass_time(1)
    paper.settle()
    assert paper.dispatched() == ["urgent"]


def test_who_stands_back_is_told_why() -> None:
    paper = Paper(cpu=1, rules=POLICIES["easy"])
    paper.world.books.usage.had("greedy", 1e6, paper.now)
    paper.submit("first", project="greedy")
    paper.submit("second", project="modest")
    paper.pass_time(1)
    paper.settle()
    assert paper.dispatched() == ["second"]
    assert "project 'greedy' has had more than its share" in (paper.reason("first") or "")


def test_use_counts_half_after_a_half_life_and_a_core_held_counts_as_it_goes_on() -> None:
    usage = Usage(Shares(half_life_s=HOUR_S))
    usage.seen_at(0.0)
    usage.had("old", 1000.0, 0.0)
    usage.holds("busy", 2)
    usage.seen_at(HOUR_S)
    used = usage.as_of_now().used
    assert used["old"] == pytest.approx(500)
    assert used["busy"] == pytest.approx(2 * HOUR_S / math.log(2) / 2)


@given(st.lists(st.floats(0.1, 1000), min_size=1, max_size=20))
def test_what_a_project_had_does_not_depend_on_how_often_one_looks(steps: list[float]) -> None:
    often, once = Usage(Shares(half_life_s=500.0)), Usage(Shares(half_life_s=500.0))
    for usage in (often, once):
        usage.seen_at(0.0)
        usage.holds("p", 3)
    for at in (sum(steps[:n]) for n in range(1, len(steps) + 1)):
        often.seen_at(at)
    once.seen_at(sum(steps))
    assert often.as_of_now().used["p"] == pytest.approx(once.as_of_now().used["p"])


def test_use_goes_on_to_count_when_the_clock_was_set_back() -> None:
    usage = Usage()
    usage.seen_at(10_000.0)
    usage.holds("a", 1)
    usage.seen_at(6_400.0)
    usage.seen_at(6_500.0)
    assert usage.per_weight(frozenset({"a"}))["a"] == pytest.approx(100.0, rel=1e-3)


@pytest.mark.parametrize(
    ("a", "before", "stands_back"),
    [(1050.0, set(), False), (1300.0, set(), True), (1050.0, {"a"}, True), (1000.0, {"a"}, False)],
)
def test_a_project_stands_back_from_a_little_above_its_share_until_it_is_level(
    a: float, before: set[str], stands_back: bool
) -> None:
    above, _ = above_share({"a": a, "b": 1000.0}, {"a": 1.0, "b": 1.0}, frozenset(before))
    assert ("a" in above) is stands_back


def test_alone_a_project_never_stands_back() -> None:
    assert above_share({"a": 1e9}, {"a": 1.0}, frozenset({"a"})) == (frozenset(), math.inf)


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 8), st.floats(0, 8), st.booleans())
def test_who_stands_back_changes_no_sooner_than_was_told(a: float, b: float, ra: float, rb: float, stood: bool) -> None:
    rates = {"a": ra, "b": rb}
    above, changes_s = above_share({"a": a, "b": b}, rates, frozenset({"a"} if stood else ()))
    later_s = 0.9 * min(changes_s, 1e6) if changes_s > 1 else 0.0
    later, _ = above_share({"a": a + ra * later_s, "b": b + rb * later_s}, rates, above)
    assert later <= above or changes_s <= 1, "nobody more stands back before that"
