"""The account comes to all the time there was, and to money where prices are set."""

from __future__ import annotations

import pytest

from singlepoint.jobs.lifecycle.flow import Flow
from singlepoint.jobs.store.settings import Prices
from singlepoint.scheduler.reporting.account import account, account_rows, cost
from singlepoint.scheduler.reporting.chart import chart_page

GIB = float(2**30)
HOUR = Flow(
    seconds=3600.0,
    capacity=(4000 * 3600.0, 8 * GIB * 3600, 0.0, 0.0),
    reserved=(3000 * 3600.0, 4 * GIB * 3600, 0.0, 0.0),
    used=(2000 * 3600.0, 2 * GIB * 3600, 0.0, 0.0),
    own_core_s=36.0,
    saving_core_s=72.0,
    repeated_core_s=36.0,
    failed_core_s=612.0,
)
PRICES = Prices(core_hour=0.1, gib_hour=0.01, kwh=0.3, watts_idle=50, watts_core=10)


def test_its_parts_come_to_the_whole() -> None:
    document = account(HOUR, Prices())

    assert sum(document["core_s"].values()) == pytest.approx(document["capacity_core_s"]) == 4 * 3600
    assert document["core_s"]["useful"] == 7200 - 72 - 36 - 612
    assert document["utilisation"]["cpu_millis"] == {"reserved": 0.75, "used": 0.5, "useful": pytest.approx(0.45)}
    assert document["cost"] is None


def test_money_is_for_what_was_used_and_for_energy() -> None:
    money = cost(HOUR, PRICES)

    assert money is not None
    assert (money["cores"], money["memory"]) == (pytest.approx(0.2), pytest.approx(0.02))
    assert money["energy_kwh"] == pytest.approx((50 * 3600 + 10 * (7200 + 36)) / 3.6e6)
    assert money["total"] == pytest.approx(0.22 + 0.3 * money["energy_kwh"], abs=1e-6)
    assert money["of_no_use"] == pytest.approx(money["total"] * 0.1, abs=1e-6)


def test_for_people() -> None:
    rows = dict(account_rows(account(HOUR, PRICES)))

    assert rows["  useful"] == "6,480.0 (45.0%)"
    assert rows["cost"].startswith("0.2")
    assert dict(account_rows(account(Flow(), Prices()))) == {"core-seconds": "none measured yet"}


def test_the_picture_is_one_file_without_scripts() -> None:
    page = chart_page(
        "u <t>", [("by hours", 3600, [(0.0, HOUR), (7200.0, HOUR)]), ("by seconds", 1, [])], [("a", "<b>")]
    )

    assert page.count("<svg") == 2, "cores and memory"
    assert "<script" not in page and "http" not in page
    assert "&lt;b&gt;" in page and "u &lt;t&gt;" in page
