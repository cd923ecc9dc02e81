"""What faults cost: bits, rows, seconds; a table, with what was promised beside what came out.

    python -m benchmarks.faults [--kills 200] [--quick] [--patient] [--only WORD …] [--seed N]

Kills real processes of a singlepoint of its own, in a temporary home, many times at random moments; fails its writes,
lowers and raises its budget; takes Redis away and wipes it; measures plain RQ on the same faults in the same run; and
simulates failures for the checkpoint interval. --quick does a little of each. --patient also waits 810 s for plain RQ's
defaults. Ends with 1 when anything promised was missed. Seconds depend on what else the machine does: run it on an idle
one.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

from benchmarks.faulting import plain_rq, waste
from benchmarks.faulting.jobs import write_digits
from benchmarks.faulting.kills import kills
from benchmarks.faulting.pressure import changing_budget, failing_disk
from benchmarks.faulting.recovery import recovery
from benchmarks.faulting.redis_away import outages, wiped
from benchmarks.faulting.table import Row, show
from tests.system.machine import Machine


@dataclass(frozen=True)
class Size:
    """How much of everything is done."""

    kills: int
    pressure_s: float
    recoveries: int
    outages_s: tuple[float, ...]
    saves: int
    failures: int


FULL = Size(200, 120, 30, (1, 20, 120), 21, 4000)
QUICK = Size(24, 20, 5, (1, 5), 5, 1000)


class Later:
    """Something slow, measured in the background meanwhile."""

    def __init__(self, act: Callable[[], float]) -> None:
        self.value: float | None = None
        self._thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self._thread.start()

    def _run(self, act: Callable[[], float]) -> None:
        self.value = act()

    def result(self) -> str:
        self._thread.join()
        return "never" if self.value is None else f"{self.value:.1f} s"


def plain_rq_rows(patient: bool) -> Iterator[Row]:
    """For comparison only: nothing is promised for it."""
    slow = Later(lambda: plain_rq.worker_kill(plain_rq.TUNED, 200))
    slowest = Later(lambda: plain_rq.worker_kill({}, 1200)) if patient else None
    for what, settings in (("defaults", {}), ("tuned", plain_rq.TUNED)):
        values = plain_rq.child_kills(settings)
        yield Row(
            f"plain RQ, {what}: child killed", f"{max(values):.3f} s at worst (n={len(values)}), a retry spent each"
        )
    yield Row("plain RQ, tuned: worker and child killed", slow.result())
    default = (
        slowest.result() if slowest else f"{plain_rq.DEFAULT_RECOVERY_S:.0f} s by calculation (--patient measures)"
    )
    yield Row("plain RQ, defaults: worker and child killed", default)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, help="how many SIGKILLs for the bits")
    parser.add_argument("--quick", action="store_true", help="a little of each")
    parser.add_argument("--patient", action="store_true", help="also wait for plain RQ's defaults")
    parser.add_argument("--only", nargs="*", default=[], help="parts whose name begins so")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    chance = random.Random(options.seed)
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

    directory = Path(tempfile.mkdtemp(prefix="faults-"))
    machine = Machine(directory)
    write_digits(directory)
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "kills at random moments": lambda: kills(machine, options.kills or size.kills, chance),
        "failing disk": lambda: failing_disk(machine),
        "budget": lambda: changing_budget(machine, size.pressure_s, chance),
        "recovery": lambda: recovery(machine, size.recoveries),
        "plain RQ": lambda: plain_rq_rows(options.patient),
        "outages": lambda: outages(machine, size.outages_s),
        "wipe": lambda: wiped(machine),
        "overhead": lambda: waste.overhead(machine),
        "saves": lambda: waste.saves(size.saves),
        "interval": lambda: waste.simulated(size.failures),
    }
    chosen = [name for name in parts if not options.only or any(name.startswith(word) for word in options.only)]
    try:
        if set(chosen) - {"plain RQ", "saves", "interval"}:
            machine.start()
        good = [show(name, parts[name]()) for name in chosen]
    finally:
        machine.stop()
    shutil.rmtree(directory)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
