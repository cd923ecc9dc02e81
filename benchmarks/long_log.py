"""A command that prints a gigabyte: how long that takes, what is kept of it, and what its neighbour notices.

    python -m benchmarks.long_log [--mib 1024]

On two cores, a core each; the neighbour does the same arithmetic beside it and beside a command that sleeps. The ratio
is the time it took beside the one to that beside the other. What is printed goes through the attempt, which cuts the
log under way.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.worker.ground.job_log import LIMIT_BYTES
from tests.system.machine import Machine

WRITER = """
import sys
lines = "".join(f"{n:07d} " + "x" * 91 + "\\n" for n in range(10486))
print("the first line")
for _ in range(int(sys.argv[1])): sys.stdout.write(lines)
print("the last line")
"""
"""A MiB at a time."""

SLEEPER = "import time, sys; time.sleep(float(sys.argv[1]))"
NEIGHBOUR = "for _ in range(60): sum(range(10**6))"


def beside(machine: Machine, code: str, argument: object) -> tuple[Job, Job]:
    """A command and its neighbour, both to their ends."""
    ids = [
        machine.submit("run", "--cpu", "1", "--", sys.executable, "-c", *words)
        for words in ((code, str(argument)), (NEIGHBOUR,))
    ]
    command, neighbour = map(machine.finished, ids)
    return command, neighbour


def ran_s(job: Job) -> float:
    [attempt] = job.attempts
    assert attempt.end == "succeeded" and attempt.ended_at is not None
    return attempt.worked_s(attempt.ended_at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        machine = Machine(Path(place), budget="cpu=2,memory=2GiB").start()
        try:
            writer, noticed = beside(machine, WRITER, options.mib)
            _, undisturbed = beside(machine, SLEEPER, ran_s(writer))
            log = machine.home.job_files(writer.id).log.read_text()
            usage = writer.attempts[0].usage
        finally:
            machine.stop()
    assert "the first line\n" in log and "the last line\n" in log and "lines were cut here" in log
    assert len(log) <= LIMIT_BYTES + 2**20 and usage is not None
    printed = format_bytes(options.mib * 2**20)
    print(f"{printed} printed in {ran_s(writer):.1f} s, {usage.cpu_s:.1f} s of a core, both ends included")
    print(f"  kept {format_bytes(len(log))}, memory of it all at most {format_bytes(usage.peak_memory_bytes)}")
    print(f"  its neighbour took {ran_s(noticed) / ran_s(undisturbed):.2f} times what it takes beside one that sleeps")


if __name__ == "__main__":
    main()
