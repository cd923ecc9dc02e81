"""Amounts as people write and read them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from singlepoint.jobs.amounts import format_bytes, format_cores, parse_bytes, parse_moment_s


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("512MiB", 512 * 2**20),
        ("4GiB", 4 * 2**30),
        ("4 gb", 4 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("2G", 2 * 2**30),
        ("100", 100),
        (100, 100),
        ("7B", 7),
        ("0", 0),
    ],
)
def test_bytes_are_read(text: str | int, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "lots", "-1MiB", "4 GiBs", "1e9", "nan", "1_000", "9" * 30, "4GiB 2MiB"])
def test_what_is_no_amount_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an amount|more than any machine"):
        parse_bytes(text)


def test_large_amounts_are_exact() -> None:
    assert parse_bytes(f"{2**53 + 1}") == 2**53 + 1


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (1023, "1023 B"), (512 * 2**20, "512 MiB"), (3 * 2**29, "1.5 GiB"), (5 * 2**40, "5 TiB")],
)
def test_bytes_are_written_for_people(amount: int, text: str) -> None:
    assert format_bytes(amount) == text


@pytest.mark.parametrize(("millis", "text"), [(1000, "1 core"), (2000, "2 cores"), (500, "0.5 cores"), (0, "0 cores")])
def test_cores_are_counted(millis: int, text: str) -> None:
    assert format_cores(millis) == text


NOON = datetime(2026, 11, 26, 12, 0)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("+2h", NOON + timedelta(hours=2)),
        ("90m", NOON + timedelta(minutes=90)),
        ("18:00", datetime(2026, 11, 26, 18, 0)),
        ("12:00", datetime(2026, 11, 27, 12, 0)),
        ("6:30:15", datetime(2026, 11, 27, 6, 30, 15)),
        ("2026-12-01 08:00", datetime(2026, 12, 1, 8, 0)),
        ("2026-12-01T08:00Z", datetime.fromisoformat("2026-12-01T08:00+00:00")),
        ("2020-01-01", datetime(2020, 1, 1)),
    ],
)
def test_a_point_in_time_is_read_and_a_time_of_day_is_the_next(text: str, moment: datetime) -> None:
    assert parse_moment_s(text, NOON.timestamp()) == moment.timestamp()


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:60", "-2h", "+", "0001-01-01", "9" * 30, "2026-13-01"])
def test_what_is_no_point_in_time_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="18:00"):
        parse_moment_s(text, NOON.timestamp())
