"""Which cores a budget of fewer than there are means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.scheduler.machine.budget import Machine, this_machine
from singlepoint.scheduler.machine.budget_cores import BudgetCores
from singlepoint.scheduler.policy.host.state import Core

MACHINE = Machine(cores=(0, 2, 3, 5), memory_bytes=1)


def cores_of(
    cpu: int, before: tuple[int, ...], load: Mapping[int, float], layout: Mapping[int, Core] | None = None
) -> tuple[int, ...]:
    return BudgetCores(before, layout or {}, lambda: load)(Resources(1000 * cpu), MACHINE)


def test_the_least_busy_ones_that_may_be_had() -> None:
    assert cores_of(2, (), {0: 0.9, 1: 0.0, 2: 0.1, 3: 1.0, 5: 0.0}) == (2, 5)


def test_those_of_the_scheduler_before_stay_however_busy_with_their_attempts() -> None:
    assert cores_of(2, (3, 5), {3: 1.0, 5: 1.0}) == (3, 5)
    assert cores_of(3, (3, 5), {0: 0.5, 2: 0.0}) == (2, 3, 5)


def test_those_that_may_not_be_had_any_more_are_let_go() -> None:
    assert cores_of(2, (1, 5), {0: 0.5, 2: 0.1, 3: 0.5}) == (2, 5)


def test_a_physical_core_that_is_ours_already_comes_last() -> None:
    layout = {0: Core(0), 2: Core(2), 3: Core(2), 5: Core(5)}
    assert cores_of(2, (2,), {0: 0.5, 3: 0.0, 5: 0.9}, layout=layout) == (0, 2)


def test_all_of_them_are_not_looked_at() -> None:
    def unasked() -> Mapping[int, float]:
        raise AssertionError("there is nothing to choose")

    cores = BudgetCores((0, 2), {}, unasked)
    assert cores(Resources(2000), MACHINE) == (0, 2)
    assert cores(Resources(4000), MACHINE) == (0, 2, 3, 5)


def test_a_smaller_budget_keeps_what_is_held_and_then_the_least_busy() -> None:
    cores = BudgetCores((), {}, lambda: {0: 0.7, 2: 0.9, 3: 0.5, 5: 0.1})
    assert cores(Resources(4000), MACHINE, {2}) == (0, 2, 3, 5)
    assert cores(Resources(2000), MACHINE, {2}) == (2, 5)
    assert cores(Resources(1000), MACHINE, ()) == (5,)
    assert cores(Resources(1000), MACHINE, {2}) == (5,)


def test_one_that_has_ended_tells_nothing_of_the_machine(tmp_path: Path) -> None:
    assert this_machine(tmp_path, pid=2**22 + 1) == this_machine(tmp_path)
