"""The policies' promises over whole workloads: on a real log where it is there, else on generated ones."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.simulation import bound
from singlepoint.scheduler.simulation.figures import bounded_slowdown, figures
from singlepoint.scheduler.simulation.machine import Machine, Replay, knows_all, knows_nothing, replay
from singlepoint.scheduler.simulation.page import busy_over_time, page, wait_counts
from singlepoint.scheduler.simulation.workload import Arrival, Workload, lublin, read_swf

HOUR_S = 3600.0
LOG = Path(os.environ.get("SINGLEPOINT_DATA", "/nowhere")) / "trace-kth-sp2" / "KTH-SP2-1996-2.swf.gz"
needs_the_log = pytest.mark.skipif(not LOG.exists(), reason="this machine: SINGLEPOINT_DATA has no trace-kth-sp2")


@cache
def kth(kill: bool = True) -> Workload:
    with gzip.open(LOG, "rt") as file:
        return read_swf(file, "KTH-SP2", kill=kill)


def play(workload: Workload, policy: str, switch_s: float = 0.0) -> dict[str, Any]:
    return figures(replay(workload, POLICIES[policy], switch_s))


def jobs(*shapes: tuple[float, float, int]) -> tuple[Arrival, ...]:
    """(submitted, runs, cores) each."""
    return tuple(Arrival(f"j{n}", at, run_s, cores, run_s) for n, (at, run_s, cores) in enumerate(shapes))


@needs_the_log
@pytest.mark.parametrize(("kill", "published"), [(True, 92.69), (False, 90.34)])
def test_easy_on_the_log_of_kth_comes_to_the_measured_slowdown(kill: bool, published: float) -> None:
    found = play(kth(kill), "easy")
    assert found["jobs"] == 28_481
    assert found["average_bounded_slowdown"] == pytest.approx(published, rel=0.005)


@needs_the_log
def test_best_effort_on_the_log_of_kth_lets_one_job_wait_for_479_hours() -> None:
    assert play(kth(), "best-effort")["wait_max_s"] / HOUR_S == pytest.approx(478.7, abs=0.5)


@needs_the_log
def test_feedback_on_the_log_of_kth_keeps_short_work_short_and_big_work_fed() -> None:
    found = play(kth(), "feedback", switch_s=10.0)
    assert found["average_bounded_slowdown"] <= 1.5
    assert found["wait_mean_s"] <= 45 * 60
    assert found["wait_max_s"] <= 56 * HOUR_S
    assert found["wide_wait_mean_s"] <= 8 * HOUR_S
    assert found["preemptions_per_job"] <= 0.8


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_feedback_beats_easy_on_loads_it_was_not_tuned_on_and_srpt_bounds_it(seed: int) -> None:
    workload = lublin(jobs=600, cores=64, load=0.8, seed=seed)
    easy, feedback = play(workload, "easy"), play(workload, "feedback", switch_s=10.0)
    best = figures(replay(workload, bound.RULES, 0.0, knows_all))
    assert feedback["average_bounded_slowdown"] < easy["average_bounded_slowdown"] / 2
    assert best["average_bounded_slowdown"] <= feedback["average_bounded_slowdown"]
    assert feedback["work_lost_core_s"] < 0.05 * feedback["utilisation"] * 64 * feedback["makespan_s"]


def test_knowing_the_run_times_is_better_than_not() -> None:
    workload = lublin(jobs=600, cores=64, load=0.8, seed=4)
    known = figures(replay(workload, POLICIES["feedback"], 10.0, knows_all))
    assert known["wait_mean_s"] < play(workload, "feedback", switch_s=10.0)["wait_mean_s"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_no_core_works_for_two_and_every_job_runs_for_as_long_as_it_is(policy: str, share: float) -> None:
    switch_s = 5.0
    workload = lublin(jobs=300, cores=16, load=1.1, seed=7).giving_way(share)
    played = replay(workload, POLICIES[policy], switch_s)
    assert len(played.lives) == 300
    for life in played.lives:
        ran_s = sum(until - begun for begun, until, _ in life.stints)
        assert ran_s == pytest.approx(life.arrival.run_s + switch_s * life.preemptions, abs=1e-3)
        assert life.arrival.gives_way or not life.preemptions
    assert most_busy(played) <= 16


def most_busy(played: Replay) -> int:
    """The most cores that worked at a time; at one instant ends come before beginnings."""
    changes = Counter[float]()
    for life in played.lives:
        for begun, until, _ in life.stints:
            changes[begun] += life.arrival.cores
            changes[until] -= life.arrival.cores
    busy, most = 0, 0
    for at in sorted(changes):
        busy += changes[at]
        most = max(most, busy)
    return most


def test_short_work_does_not_wait_for_long_work_that_gives_way() -> None:
    long_and_short = Workload("two", 1, jobs((0, 10_000, 1), (1000, 5, 1)))
    lives = {life.arrival.id: life for life in replay(long_and_short, POLICIES["feedback"], 1.0).lives}
    assert lives["j1"].wait_s == 0
    assert lives["j0"].preemptions == 1
    assert lives["j0"].wait_s == 5 + 1


def test_equals_are_not_sliced() -> None:
    equals = Workload("equal", 1, jobs(*((n, 50_000, 1) for n in range(4))))
    played = replay(equals, POLICIES["feedback"], 1.0)
    ends = [life.preemptions for life in played.lives]
    assert sum(ends) <= 4 * len(ends), "at most one switch a level each"


def test_nobody_is_put_down_before_a_quantum_of_twenty_switches() -> None:
    workload = lublin(jobs=400, cores=8, load=1.0, seed=5)
    played = replay(workload, POLICIES["feedback"], 30.0)
    stints = [until - begun for life in played.lives for begun, until, _ in life.stints[:-1]]
    assert stints and min(stints) >= 20 * 30.0 - 1e-6


def test_a_wide_job_is_lifted_once_it_has_waited_two_days_and_then_starts() -> None:
    stream = [(n * 50.0, 55.0, 1) for n in range(5000)]  # more narrow work than two cores can do, always new
    workload = Workload("stream", 2, tuple(sorted(jobs((10, 100, 2), *stream), key=lambda a: a.submit_s)))
    wide = next(life for life in replay(workload, POLICIES["feedback"], 1.0).lives if life.arrival.cores == 2)
    assert wide.wait_s < 49 * HOUR_S


def test_fifo_lets_nobody_overtake_and_easy_only_the_harmless() -> None:
    # j0 runs on one of two cores until 100; j1 needs both; j2 would delay it, j3 would not.
    workload = Workload("four", 2, jobs((0, 100, 1), (1, 10, 2), (2, 500, 1), (3, 50, 1)))
    starts = {
        policy: [life.stints[0][0] for life in replay(workload, POLICIES[policy]).lives]
        for policy in ("fifo", "easy", "best-effort")
    }
    assert starts["fifo"] == [0, 100, 110, 110]
    assert starts["easy"] == [0, 100, 110, 3]
    assert starts["best-effort"][2] == 2


def test_a_decision_with_100_000_waiting_looks_at_the_few_that_matter() -> None:
    machine = Machine(4, POLICIES["feedback"], 1.0, knows_nothing)
    crowd = [Arrival(f"j{n}", 0.0, 1e6, 1 + n % 4) for n in range(100_000)]
    for arrival in crowd:
        machine._arrives(arrival)
    machine._settle(0.0)
    looked_at = []
    waiting = machine.books.waiting
    machine.books.waiting = lambda *asked: (looked_at.append(task) or task for task in waiting(*asked))  # type: ignore[method-assign,func-returns-value]
    machine._settle(1.0)
    assert len(looked_at) <= 10


def test_the_page_shows_every_job_and_no_script() -> None:
    workload = lublin(jobs=60, cores=8, load=0.9, seed=1)
    played = replay(workload, POLICIES["feedback"], 5.0)
    document = page(played, figures(played))
    assert document.count("<svg") == 3 and "<script" not in document and "http" not in document
    assert sum(wait_counts(played.lives)) == 60
    worked = sum(
        until - begun for life in played.lives for begun, until, _ in life.stints for _ in range(life.arrival.cores)
    )
    span = max(life.ended_at for life in played.lives)
    assert sum(busy_over_time(played)) / 300 == pytest.approx(worked / (8 * span), rel=1e-6)


def test_the_slowdown_of_a_job_is_at_least_one_and_short_runs_count_as_ten_seconds() -> None:
    [short, waits] = replay(Workload("two", 1, jobs((0, 1, 1), (0, 1, 1))), POLICIES["fifo"]).lives
    assert bounded_slowdown(short) == bounded_slowdown(waits) == 1.0
