"""What an owner sets in `settings.toml`, and what is said of what will not do."""

from __future__ import annotations

import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.services import doctor
from singlepoint.jobs.services.doctor import Grade, Patient, examine
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.settings import read_settings, what_is_set

DAY_S = 86400.0


def test_a_home_without_settings_keeps_a_year_and_the_newest_two_hundred_thousand(home: Home) -> None:
    retention = read_settings(home).retention
    assert (retention.older_than_s, retention.keep) == (365 * DAY_S, 200_000)
    assert what_is_set(home) == []


def test_each_end_may_have_a_rule_of_its_own(home: Home) -> None:
    home.settings.write_text('[retention]\nkeep = 50\n[retention.failed]\nolder_than = "never"\nkeep = 7\n')
    retention = read_settings(home).retention
    assert retention.keep == 50 and retention.older_than_s == 365 * DAY_S
    assert retention.failed is not None and retention.failed.older_than_s == float("inf")
    assert retention.succeeded is None
    assert [str(one) for one in what_is_set(home)] == [
        "retention.keep = 50",
        'retention.failed.older_than = "never"',
        "retention.failed.keep = 7",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[retention]\nkeep = -1", "settings.toml: retention.keep: must be at least 0, is -1"),
        ("[retention]\nkeep = true", "settings.toml: retention.keep: must be a whole number, is true"),
        ('[retention]\nolder_than = "soon"', "'soon' is no length of time; write it like 90, 10m, 2h or 30d"),
        ("[retention]\nolder_than = 30", "settings.toml: retention.older_than: must be text, is 30"),
        ("[retention]\nolder = 3", "did you mean older_than?"),
        ("[retentoin]\nkeep = 3", "did you mean retention?"),
        ("retention = 3", "settings.toml: retention: must be a table, is 3"),
        ("[retention\n", "settings.toml: is not valid TOML"),
    ],
)
def test_what_will_not_do_is_named_with_value_and_remedy(home: Home, text: str, said: str) -> None:
    home.settings.write_text(text)
    with pytest.raises(InvalidInput) as refused:
        read_settings(home)
    assert said in str(refused.value)


def test_the_doctor_names_what_is_set_and_calls_what_will_not_do_broken(home: Home) -> None:
    patient = Patient(home.path, None)
    home.settings.write_text('[retention]\nolder_than = "30d"\n')
    [finding] = examine(patient, [doctor.settings])
    assert finding.grade is Grade.OK
    assert 'retention.older_than = "30d"' in finding.found and "older than 30d and 200,000 newer" in finding.found
    home.settings.write_text("[retention]\nkeep = 1.5\n")
    [finding] = examine(patient, [doctor.settings])
    assert finding.grade is Grade.BROKEN and "retention.keep" in finding.found
