"""Tiny jobs a second through the whole path, beside plain RQ: same broker, same number of workers, one run.

    python -m benchmarks.throughput [--jobs 200] [--workers 2] [--rounds 4]

Each job trains the same small network for one epoch. Plain RQ is measured twice: as its command line starts it,
and tuned (numpy loaded before the fork, as our workers have it). It keeps no history, enforces no budget and
survives no kill; the ratio is the price of that. Ours and the tuned one take turns, and the ratio is the median of the
rounds', so that a machine that is not quite idle harms both alike. Submit latency is that of `submit()` in a running
process, and of the whole command; to the start, from the moment the job is safe on the disk, with nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis
from rq import Queue

from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.client.submit import announce, facts_of
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.file import parse_file
from singlepoint.jobs.spec.job import to_json
from tests.system.machine import ROOT, Machine, wait_until, write_training

_TUNED = """
import sys, numpy
import singlepoint
singlepoint.Model
import redis
from rq import Queue, Worker
Worker([Queue(sys.argv[2], connection=redis.Redis(unix_socket_path=sys.argv[1]))],
       connection=redis.Redis(unix_socket_path=sys.argv[1])).work(logging_level="WARNING")
"""


ALONE = 20
"""Jobs that are handed in one after another, each when nothing else is to do."""


@contextmanager
def plain_workers(socket: Path, queue: str, count: int, *, tuned: bool) -> Iterator[None]:
    """RQ workers of a queue, as processes of their own."""
    command = (
        [sys.executable, "-c", _TUNED, str(socket), queue]
        if tuned
        else [str(Path(sys.executable).with_name("rq")), "worker", "--quiet", "--url", f"unix://{socket}", queue]
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    workers = [subprocess.Popen(command, env=environment, cwd=ROOT) for _ in range(count)]
    try:
        connection = redis.Redis(unix_socket_path=str(socket))
        wait_until(lambda: connection.scard(f"rq:workers:{queue}") == count, lambda: "workers did not come up")
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def plain(machine: Machine, jobs: int, workers: int, name: str, *, tuned: bool) -> float:
    """Jobs a second of plain RQ, from the first enqueue to the last end."""
    socket = machine.home.redis / "redis.sock"
    queue = Queue(f"plain-{name}", connection=redis.Redis(unix_socket_path=str(socket)))
    with plain_workers(socket, queue.name, workers, tuned=tuned):
        begun = time.perf_counter()
        for _ in range(jobs):
            queue.enqueue("benchmarks.plain_job.train_once", str(machine.directory / "wdbc.csv"))
        wait_until(lambda: queue.finished_job_registry.count == jobs, lambda: queue.finished_job_registry.count, 300)
        return jobs / (time.perf_counter() - begun)


def ours(machine: Machine, jobs: int) -> tuple[float, list[float]]:
    """Jobs a second of ours, and the seconds each `submit()` took."""
    from singlepoint import submit

    spec = machine.directory / write_training(machine.directory, name="tiny", epochs=1)
    latencies, ids = [], []
    begun = time.perf_counter()
    for _ in range(jobs):
        before = time.perf_counter()
        ids.append(submit(spec, home=machine.home.path))
        latencies.append(time.perf_counter() - before)
    for job_id in ids:
        job = machine.finished(job_id, 300)
        assert job.state == "succeeded", job
    return jobs / (time.perf_counter() - begun), latencies


def starts(machine: Machine) -> list[float]:
    """Seconds from the moment a job is safe on the disk to the start of its attempt, on a machine that is idle."""
    session, found = open_session(Settings(machine.home.path)), []
    spec = parse_file(machine.directory / write_training(machine.directory, name="alone", epochs=1))
    session.require_redis()
    for _ in range(ALONE):
        job = session.store.create(to_json(spec), facts_of(machine.home, Checked(spec)), time.time())
        kept_at = time.time()
        announce(session, job)
        started_at = machine.finished(job.id).attempts[0].started_at
        assert started_at is not None
        found.append(started_at - kept_at)
        wait_until(partial(_is_over, machine, job.id), machine.tail)
    return found


def _is_over(machine: Machine, job_id: str) -> bool:
    return not machine.store.is_being_worked_on(job_id)


def command_latency(machine: Machine) -> float:
    """Seconds of one `singlepoint submit`, interpreter start included; median of five."""
    times = []
    for _ in range(5):
        before = time.perf_counter()
        machine.finished(machine.submit("train", "tiny.toml"))
        times.append(time.perf_counter() - before)
    before = time.perf_counter()
    job = machine.submit("train", "tiny.toml")
    took = time.perf_counter() - before
    machine.finished(job)
    return took


def in_turns(machine: Machine, jobs: int, workers: int, rounds: int) -> list[tuple[float, float, list[float]]]:
    """Jobs a second of ours and of plain RQ, tuned, round by round; and what each `submit()` took."""
    found = []
    for number in range(rounds):
        rate, latencies = ours(machine, jobs // rounds)
        found.append((rate, plain(machine, jobs // rounds, workers, f"tuned-{number}", tuned=True), latencies))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory), workers=options.workers, budget=f"cpu={options.workers},memory=4GiB").start()
        try:
            alone = starts(machine)
            rounds = in_turns(machine, options.jobs, options.workers, options.rounds)
            command_s = command_latency(machine)
            default = plain(machine, options.jobs // options.rounds, options.workers, "as-started", tuned=False)
        finally:
            machine.stop()
    rate, tuned = (statistics.median(column) for column in list(zip(*rounds, strict=True))[:2])
    ratio = statistics.median(ours / theirs for ours, theirs, _ in rounds)
    latencies = sorted(latency for *_, some in rounds for latency in some)
    p50, p95 = statistics.median(latencies), latencies[int(0.95 * len(latencies))]
    print(f"{options.jobs} tiny trainings, {options.workers} workers")
    print(f"  singlepoint                 {rate:7.1f} jobs/s")
    print(f"  plain RQ, as started        {default:7.1f} jobs/s   ratio {rate / default:5.2f}")
    print(f"  plain RQ, numpy preloaded   {tuned:7.1f} jobs/s   ratio {ratio:5.2f}")
    print(f"  submit() in a process       {1000 * p50:7.2f} ms median, {1000 * p95:.2f} ms p95")
    print(f"  `singlepoint submit`        {1000 * command_s:7.0f} ms, interpreter and checks included")
    print(
        f"  kept to started, when idle  {1000 * statistics.median(alone):7.1f} ms median, {1000 * max(alone):.1f} most"
    )


if __name__ == "__main__":
    main()
