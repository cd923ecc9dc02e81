"""How often what was foreseen comes true: the 80 % intervals of start and end, and the processor time of like jobs.

    python -m benchmarks.calibration [--policy feedback] [--jobs 400] [--only simulated|live]

Simulated: a day on four cores at a load of 0.8, after a day in which the kinds of jobs are learned; what is foreseen of
each job when it comes is held against what became of it.
Live: as many short trainings and commands, handed in one by one to a real singlepoint at the pace at which
the machine is busy four fifths of the time; what `submit` would say of each is held against what came.
An interval is to hold 75 to 85 of a hundred. Of what waits for nothing no start is foreseen: it starts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from statistics import median

from benchmarks.calibrating.day import simulated
from benchmarks.calibrating.live import live
from singlepoint.scheduler.policy.named import POLICIES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", action="append", choices=[*POLICIES])
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("simulated", "live"))
    options = parser.parse_args()
    parts: Mapping[str, Callable[[str], None]] = {
        "simulated": lambda policy: _print_simulated(policy, options.seeds),
        "live": lambda policy: _print_live(policy, options.jobs),
    }
    for policy in options.policy or ["feedback"]:
        for name, part in parts.items():
            if options.only in (None, name):
                part(policy)


def _print_simulated(policy: str, seeds: int) -> None:
    for seed in range(seeds):
        for tally in simulated(policy, seed):
            print(tally, flush=True)


def _print_live(policy: str, count: int) -> None:
    tallies, errors = live(policy, count)
    for tally in tallies:
        print(tally)
    print(
        f"processor time after three like jobs off by {100 * median(errors):.1f}% (median of {len(errors)})", flush=True
    )


if __name__ == "__main__":
    main()
