"""Where control groups may be made is told by the files that the kernel and the service manager show."""

from __future__ import annotations

from pathlib import Path

import pytest

from singlepoint.worker.programs import memory_group
from singlepoint.worker.programs.memory_group import FIRST, SECOND, Place, find_place

UNIT = "user.slice/user@1000.service/singlepoint.service"


@pytest.fixture
def delegated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The group of a unit whose inside was left to us, with us in a group below it: as a service manager makes it, but
    of plain files."""
    unit = tmp_path / UNIT
    (unit / "services").mkdir(parents=True)
    (unit / "cgroup.procs").write_text("")
    (unit / "cgroup.controllers").write_text("cpu memory pids\n")
    monkeypatch.setattr(memory_group, "_attribute", lambda path, _name: b"1" if path == unit else b"")
    return unit


def test_beside_ours_where_the_group_above_is_left_to_us(tmp_path: Path, delegated: Path) -> None:
    ours = [f"0::/{UNIT}/services"]
    assert find_place(ours, tmp_path) == Place(delegated, SECOND)

    (delegated / "cgroup.controllers").write_text("cpu pids\n")
    assert find_place(ours, tmp_path) is None, "there is no memory to be had"
    (delegated / "cgroup.controllers").write_text("memory\n")
    (delegated / "cgroup.procs").write_text("7\n")
    assert find_place(ours, tmp_path) is None, "the kernel lets no group with processes have groups that hold memory"


@pytest.mark.parametrize("ours", [f"0::/{UNIT}", "0::/", "0::/user.slice/session-1.scope"])
def test_nowhere_else_under_the_second_version(tmp_path: Path, delegated: Path, ours: str) -> None:
    (tmp_path / "user.slice/session-1.scope").mkdir()
    assert find_place([ours], tmp_path) is None


def test_below_ours_under_the_first_version_if_it_may_be_written(tmp_path: Path) -> None:
    own = tmp_path / "memory/jobs"
    own.mkdir(parents=True)
    ours = ["4:memory:/jobs", "2:cpu,cpuacct:/", "0::/"]
    assert find_place(ours, tmp_path) is None
    (own / "memory.limit_in_bytes").write_text("")
    assert find_place(ours, tmp_path) == Place(own, FIRST)


def test_a_group_of_the_second_version_swaps_nothing_and_dies_as_a_whole(tmp_path: Path) -> None:
    group = Place(tmp_path, SECOND).make("k7m2x9ab", 100)
    assert group is not None and (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    files = {path.name: path.read_text() for path in group.directory.iterdir()}
    assert files == {"memory.max": str(100 + memory_group.OWN_BYTES), "memory.swap.max": "0", "memory.oom.group": "1"}

    (group.directory / "memory.events").write_text("low 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 1\n")
    assert group.kills() == 2


def test_there_is_no_group_where_it_cannot_be_made(tmp_path: Path) -> None:
    assert Place(tmp_path / "gone", FIRST).make("k7m2x9ab", 100) is None
