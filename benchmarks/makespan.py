"""Forty mixed jobs, from the first submission to the last end, and how long they took on average until each was done;
beside what people would run them with instead.

    python -m benchmarks.makespan [--contender shell-one …] [--policy feedback …] [--taught] [--times 1] [--rounds 1]
                                 [--seed 1]

Trainings and predictions of ours and scripts of scikit-learn, on all cores. We and a contender take turns, so that what
else the machine does meets both; the ratio is theirs to ours, by the best of each. Of ours is printed, too, which share
of all cores' time was of use (what checkpoints, repeated work, failures, our own processes and idle cores leave), and
which our own processes took, and which cores had that had no work left; the rest whoever hands in took, and the moments
between two jobs; and how long the same jobs take when the simulator replays them from their histories.
The order is shuffled by the seed: which job comes last decides how long a core idles at the end, 2 % of all and more.
Contenders that are not installed are left out, with what would bring them. A round takes some two minutes; `--times 4`
has each job do four times as much.
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
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.needs import needed
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.services.policy_choice import choose_policy
from singlepoint.scheduler.policy.named import POLICIES
from tests.system.machine import ROOT, Machine, wait_until

with needed("test"):
    import sklearn  # noqa: F401  the scripts need it

from benchmarks.mixed.contenders import LONGEST_S, Contender, Missing, contenders
from benchmarks.mixed.counted import counted_core_s
from benchmarks.mixed.jobs import MixedJob, mixed_load

CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Ours:
    """useful, own, over: the share of all cores that was of use meanwhile, that our own processes took, and that had
    nothing left to do at the end.  replayed_s: as the simulator has it; None where it is not asked."""

    useful: float
    own: float
    over: float
    replayed_s: float | None

    def told(self, took_s: float) -> str:
        shares = (100 * self.useful, 100 * self.own, 100 * self.over)
        of_use = "   of use {:.1f}% of all cores, our own {:.1f}%, no work left {:.1f}%".format(*shares)
        if self.replayed_s is None:
            return of_use
        return f"{of_use}   replayed {self.replayed_s:.1f} s ({100 * (self.replayed_s / took_s - 1):+.1f}%)"


@dataclass(frozen=True)
class Came:
    """took_s: from the first submission to the last end.  completion_s: from there to each end, on average."""

    took_s: float
    completion_s: float
    ours: Ours | None = None


def ours(directory: Path, load: Sequence[MixedJob], policy: str, *, taught: bool = False) -> Came:
    """taught: the same jobs ran through that home before, so that it knows what their like takes."""
    specs = directory / "specs.json"
    specs.write_text(json.dumps([job.spec for job in load]))
    with tempfile.TemporaryDirectory() as place:
        machine = Machine(Path(place), budget=f"cpu={CORES}", workers=CORES)
        choose_policy(machine.home, policy)
        machine.start()
        try:
            assert machine.supervisor is not None
            if taught:
                _answers_removed(directory)
                known = _hand_in(machine, specs)
                wait_until(lambda: _have_ended(machine, known), machine.tail, LONGEST_S)
            _answers_removed(directory)
            before = machine.store.ledger.account()
            before_s = counted_core_s(machine.supervisor.pid)
            began, began_at = time.perf_counter(), time.time()
            ids = _hand_in(machine, specs)
            wait_until(lambda: _have_ended(machine, ids), machine.tail, LONGEST_S)
            took_s = time.perf_counter() - began
            counted_s = counted_core_s(machine.supervisor.pid) - before_s
            ended = [machine.job(job_id) for job_id in ids]
            assert all(job.state == "succeeded" for job in ended), [job.reason for job in ended if job.reason]
            completion_s = mean((job.ended_at or 0.0) - began_at for job in ended)
            came_to, all_core_s = machine.store.ledger.account(), took_s * CORES
            own = (counted_s - came_to.cpu_s + before.cpu_s) / all_core_s
            useful = (came_to.useful_core_s - before.useful_core_s) / all_core_s
            over = _over_core_s(ended) / all_core_s
            return Came(took_s, completion_s, Ours(useful, own, over, None if taught else _replayed_s(machine, policy)))
        finally:
            machine.stop()


def _over_core_s(ended: Sequence[Job]) -> float:
    """From the end of the last job that each core had until the end of all."""
    last: dict[int, float] = {}
    for job in ended:
        for core in job.terms.cores if job.terms else ():
            last[core] = max(last.get(core, 0.0), job.ended_at or 0.0)
    return sum(max(last.values()) - one for one in last.values())


def _answers_removed(directory: Path) -> None:
    for left in directory.glob("*-answers.npy"):
        left.unlink()


def _replayed_s(machine: Machine, policy: str) -> float:
    words = [sys.executable, "-m", "singlepoint", "--home", str(machine.home.path), "simulate", "--history", "--json"]
    found = subprocess.run([*words, "--policy", policy], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return float(json.loads(found)["makespan_s"])


def _hand_in(machine: Machine, specs: Path) -> list[str]:
    words = [sys.executable, "-m", "benchmarks.mixed.hand_in", str(machine.home.path), str(specs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def _have_ended(machine: Machine, ids: Sequence[str]) -> bool:
    """The last one first: to ask is cheap as long as it goes on."""
    time.sleep(0.05)
    return all(machine.job(job_id).is_final for job_id in reversed(ids))


def theirs(directory: Path, load: Sequence[MixedJob], contender: Contender) -> Came:
    with contender(directory) as run, tempfile.TemporaryDirectory() as done:
        began, began_at = time.perf_counter(), time.time()
        run([(*job.command, f"{done}/{job.name}") for job in load])
        took_s = time.perf_counter() - began
        ends = [path.stat().st_mtime for path in Path(done).iterdir()]
        assert len(ends) == len(load), f"{len(load) - len(ends)} jobs did not end"
        return Came(took_s, mean(ends) - began_at)


def main() -> None:
    known = contenders(CORES, 40)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contender", action="append", choices=[*known], metavar="NAME", help=", ".join(known))
    parser.add_argument("--policy", action="append", choices=[*POLICIES], metavar="NAME", help=", ".join(POLICIES))
    parser.add_argument("--taught", action="store_true", help="beside each of ours one whose home ran the same before")
    parser.add_argument("--times", type=int, default=1, help="so many times the work in each job")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    policies = options.policy or ["feedback"]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        load = mixed_load(directory, options.seed, options.times)
        came: dict[str, list[Came]] = {}
        for name in options.contender or [*known]:
            for _ in range(options.rounds):
                try:
                    found = {name: theirs(directory, load, known[name])}
                except Missing as missing:
                    print(f"{name:16} not installed: {missing}")
                    break
                found |= {f"ours, {one}": ours(directory, load, one) for one in policies}
                if options.taught:
                    found |= {f"taught, {one}": ours(directory, load, one, taught=True) for one in policies}
                for who, one in found.items():
                    came.setdefault(who, []).append(one)
                    more = one.ours.told(one.took_s) if one.ours else ""
                    print(f"{who:16} {one.took_s:7.1f} s   done on average {one.completion_s:7.1f} s{more}", flush=True)
    print(f"the best of each, {len(load)} jobs on {CORES} cores: all done, and on average")
    for who, all_of_it in sorted(came.items(), key=lambda one: min(came.took_s for came in one[1])):
        took_s, completion_s = min(one.took_s for one in all_of_it), min(one.completion_s for one in all_of_it)
        print(f"  {who:16} {took_s:7.1f} s   {completion_s:7.1f} s")


if __name__ == "__main__":
    main()
