"""Where the cores are and how busy they are, from a machine described by files."""

from __future__ import annotations

from pathlib import Path

from singlepoint.scheduler.machine.cores import CoreLoad, busy_shares, layout, ticks
from singlepoint.scheduler.policy.host.state import Core
from tests.scheduler.machine.test_budget import write

STAT = "cpu  1 2 3 4\ncpu0 10 0 10 70 10 0 0 0 5 0\ncpu3 50 0 0 50 0 0 0 0 0 0\nintr 12 0 1\n"


def test_where_they_are(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu"
    root = write(
        tmp_path,
        {
            f"{cpu}/cpu0/topology/thread_siblings_list": "0,4\n",
            f"{cpu}/cpu4/topology/thread_siblings_list": "0,4\n",
            f"{cpu}/cpu5/topology/thread_siblings_list": "5\n",
            "sys/devices/system/node/node0/cpulist": "0-3\n",
            "sys/devices/system/node/node1/cpulist": "4-7\n",
        },
    )
    assert layout((0, 4, 5, 6), root) == {0: Core(0, 0), 4: Core(0, 1), 5: Core(5, 1)}


def test_how_busy_they_were(tmp_path: Path) -> None:
    before = ticks(write(tmp_path, {"proc/stat": STAT}))
    assert before == {0: (20, 100), 3: (50, 100)}
    now = {0: (45, 150), 3: (50, 200), 7: (1, 1)}
    assert busy_shares(before, now) == {0: 0.5, 3: 0.0}
    assert busy_shares(before, before) == {}


def test_what_no_kernel_tells_is_left_out(tmp_path: Path) -> None:
    assert (layout((0, 1), tmp_path), ticks(tmp_path)) == ({}, {})
    assert all(0 <= share <= 1 for share in CoreLoad()().values())
