"""What each policy makes of a workload: loads after the model of Lublin and Feitelson, on which nothing was tuned, or a
trace as it was logged and squeezed.

    python -m benchmarks.policies [TRACE.swf] [--squeeze 0.7] [--seeds 3] [--jobs 5000]

For each workload and policy a line: slowdown and waits (`simulation.figures`), switches a job, and the processor time
that the replay took. `srpt` is the bound: shortest remaining first, perfect knowledge, switches that cost nothing.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Iterator
from pathlib import Path

from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.simulation import bound
from singlepoint.scheduler.simulation.figures import figures
from singlepoint.scheduler.simulation.machine import Replay, knows_all, replay
from singlepoint.scheduler.simulation.workload import Workload, lublin, read_swf

SWITCH_S = 10.0
CORES, LOADS = 128, (0.7, 0.9)
CONTENDERS = ("feedback", "easy", "best-effort", "fifo", bound.RULES.name)


def generated(jobs: int, seeds: int) -> Iterator[tuple[str, Workload]]:
    for load in LOADS:
        for seed in range(1, seeds + 1):
            yield f"lublin {seed}, load {load}", lublin(jobs, CORES, load, seed)


def logged(path: Path, squeeze: float | None) -> Iterator[tuple[str, Workload]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        workload = read_swf(file, path.name)
    yield path.name[:16], workload
    if squeeze is not None:
        yield f"squeezed by {squeeze}", workload.squeezed(squeeze)


def played(workload: Workload, policy: str) -> Replay:
    if policy == bound.RULES.name:
        return replay(workload, bound.RULES, 0.0, knows_all)
    return replay(workload, POLICIES[policy], SWITCH_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", nargs="?", type=Path)
    parser.add_argument("--squeeze", type=float)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--policy", action="append", choices=CONTENDERS)
    options = parser.parse_args()
    workloads = logged(options.trace, options.squeeze) if options.trace else generated(options.jobs, options.seeds)
    print(
        f"{'workload':20} {'policy':12} {'slowdown':>9} {'mean':>8} {'longest':>9} {'wide':>8} {'switches':>9}     cpu"
    )
    for name, workload in workloads:
        for policy in options.policy or CONTENDERS:
            began = time.process_time()
            found = figures(played(workload, policy))
            took_s = time.process_time() - began
            waits = (found[f"{what}_s"] for what in ("wait_mean", "wait_max", "wide_wait_mean"))
            mean, longest, wide = (f"{wait_s / 3600:.1f} h" if wait_s is not None else "-" for wait_s in waits)
            print(
                f"{name:20} {policy:12} {found['average_bounded_slowdown']:9.2f} {mean:>8} {longest:>9} {wide:>8} "
                f"{found['preemptions_per_job']:9.2f} {took_s:5.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
