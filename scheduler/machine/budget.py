"""C_max: what the whole of singlepoint may use of this machine.

The machine is what the kernel lets this process have: the cores of its affinity, cut by cgroup quotas, and
the least of the installed memory and every cgroup limit above us (version 1 and 2). By default the budget
is all those cores and four fifths of that memory; `--budget` says otherwise, never more than the machine has.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from singlepoint.jobs.amounts import format_bytes, parse_bytes
from singlepoint.jobs.errors import UsageError
from singlepoint.jobs.lifecycle.records import MOST_COUNTED, UNLIMITED, Resources, as_counted

MEMORY_SHARE = 0.8
LEAST_MEMORY_BYTES = 256 * 2**20
"""Redis, the scheduler, the supervisor and the workers, and one small job."""

_HINT = "write it like --budget cpu=2,memory=4GiB,gpu=1"


@dataclass(frozen=True)
class Machine:
    """What there is. cores: ids of those we may run on.  quota: how many of them at a time, on average."""

    cores: tuple[int, ...]
    memory_bytes: int
    quota: float | None = None

    @property
    def whole_cores(self) -> int:
        """Cores that can be granted: a quota of 1.5 is one; less than one is still one, only slower."""
        return max(1, min(len(self.cores), int(self.quota or len(self.cores))))


def this_machine(root: Path = Path("/"), pid: int = 0) -> Machine:
    """The machine as we may use it. root: where /proc and /sys are looked for.  pid: of the process whose affinity
    tells the cores (0: this one), where our own was narrowed."""
    limits = [psutil.virtual_memory().total, *_memory_limits(root)]
    return Machine(cores=_allowed_cores(pid), memory_bytes=min(limits), quota=min(_cpu_quotas(root), default=None))


def default_budget(machine: Machine) -> Resources:
    """All cores, 80 % of the memory, and disk and network as they are."""
    return Resources(
        cpu_millis=1000 * machine.whole_cores,
        memory_bytes=int(machine.memory_bytes * MEMORY_SHARE),
        storage_bytes=UNLIMITED,
        network_bytes_s=UNLIMITED,
    )


def parse_budget(text: str | None, machine: Machine, before: Machine | None = None) -> Resources:
    """`cpu=2,memory=4GiB,storage=…,network=…`, each of them optional: the default stands for what is left out; and
    how many there are of what the owner counts besides: `gpu=1,licence=2`.

    before: the machine as it was when somebody began to go by these words: what it had room for then is cut to what it
    has now. Raises UsageError for anything else, and for more than the machine has.
    """
    amounts = dict(zip(_NAMES.values(), default_budget(machine).amounts(), strict=True))
    counted: dict[str, int] = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, value = map(str.strip, part.partition("="))
        if not equals or not _NAME.fullmatch(name) or name in _MEANT:
            meant = f" (did you mean {_MEANT[name]}?)" if name in _MEANT else ""
            raise UsageError(f"--budget: {part!r} is not NAME=AMOUNT with one of {_KNOWN}{meant}", hint=_HINT)
        if name in _READ:
            amounts[name] = _amount(name, value, machine, before or machine)
        else:
            counted[name] = _count(name, value)
    return Resources.made_of(amounts.values(), as_counted(counted))


def _count(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) > MOST_COUNTED:
        raise UsageError(
            f"--budget: {name}={value}: what has a name of your own is counted, 0 to {MOST_COUNTED}", hint=_HINT
        )
    return int(value)


def _amount(name: str, value: str, machine: Machine, before: Machine) -> int:
    try:
        amount = _READ[name](value)
    except ValueError as error:
        raise UsageError(f"--budget: {name}: {error}", hint=_HINT) from None
    if amount <= 0:
        raise UsageError(f"--budget: {name}={value} leaves nothing to run with", hint=_HINT)
    there, most = _most(name, machine), max(_most(name, machine), _most(name, before))
    if name == "cpu" and amount > most:
        raise UsageError(f"--budget: cpu={value}, but this process may run on {len(machine.cores)} cores only")
    if name == "memory" and amount < LEAST_MEMORY_BYTES:
        raise UsageError(
            f"--budget: memory={value} is no room for jobs: singlepoint itself needs most of "
            f"{format_bytes(LEAST_MEMORY_BYTES)}",
            hint=_HINT,
        )
    if name == "memory" and amount > most:
        raise UsageError(f"--budget: memory={value}, but this machine has {format_bytes(machine.memory_bytes)}")
    return min(amount, there)


def _most(name: str, machine: Machine) -> int:
    return {"cpu": 1000 * len(machine.cores), "memory": machine.memory_bytes}.get(name, UNLIMITED)


def _whole_cores(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a whole number of cores")
    return 1000 * int(text)


_NAMES = {"cpu_millis": "cpu", "memory_bytes": "memory", "storage_bytes": "storage", "network_bytes_s": "network"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_KNOWN = "cpu, memory, storage, network, or a name of your own for what is counted"
_MEANT = {
    **dict.fromkeys(("cores", "core", "cpus", "threads"), "cpu"),
    **dict.fromkeys(("mem", "ram"), "memory"),
    **dict.fromkeys(("disk", "space"), "storage"),
    **dict.fromkeys(("net", "bandwidth"), "network"),
    **_NAMES,
}
"""What people write for a resource that has another name here, and which must not count as one of their own."""

_READ: dict[str, Callable[[str], int]] = {
    "cpu": _whole_cores,
    "memory": parse_bytes,
    "storage": parse_bytes,
    "network": parse_bytes,
}


def _allowed_cores(pid: int) -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        for one in (pid, 0):
            with contextlib.suppress(OSError):  # it has ended
                return tuple(sorted(os.sched_getaffinity(one)))
    return tuple(range(os.cpu_count() or 1))


def _memory_limits(root: Path) -> Iterator[int]:
    for group in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(group / name)
            if text.isdecimal():  # version 2 says "max" for none, version 1 a number beyond any machine
                yield int(text)


def _cpu_quotas(root: Path) -> Iterator[float]:
    for group in _groups(root, "cpu"):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):  # "max" and -1 mean no quota
            yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The directories of our cgroup and of every one above it, of both versions, whether they exist or not.

    In a container our path may be the host's, which is not mounted there; the mount's own root is then ours.
    """
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            bases: Iterable[Path] = (mount, mount / "unified")
        elif controller in controllers.split(","):
            bases = (mount / controllers, mount / controller)
        else:
            continue
        inside = Path(path.lstrip("/"))
        for base in bases:
            for part in (inside, *inside.parents):
                yield base / part


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
