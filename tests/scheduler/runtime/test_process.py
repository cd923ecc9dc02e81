"""The scheduler as a process: one per home, stops when told, rides out an outage of a real Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from singlepoint.jobs.broker.address import locate
from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.broker.rq_names import rq_id
from singlepoint.jobs.broker.rq_queues import DispatchQueue
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import LONGEST_S, accept

ROOT = Path(__file__).resolve().parents[3]
SERVE = (
    "import sys; from singlepoint.jobs.store.home import open_home; "
    "from singlepoint.jobs.broker.embedded import run; run(open_home(sys.argv[1]))"
)


def wait_until(condition: Callable[[], object], describe: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < deadline, f"never; last seen: {describe()}"
        time.sleep(0.005)


class Process:
    """A scheduler of its own. `log` is what it has said so far."""

    def __init__(self, home: Home, redis_url: str, *options: str) -> None:
        self.log_path = home.path / "scheduler.log"
        command = [sys.executable, "-m", "singlepoint", "--home", str(home.path), "--redis-url", redis_url]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "scheduler", "--budget", "cpu=1", *options],
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.fixture
def running(home: Home, redis_url: str) -> Iterator[Process]:
    running = Process(home, redis_url)
    wait_until(lambda: "redis_reached" in running.log, lambda: running.log)
    yield running
    running.process.kill()
    running.process.wait()


def submit(store: JobStore, connection: redis.Redis) -> Job:
    job = accept(store)
    Index(connection, store.home.uuid).tell(job)
    return job


def test_it_dispatches_what_is_submitted_and_ends_with_0_when_told_to_stop(
    running: Process, store: JobStore, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        job = submit(store, connection)
        wait_until(lambda: store.load(job.id).state is State.QUEUED, lambda: running.log)
        wait_until(lambda: "job_dispatched" in running.log, lambda: running.log)
        assert f"job_dispatched job={job.id} attempt=1 cores=" in running.log
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 5
    assert "scheduler_stopped" in running.log
    capacity = read_capacity(store.home)
    assert capacity is not None
    assert not capacity.is_live()


def test_a_second_one_ends_with_75_and_says_who_is_first(running: Process, home: Home, redis_url: str) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "singlepoint", "--home", str(home.path), "--redis-url", redis_url, "scheduler"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 75
    assert f"scheduler is already running: process {running.process.pid}" in second.stderr


def test_one_that_was_killed_is_followed_by_another_at_once(running: Process, home: Home, redis_url: str) -> None:
    running.process.kill()
    running.process.wait()
    other = Process(home, redis_url)
    wait_until(lambda: other.log.count("redis_reached") == 2, lambda: other.log)
    assert other.stop() == 0


def test_redis_away_is_said_once_and_what_happened_meanwhile_is_found(short_home: Home) -> None:
    home, store = short_home, JobStore(short_home)
    url = locate(home).url
    server = serve(home)
    scheduler = Process(home, url)
    try:
        wait_until(lambda: "redis_reached" in scheduler.log, lambda: scheduler.log)
        server.kill()
        server.wait()
        wait_until(lambda: "redis_away" in scheduler.log, lambda: scheduler.log)
        job, gone = accept(store), accept(store)
        store.move(gone.id, Event.CANCEL, 1_900_000_000.0)
        server = serve(home)
        wait_until(lambda: store.load(job.id).state is State.QUEUED, lambda: scheduler.log)
        with redis.Redis.from_url(url) as connection:
            queue, index = DispatchQueue(connection, home.uuid), Index(connection, home.uuid)
            wait_until(lambda: queue.run_ids() == {rq_id(job.id, 1)}, queue.run_ids)
            wait_until(lambda: {r["id"]: r["state"] for r in index.summaries()} == {job.id: "queued"}, index.summaries)
        assert scheduler.log.count("redis_away") == 1
        assert scheduler.stop() == 0
    finally:
        scheduler.process.kill()
        scheduler.process.wait()
        server.kill()
        server.wait()


def test_it_stops_at_once_while_redis_is_away(short_home: Home) -> None:
    scheduler = Process(short_home, locate(short_home).url)
    wait_until(lambda: "scheduler_started" in scheduler.log, lambda: scheduler.log)
    assert scheduler.stop() == 0


def serve(home: Home) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SERVE, str(home.path)], stderr=subprocess.DEVNULL)
