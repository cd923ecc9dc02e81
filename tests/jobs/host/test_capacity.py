"""The published budget, and what can never fit it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from singlepoint.jobs.errors import InvalidInput, NeverFits
from singlepoint.jobs.host.capacity import Capacity, check_fits, publish_capacity, read_capacity
from singlepoint.jobs.host.processes import this_process
from singlepoint.jobs.lifecycle.records import UNLIMITED, Resources
from singlepoint.jobs.store.home import Home

MIB = 2**20
CAPACITY = Capacity(
    budget=Resources(2000, 1024 * MIB, UNLIMITED, UNLIMITED),
    reserve=Resources(memory_bytes=128 * MIB),
    cores=(0, 1),
    process=this_process(),
    published_at=1_900_000_000.25,
    page=Resources(memory_bytes=64 * MIB),
)


def test_what_is_published_is_read_back(home: Home) -> None:
    assert read_capacity(home) is None
    publish_capacity(home, CAPACITY)
    assert read_capacity(home) == CAPACITY


def test_a_record_says_whether_its_scheduler_still_runs() -> None:
    assert CAPACITY.is_live()
    assert not replace(CAPACITY, process=replace(CAPACITY.process, started=1)).is_live()


def test_a_damaged_record_says_what_to_do(home: Home) -> None:
    home.capacity_record.write_text("{")
    with pytest.raises(InvalidInput, match=r"capacity\.json: is damaged .*delete it"):
        read_capacity(home)


def test_a_job_as_large_as_what_is_left_to_jobs_fits() -> None:
    check_fits(Resources(2000, 960 * MIB), CAPACITY)


def test_what_the_machine_has_none_of_is_refused_by_name_with_the_ways_out() -> None:
    with pytest.raises(NeverFits) as caught:
        check_fits(Resources(1000, counted=(("gpu", 1), ("licence", 3))), CAPACITY)
    assert [str(problem) for problem in caught.value.problems] == [
        f"resources.counted.{name}: asks for {count} {name}, but the budget has none "
        f"(leave it out, or say how many there are: `singlepoint budget {name}=…`)"
        for name, count in (("gpu", 1), ("licence", 3))
    ]
    two = replace(CAPACITY, budget=replace(CAPACITY.budget, counted=(("gpu", 2),)))
    check_fits(Resources(1000, counted=(("gpu", 2),)), two)
    with pytest.raises(NeverFits, match="asks for 3 gpu, but the whole budget is 2 gpu"):
        check_fits(Resources(1000, counted=(("gpu", 3),)), two)


def test_what_never_fits_is_named_with_field_value_budget_and_remedy() -> None:
    with pytest.raises(NeverFits) as caught:
        check_fits(Resources(3000, 1000 * MIB), CAPACITY)
    cpu, memory = map(str, caught.value.problems)
    assert cpu == (
        "resources.cpu: asks for 3 cores, but the whole budget is 2 cores "
        "(ask for at most 2 cores, or give the scheduler a larger --budget cpu=…)"
    )
    assert memory.startswith("resources.memory: asks for 1000 MiB, but the whole budget is 1 GiB")
    assert "of which singlepoint itself needs 64 MiB" in memory
    assert "ask for at most 960 MiB" in memory
    assert caught.value.exit_code == 65
