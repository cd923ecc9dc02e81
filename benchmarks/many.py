"""Many jobs through one home: handed in, waiting, cancelled, done; and what all of them leave behind.

    python -m benchmarks.many [--jobs 10000] [--through 10000] [--workers 2]

First as many trainings as `--jobs` says are handed in by one client, with the scheduler running and no room for them,
and all are cancelled by one command. Then `--through` tiny commands run one after another, and every tenth part of
them the memory and the open files of scheduler and pool are read, and what Redis holds: flat after the first part, and
for an ended job no more than a trace.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from singlepoint import submit_many
from singlepoint.jobs.broker.rq_queues import DispatchQueue
from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.worker.ground.process import resident_bytes
from tests.system.machine import Machine, wait_until, write_training

PARTS = 10


def hand_in_and_cancel(machine: Machine, jobs: int) -> None:
    """How long both take when nothing can start: the machine drains."""
    machine.run("drain")
    spec = machine.directory / write_training(machine.directory, name="tiny", epochs=1)
    begun = time.perf_counter()
    ids = submit_many([spec] * jobs, home=machine.home.path)
    handed_in_s = time.perf_counter() - begun
    session = open_session(Settings(machine.home.path), brief=False)
    waiting = DispatchQueue(session.connection, session.home.uuid).waiting
    wait_until(lambda: waiting.count == jobs, lambda: waiting.count, 600)
    seen_s = time.perf_counter() - begun
    begun = time.perf_counter()
    machine.run("cancel", "--all", timeout_s=600)
    cancelled_s = time.perf_counter() - begun
    wait_until(lambda: waiting.count == 0, lambda: waiting.count, 600)
    gone_s = time.perf_counter() - begun
    assert all(machine.job(job_id).state == "cancelled" for job_id in ids[:: max(1, jobs // 100)])
    machine.run("drain", "--off")
    print(f"{jobs} trainings from one client")
    print(f"  submit_many                 {handed_in_s:7.1f} s, {seen_s:.1f} s until rq shows them all")
    print(f"  `singlepoint cancel --all`  {cancelled_s:7.1f} s, {gone_s:.1f} s until rq shows none")


def held(machine: Machine, connection: redis.Redis) -> dict[str, int]:
    """Memory and open files of scheduler and pool, and what Redis uses, now."""
    found = {}
    for name in ("scheduler", "worker"):
        pid = min(machine.pids(name))
        found[f"{name} KiB"] = (resident_bytes(pid) or 0) // 1024
        found[f"{name} files"] = len(os.listdir(f"/proc/{pid}/fd"))
    found["redis B"] = int(connection.info("memory")["used_memory"])
    found["rq keys"] = sum(1 for _ in connection.scan_iter("rq:job:*"))
    return found


def go_through(machine: Machine, jobs: int) -> Iterator[dict[str, int]]:
    """Run that many tiny commands; what is held before, and after every part."""
    connection = redis.Redis(unix_socket_path=str(machine.home.redis / "redis.sock"))
    yield held(machine, connection)
    spec = {"kind": "run", "name": "tiny", "command": ["true"], "resources": {"cpu": 1, "memory": "64MiB"}}
    for _ in range(PARTS):
        for job_id in submit_many([spec] * (jobs // PARTS), home=machine.home.path):
            job = machine.finished(job_id, 600)
            assert job.state == "succeeded", job
        time.sleep(1.0)  # so that the last one's process is gone
        yield held(machine, connection)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--through", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory), workers=options.workers, budget=f"cpu={options.workers},memory=4GiB").start()
        try:
            if options.jobs:
                hand_in_and_cancel(machine, options.jobs)
            if options.through:
                begun = time.perf_counter()
                rows = list(go_through(machine, options.through))
                print_growth(rows, options.through, time.perf_counter() - begun)
        finally:
            machine.stop()


def print_growth(rows: list[dict[str, int]], jobs: int, took_s: float) -> None:
    print(f"{jobs} tiny commands, {jobs / took_s:.1f} a second")
    print("  after   " + "  ".join(f"{name:>15}" for name in rows[0]))
    for part, row in enumerate(rows):
        print(f"  {part * (jobs // PARTS):6d}  " + "  ".join(f"{value:15d}" for value in row.values()))
    first, last = rows[1], rows[-1]
    for name in first:
        if name.endswith(("KiB", "files")):
            rest = statistics.mean(row[name] for row in rows[-3:])
            print(f"  {name} after the first part: {100 * (rest / first[name] - 1):+.1f} %")
    grown = (last["redis B"] - first["redis B"]) / (jobs - jobs // PARTS)
    print(f"  Redis grew by {grown:.0f} bytes an ended job")


if __name__ == "__main__":
    main()
