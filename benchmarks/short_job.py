"""A short job handed in to a full machine: how long until it runs, and whether the long ones it puts down end the same.

    python -m benchmarks.short_job [--jobs 6]

As many long trainings as there are cores run, one of them undisturbed afterwards, too. Each short job comes when those
that run have done what a policy leaves them at least (twenty times what switching costs). Prints the seconds from its
submission to its start, how often trainings were put down, and how many of them differ in a bit: none should.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.faulting.jobs import submit_spec, training, write_digits
from singlepoint.jobs.clock import now
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from tests.system.machine import Machine, wait_until

CORES = len(os.sched_getaffinity(0))
LEFT_ALONE_S = 12.0
LONG_EPOCHS = 5000
LONGEST_S = 900.0


def long_training(machine: Machine, name: str) -> str:
    spec = training(name, "dense", "adam", interval_s=None)
    spec["training"]["epochs"] = LONG_EPOCHS
    return submit_spec(machine, spec)


def put_in_between(machine: Machine, longs: list[str], count: int) -> list[Job]:
    """Short jobs, one by one, into a machine that is full of these."""

    def is_full() -> bool:
        return all(
            machine.job(one).state is State.RUNNING and _stint_s(machine.job(one)) > LEFT_ALONE_S for one in longs
        )

    found = []
    for number in range(count):
        wait_until(is_full, machine.tail, LONGEST_S)
        short = machine.submit("run", "--name", f"short-{number}", "--", "true")
        found.append(machine.wait(short, lambda job: job.is_final))
    return found


def _stint_s(job: Job) -> float:
    """How long it has run since it was started last; 0 while it does not."""
    newest = job.newest
    if job.state is not State.RUNNING or job.paused or newest is None or newest.started_at is None:
        return 0.0
    return now() - newest.started_at - newest.paused_s


def waited_s(job: Job) -> float:
    return (job.attempts[0].started_at or float("inf")) - job.submitted_at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        machine = Machine(Path(place), budget=f"cpu={CORES}", workers=CORES)
        write_digits(machine.directory)
        machine.start()
        try:
            longs = [long_training(machine, f"long-{number}") for number in range(CORES)]
            shorts = put_in_between(machine, longs, options.jobs)
            ended = [machine.wait(one, lambda job: job.is_final, LONGEST_S) for one in longs]
            calm = machine.wait(long_training(machine, "calm"), lambda job: job.is_final, LONGEST_S)
        finally:
            machine.stop()
    waits = sorted(map(waited_s, shorts))
    put_down = sum(len(job.attempts) - 1 for job in ended)
    paused_s = sum(attempt.paused_s for job in ended for attempt in job.attempts)
    differing = sum(job.result["sha256"] != calm.result["sha256"] for job in ended if job.result and calm.result)
    print(f"{len(waits)} short jobs: from submission to start {median(waits):.2f} s median, {waits[-1]:.2f} s longest")
    print(f"trainings put down {put_down} times and paused for {paused_s:.1f} s; {differing} of {len(ended)} differ")


if __name__ == "__main__":
    main()
