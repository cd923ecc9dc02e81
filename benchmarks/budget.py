"""Whether all of singlepoint stays within its budget: minutes of mixed load, sampled from outside once a second.

    python -m benchmarks.budget [--minutes 5] [--budget cpu=1,memory=2GiB]

Trainings, predictions and scripts of scikit-learn that start as many threads as they like, jobs that take twice the
memory they asked for (at once, by fork, mapped, after setsid), and kills; half-way the budget is lowered. Everything
below the supervisor counts, our own processes too: processor seconds of the last second, and memory that is theirs
(PSS without mapped files). Prints the share of samples within the budget and 2 % of the machine; and the account of
core-seconds, beside what the kernel counted of all processes that there were.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.mixed.counted import counted_core_s
from benchmarks.mixed.jobs import mixed_load
from singlepoint import submit
from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.store.rings import Rings
from singlepoint.jobs.store.settings import Prices
from singlepoint.scheduler.reporting.account import account
from singlepoint.scheduler.runtime.metering import OWN_EVERY_S
from tests.system.machine import Machine

MIB = 2**20
ALLOWED = 0.02
GRACE_S = 5.0
"""After the budget was lowered, work has so long to make room: those samples are counted apart."""

HOGS = {
    "at_once": "b = bytearray(400 * 2**20); time.sleep(2)",
    "by_fork": "[os.fork() for _ in range(2)]; b = bytearray(100 * 2**20); time.sleep(2)",
    "mapped": "m = mmap.mmap(-1, 400 * 2**20); m.write(bytes(400 * 2**20)); time.sleep(2)",
    "detached": "os.fork() or os.setsid(); b = bytearray(200 * 2**20); time.sleep(2)",
}
"""Each takes twice the 200 MiB it asks for."""

THREADS = "import threading, time\n" + (
    "def burn():\n    until = time.time() + 4\n    while time.time() < until: sum(range(10000))\n"
    "threads = [threading.Thread(target=burn) for _ in range(8)]\n"
    "[t.start() for t in threads]; [t.join() for t in threads]\n"
)


@dataclass(frozen=True)
class Seen:
    """One second. cores: used on average.  memory_bytes: at its end.  settling: the budget was lowered just before."""

    cores: float
    memory_bytes: int
    budget_cores: float
    budget_bytes: int
    settling: bool

    @property
    def cpu_is_within(self) -> bool:
        return self.cores <= self.budget_cores + ALLOWED * len(os.sched_getaffinity(0))

    @property
    def memory_is_within(self) -> bool:
        return self.memory_bytes <= self.budget_bytes + ALLOWED * psutil.virtual_memory().total


class Observer:
    """Everything below a process, from outside."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._at_s = time.monotonic()

    def look(self) -> tuple[float, int]:
        """(cores used since the last look, bytes used now). What ended in between is missed, what began is not."""
        cpu_s, memory_bytes = {}, 0
        for process in [self._root, *self._root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error, OSError):
                times = process.cpu_times()
                cpu_s[(process.pid, process.create_time())] = times.user + times.system
                memory_bytes += _own_bytes(process.pid)
        used_s = sum(max(0.0, now - self._cpu_s.get(one, 0.0)) for one, now in cpu_s.items())
        now_s, self._cpu_s = time.monotonic(), cpu_s
        took_s, self._at_s = now_s - self._at_s, now_s
        return used_s / took_s, memory_bytes


def _own_bytes(pid: int) -> int:
    """Its share of the memory that is in no file: anonymous and shared."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def load_of(directory: Path, chance: random.Random) -> Iterator[dict[str, object]]:
    """Specs without end."""
    ordinary = [dict(job.spec) for job in mixed_load(directory)]
    imports = "import mmap, os, time; "
    for number in range(10**6):
        drawn = chance.random()
        name, script = chance.choice([*HOGS.items()])
        if drawn < 0.15:
            yield _command(f"hog-{name}-{number}", imports + script, "200MiB")
        elif drawn < 0.25:
            yield _command(f"threads-{number}", THREADS, "200MiB")
        else:
            spec = chance.choice(ordinary)
            output = {"output": f"{spec['output']}-{number}.npy"} if "output" in spec else {}
            yield {**spec, "name": f"{spec['name']}-{number}", **output}


def _command(name: str, script: str, memory: str) -> dict[str, object]:
    spec = {"kind": "run", "name": name.replace("_", "-"), "command": [sys.executable, "-c", script]}
    return {**spec, "resources": {"memory": memory}}


def observe(machine: Machine, specs: Iterator[dict[str, object]], minutes: float) -> Iterator[Seen]:
    """A sample a second, with ten jobs waiting all the time."""
    assert machine.supervisor is not None
    observer, chance = Observer(machine.supervisor.pid), random.Random(1)
    began_s, lowered_s, ids = time.monotonic(), 0.0, list[str]()
    while (passed_s := time.monotonic() - began_s) < 60 * minutes:
        ids = [one for one in ids if not machine.job(one).is_final]
        while len(ids) < 10:
            ids.append(submit(next(specs), home=machine.home.path))
        if not lowered_s and passed_s > 30 * minutes:
            machine.run("budget", "memory=1GiB")
            lowered_s = time.monotonic()
        if chance.random() < 0.05:
            _kill_one(machine, ids)
        time.sleep(1.0)
        cores, memory_bytes = observer.look()
        capacity = read_capacity(machine.home)
        assert capacity is not None
        settling = lowered_s > 0 and time.monotonic() - lowered_s < GRACE_S
        budget = capacity.budget
        yield Seen(cores, memory_bytes, budget.cpu_millis / 1000, budget.memory_bytes, settling)


def _kill_one(machine: Machine, ids: list[str]) -> None:
    running = [one for one in ids if machine.job(one).state is State.RUNNING]
    with contextlib.suppress(IndexError, OSError, AssertionError):
        os.kill(machine.child_pid(running[0]), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--budget", default="cpu=1,memory=2GiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        machine = Machine(Path(place), budget=options.budget, workers=2).start()
        try:
            assert machine.supervisor is not None
            time.sleep(2 * OWN_EVERY_S)  # until what it took to start is booked
            began_at, before_s = time.time(), counted_core_s(machine.supervisor.pid)
            seen = list(observe(machine, load_of(Path(place), random.Random(7)), options.minutes))
            flow = Rings(machine.home.utilisation).total(began_at, time.time())
            counted_s = counted_core_s(machine.supervisor.pid) - before_s
            ends = machine.store.ledger.account().ends
        finally:
            machine.stop()
    steady = [one for one in seen if not one.settling]
    cpu, memory = sum(one.cpu_is_within for one in steady), sum(one.memory_is_within for one in steady)
    print(f"{len(steady)} samples, as uid {os.geteuid()}; ends: {ends}")
    print(f"  cores   within the budget in {100 * cpu / len(steady):.2f}% (most {max(s.cores for s in steady):.2f})")
    most = max(steady, key=lambda one: one.memory_bytes - one.budget_bytes)
    print(
        f"  memory  within the budget in {100 * memory / len(steady):.2f}% (at worst {format_bytes(most.memory_bytes)}"
        f" of {format_bytes(most.budget_bytes)})"
    )
    told_s = flow.used_core_s + flow.own_core_s
    for name, core_s in account(flow, Prices())["core_s"].items():
        print(f"  {name:11} {core_s:8.1f} core-seconds, {100 * core_s / flow.capacity_core_s:5.2f}% of the budget")
    print(
        f"  the account comes to {100 * (told_s + flow.idle_core_s) / flow.capacity_core_s:.2f}% of C_max x time;"
        f" used are {told_s:.1f} core-seconds by the account, {counted_s:.1f} by the kernel:"
        f" {100 * (told_s - counted_s) / flow.capacity_core_s:+.2f}% of C_max x time"
    )
    print(f"  cores used on average {sum(s.cores for s in steady) / len(steady):.2f}")


if __name__ == "__main__":
    main()
