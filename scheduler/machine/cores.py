"""Where the cores of this machine are, and how busy each of them is, as the kernel tells."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from singlepoint.scheduler.policy.host.state import Core

Ticks = Mapping[int, tuple[int, int]]
"""Of each core: ticks in which it was busy, and all; since the machine started."""

_IDLE = (3, 4)
"""Columns of /proc/stat, behind the name: idle, and waiting for the disk."""

_COUNTED = 8
"""Columns that count: guests are in `user` already."""


def layout(cores: Iterable[int], root: Path = Path("/")) -> dict[int, Core]:
    """Where each of these cores is; those of which the kernel does not tell are left out."""
    found = {}
    nodes = _nodes(root)
    for core in cores:
        siblings = _numbers(root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        if siblings:
            found[core] = Core(min(siblings), nodes.get(core, 0))
    return found


def ticks(root: Path = Path("/")) -> Ticks:
    """As they stand; empty where /proc/stat cannot be read."""
    try:
        lines = (root / "proc/stat").read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, *columns = line.split()
        if name.startswith("cpu") and name != "cpu":
            counted = [int(column) for column in columns[:_COUNTED]]
            found[int(name.removeprefix("cpu"))] = (sum(counted) - sum(counted[at] for at in _IDLE), sum(counted))
    return found


def busy_shares(before: Ticks, now: Ticks) -> dict[int, float]:
    """Which share of the time in between each core was busy, 0..1; without those that nobody knew before."""
    passed = {
        core: (busy - before[core][0], total - before[core][1]) for core, (busy, total) in now.items() if core in before
    }
    return {core: min(1.0, max(0.0, busy / total)) for core, (busy, total) in passed.items() if total > 0}


def core_load(over_s: float = 0.1) -> dict[int, float]:
    """How busy each core is just now; it takes that long to see."""
    load = CoreLoad()
    time.sleep(over_s)
    return load()


class CoreLoad:
    """How busy the cores were since it was last asked."""

    def __init__(self) -> None:
        self._before = ticks()

    def __call__(self) -> dict[int, float]:
        before, self._before = self._before, ticks()
        return busy_shares(before, self._before)


def _nodes(root: Path) -> dict[int, int]:
    folders = (root / "sys/devices/system/node").glob("node[0-9]*")
    return {core: int(folder.name.removeprefix("node")) for folder in folders for core in _numbers(folder / "cpulist")}


def _numbers(path: Path) -> list[int]:
    """`0-3,8` as numbers; none where the file cannot be read."""
    try:
        spans = [part.partition("-") for part in path.read_text().strip().split(",") if part]
        return [number for first, _, last in spans for number in range(int(first), int(last or first) + 1)]
    except (OSError, ValueError):
        return []
