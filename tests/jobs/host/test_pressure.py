"""What the kernel tells of its troubles."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from singlepoint.jobs.host.pressure import Pressure, measure


def test_stalls_are_shares_and_what_is_not_told_is_none(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    memory = "some avg10=12.50 avg60=3.00 avg300=1.00 total=123\nfull avg10=2.00 avg60=0.50 avg300=0.10 total=45\n"
    (tmp_path / "pressure" / "memory").write_text(memory)
    (tmp_path / "pressure" / "io").write_text("some nonsense")
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nMemAvailable:   40 kB\n")

    assert measure(tmp_path) == Pressure(memory=0.125, memory_full=0.02, available_bytes=40960, total_bytes=102400)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine: told by Linux")
def test_of_this_machine() -> None:
    assert (measure().available_bytes or 0) > 0
