"""What passed through the machine adds up: useful, saved, repeated, failed, our own and idle are all there was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from singlepoint.jobs.lifecycle.flow import FIGURES, Flow, settled, standing, used_since
from singlepoint.jobs.lifecycle.records import UNLIMITED, Attempt, Resources, Sample, Terms, Usage

BUDGET = Resources(4000, 8 * 2**30, UNLIMITED, UNLIMITED)
ENDED = Attempt(
    number=1,
    dispatched_at=0.0,
    terms=Terms(Resources(1000, 2**30)),
    started_at=0.0,
    ended_at=100.0,
    end="killed",
    lost_s=10.0,
    usage=Usage(wall_s=100.0, cpu_s=80.0, overhead_s=2.0),
)


def test_what_is_stored_is_what_was_measured() -> None:
    flow = standing(BUDGET, Resources(2000, 2**30), 3.0) + settled(ENDED, None)

    assert Flow.from_figures(flow.figures()) == flow
    assert len(flow.figures()) == FIGURES


def test_a_killed_attempts_time_is_useful_saved_or_repeated() -> None:
    flow = settled(ENDED, None)

    assert flow.used_core_s == 80
    assert flow.saving_core_s == 2
    assert flow.repeated_core_s == pytest.approx(78 * 0.1)
    assert flow.useful_core_s + flow.saving_core_s + flow.repeated_core_s == pytest.approx(80)


def test_nothing_of_an_attempt_that_failed_by_its_own_fault_was_useful() -> None:
    flow = settled(replace(ENDED, end="failed", lost_s=None), None)

    assert (flow.failed_core_s, flow.useful_core_s) == (80, 0)


def test_samples_and_the_end_together_count_every_core_second_once() -> None:
    first, second = Sample(1, at=1.0, cpu_s=20.0, memory_bytes=100), Sample(1, at=2.0, cpu_s=50.0, memory_bytes=200)
    flow = used_since(None, first, 1.0) + used_since(first, second, 1.0) + settled(ENDED, second)

    assert flow.used_core_s == pytest.approx(80)
    assert flow.used[1] == 300


def test_the_account_comes_to_all_there_was() -> None:
    flow = standing(BUDGET, Resources(1000), 100.0) + settled(ENDED, None) + Flow(own_core_s=3.0)
    parts = flow.useful_core_s, flow.saving_core_s, flow.repeated_core_s, flow.failed_core_s, flow.own_core_s

    assert sum(parts) + flow.idle_core_s == pytest.approx(flow.capacity_core_s) == 400


def test_of_what_is_counted_it_is_known_what_was_granted() -> None:
    budget, granted = replace(BUDGET, counted=(("gpu", 2), ("licence", 3))), replace(BUDGET, counted=(("gpu", 1),))
    assert standing(Resources(1000, network_bytes_s=8), Resources(network_bytes_s=2), 1.0).shares()[
        "network_bytes_s"
    ] == {"reserved": 0.25}, "likewise of the network"
    flow = standing(budget, granted, 3.0) + standing(budget, budget, 1.0) * 3

    assert (flow.shares()["gpu"], flow.shares()["licence"]) == ({"reserved": 0.75}, {"reserved": 0.5})


def test_only_what_has_a_limit_has_a_share() -> None:
    shares = standing(BUDGET, Resources(1000, 2**30, 5, 5), 2.0).shares()

    assert set(shares) == {"cpu_millis", "memory_bytes"}
    assert shares["cpu_millis"] == {"reserved": 0.25, "used": 0.0, "useful": 0.0}
