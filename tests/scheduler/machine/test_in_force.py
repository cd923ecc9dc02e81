"""Which budget holds at a moment, and who said so."""

from __future__ import annotations

from datetime import datetime

import pytest

from singlepoint.jobs.errors import InvalidInput, UsageError
from singlepoint.jobs.services.budget_choice import choose_budget, chosen_budget, drop_choice
from singlepoint.jobs.store.home import Home
from singlepoint.scheduler.machine.budget import Machine
from singlepoint.scheduler.machine.in_force import budget_at

MACHINE = Machine(cores=tuple(range(8)), memory_bytes=16 * 2**30)
MONDAY_NOON = datetime(2026, 11, 23, 12).timestamp()
MONDAY_NIGHT = datetime(2026, 11, 23, 23).timestamp()

SETTINGS = """\
[budget]
base = "cpu=6,memory=8GiB"
[budget.times]
"weekdays 9:00-18:00" = "cpu=2"
nights = "cpu=8"
"""


def cores(home: Home, at: float, option: str | None = None) -> int:
    return budget_at(home, option, MACHINE, at).amounts.cpu_millis // 1000


def test_without_a_word_it_is_the_machine(home: Home) -> None:
    assert cores(home, MONDAY_NOON) == 8


def test_the_timetable_says_when_and_the_rest_stands(home: Home) -> None:
    home.settings.write_text(SETTINGS)
    noon, night = budget_at(home, None, MACHINE, MONDAY_NOON), budget_at(home, None, MACHINE, MONDAY_NIGHT)

    assert (noon.amounts.cpu_millis, night.amounts.cpu_millis) == (2000, 8000)
    assert noon.amounts.memory_bytes == night.amounts.memory_bytes == 8 * 2**30
    assert [layer.source for layer in noon.layers] == [
        "settings.toml: budget.base",
        "settings.toml: budget.times: weekdays 9:00-18:00",
    ]
    assert cores(home, datetime(2026, 11, 22, 12).timestamp()) == 6, "a Sunday at noon: only the base"


def test_what_was_chosen_is_stronger_than_all_until_it_is_taken_back(home: Home) -> None:
    home.settings.write_text(SETTINGS)
    choose_budget(home, "cpu=1")
    assert cores(home, MONDAY_NIGHT, option="cpu=4") == 1

    assert drop_choice(home) and not drop_choice(home)
    assert (chosen_budget(home), cores(home, MONDAY_NIGHT)) == ("", 8)


def test_more_than_the_machine_has_is_refused(home: Home) -> None:
    choose_budget(home, "cpu=9")
    with pytest.raises(UsageError, match="8 cores only"):
        budget_at(home, None, MACHINE, MONDAY_NOON)


def test_while_it_runs_the_budget_is_cut_to_what_the_machine_has_left_and_grows_again_with_it(home: Home) -> None:
    home.settings.write_text(SETTINGS)
    for limit, cores_left, expected in ((4, 3, (3000, 4)), (6, 8, (6000, 6)), (16, 8, (6000, 8))):
        here = Machine(tuple(range(cores_left)), limit * 2**30)
        amounts = budget_at(home, None, here, datetime(2026, 11, 22, 12).timestamp(), before=MACHINE).amounts
        assert (amounts.cpu_millis, amounts.memory_bytes // 2**30) == expected
    home.settings.unlink()
    here = Machine((0,), 5 * 2**30)
    assert budget_at(home, None, here, MONDAY_NOON, before=MACHINE).amounts.memory_bytes == 4 * 2**30, "4/5, as ever"


@pytest.mark.parametrize(
    "table", ['[budget]\nbase = "two cores"', '[budget.times]\n"now and then" = "cpu=2"', "[budget]\ncores = 2"]
)
def test_a_setting_that_means_nothing_is_refused_with_its_field(home: Home, table: str) -> None:
    home.settings.write_text(table)
    with pytest.raises(InvalidInput, match=r"settings.toml: budget"):
        budget_at(home, None, MACHINE, MONDAY_NOON)
