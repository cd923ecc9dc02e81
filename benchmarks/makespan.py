"""From the first submission to the last end of forty mixed jobs, beside what people would run them with instead.

    python -m benchmarks.makespan [--contender shell-one …] [--rounds 1]

Trainings and predictions of ours and scripts of scikit-learn, on all cores. We and a contender take turns, so that what
else the machine does meets both; the ratio is theirs to ours, by the best of each. Of ours is printed, too, which share
of all cores' time was of use: what checkpoints, repeated work, failures, our own processes and idle cores leave.
Contenders that are not installed are left out, with what would bring them. A round takes some two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.needs import needed
from tests.system.machine import ROOT, Machine, wait_until

with needed("test"):
    import sklearn  # noqa: F401  the scripts need it

from benchmarks.mixed.contenders import LONGEST_S, Contender, Missing, contenders
from benchmarks.mixed.jobs import MixedJob, mixed_load

CORES = len(os.sched_getaffinity(0))


def ours(directory: Path, load: Sequence[MixedJob]) -> tuple[float, float]:
    """Seconds from the first submission to the last end, and the share of all cores that was of use meanwhile."""
    for left in directory.glob("*-answers.npy"):
        left.unlink()
    specs = directory / "specs.json"
    specs.write_text(json.dumps([job.spec for job in load]))
    with tempfile.TemporaryDirectory() as place:
        machine = Machine(Path(place), budget=f"cpu={CORES}", workers=CORES).start()
        try:
            began = time.perf_counter()
            ids = _hand_in(machine, specs)
            wait_until(lambda: _have_ended(machine, ids), machine.tail, LONGEST_S)
            took_s = time.perf_counter() - began
            ended = [machine.job(job_id) for job_id in ids]
            assert all(job.state == "succeeded" for job in ended), [job.reason for job in ended if job.reason]
            return took_s, machine.store.ledger.account().useful_core_s / (took_s * CORES)
        finally:
            machine.stop()


def _hand_in(machine: Machine, specs: Path) -> list[str]:
    words = [sys.executable, "-m", "benchmarks.mixed.hand_in", str(machine.home.path), str(specs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def _have_ended(machine: Machine, ids: Sequence[str]) -> bool:
    """The last one first: to ask is cheap as long as it goes on."""
    time.sleep(0.05)
    return all(machine.job(job_id).is_final for job_id in reversed(ids))


def theirs(directory: Path, load: Sequence[MixedJob], contender: Contender) -> float:
    with contender(directory) as run:
        began = time.perf_counter()
        run([job.command for job in load])
        return time.perf_counter() - began


def main() -> None:
    known = contenders(CORES, 40)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contender", action="append", choices=[*known], metavar="NAME", help=", ".join(known))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        load = mixed_load(directory)
        best: dict[str, float] = {}
        for name in options.contender or [*known]:
            for _ in range(options.rounds):
                try:
                    took = {name: theirs(directory, load, known[name])}
                except Missing as missing:
                    print(f"{name:16} not installed: {missing}")
                    break
                took["singlepoint"], useful = ours(directory, load)
                best = {**best, **{who: min(s, best.get(who, s)) for who, s in took.items()}}
                print(
                    f"{name:16} {took[name]:7.1f} s   singlepoint {took['singlepoint']:6.1f} s"
                    f"   {took[name] / took['singlepoint']:5.2f}x   of use {100 * useful:.1f}% of all cores",
                    flush=True,
                )
    print(f"the best of each, {len(load)} jobs on {CORES} cores")
    for who, took_s in sorted(best.items(), key=lambda one: one[1]):
        print(f"  {who:16} {took_s:7.1f} s   {took_s / best.get('singlepoint', took_s):5.2f}x ours")


if __name__ == "__main__":
    main()
