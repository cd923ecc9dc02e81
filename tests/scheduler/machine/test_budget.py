"""C_max, from a machine described by files and from what the user says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from singlepoint.jobs.amounts import parse_bytes
from singlepoint.jobs.errors import UsageError
from singlepoint.jobs.lifecycle.records import UNLIMITED, Resources
from singlepoint.scheduler.machine.budget import Machine, default_budget, parse_budget, this_machine

GIB = 2**30
MACHINE = Machine(cores=(0, 2, 3, 5), memory_bytes=10 * GIB)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_default_is_all_cores_and_four_fifths_of_the_memory() -> None:
    assert default_budget(MACHINE) == Resources(4000, 8 * GIB, UNLIMITED, UNLIMITED)


def test_what_is_left_out_stays_as_it_is() -> None:
    assert parse_budget("memory=4GiB", MACHINE) == Resources(4000, 4 * GIB, UNLIMITED, UNLIMITED)
    assert parse_budget("cpu=1, storage=1GB, network=10MiB", MACHINE) == Resources(
        1000, 8 * GIB, 10**9, parse_bytes("10MiB")
    )
    assert parse_budget(None, MACHINE) == parse_budget("", MACHINE) == default_budget(MACHINE)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cpu", "'cpu' is not NAME=AMOUNT with one of cpu, memory, storage, network"),
        ("cpu=1.5", "'1.5' is not a whole number of cores"),
        ("cpu=-1", "'-1' is not a whole number of cores"),
        ("cpu=0", "cpu=0 leaves nothing to run with"),
        ("cpu=5", "cpu=5, but this process may run on 4 cores only"),
        ("memory=lots", "'lots' is not an amount of bytes; write it like 512MiB or 4GB"),
        ("memory=11GiB", "memory=11GiB, but this machine has 10 GiB"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_budget(text, MACHINE)
    assert complaint in caught.value.message
    assert caught.value.exit_code == 64


def test_the_least_limit_of_every_version_2_group_above_us_holds(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user/app\n",
            "sys/fs/cgroup/user/app/memory.max": "max\n",
            "sys/fs/cgroup/user/memory.max": "1048576\n",
            "sys/fs/cgroup/user/app/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/user/cpu.max": "max 100000\n",
        },
    )
    machine = this_machine(root)
    assert machine.memory_bytes == 1048576
    assert machine.quota == 1.5
    assert machine.whole_cores == 1


def test_version_1_limits_hold_and_its_huge_number_means_none(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/job\n1:cpu,cpuacct:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2097152",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    machine = this_machine(root)
    assert machine.memory_bytes == 2097152
    assert machine.quota is None


def test_in_a_container_whose_path_is_the_hosts_the_mounts_own_root_counts(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/docker/0123abcd\n",
            "sys/fs/cgroup/memory.max": "4194304",
            "sys/fs/cgroup/cpu.max": "",
        },
    )
    assert this_machine(root).memory_bytes == 4194304


def test_without_control_groups_the_machine_itself_is_the_limit(tmp_path: Path) -> None:
    machine = this_machine(tmp_path)
    assert machine.memory_bytes > 2**27
    assert machine.whole_cores == len(machine.cores) >= 1


@pytest.mark.parametrize(("quota", "cores"), [(0.5, 1), (1.0, 1), (3.9, 3), (64.0, 4), (None, 4)])
def test_a_quota_is_cut_to_whole_cores_but_never_to_none(quota: float | None, cores: int) -> None:
    assert Machine((0, 1, 2, 3), GIB, quota).whole_cores == cores


def test_the_owner_names_what_is_counted_besides() -> None:
    budget = parse_budget("cpu=2,gpu=1,licence=3,gpu=2,toner=0", MACHINE)
    assert (budget.cpu_millis, budget.counted) == (2000, (("gpu", 2), ("licence", 3)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cores=2", "did you mean cpu?"),
        ("mem=4", "did you mean memory?"),
        ("memory_bytes=4", "did you mean memory?"),
        ("gpu=one", "0 to 4096"),
        ("gpu=4097", "0 to 4096"),
        ("GPU=1", "NAME=AMOUNT"),
    ],
)
def test_a_slip_of_the_pen_is_not_taken_for_a_name(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        parse_budget(text, MACHINE)
