"""The scheduler is killed before each of its writes, once; another one takes over, and the end is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from singlepoint.jobs.broker.rq_names import rq_id
from singlepoint.jobs.lifecycle.states import Ask, State
from singlepoint.jobs.store.job_store import JobStore
from tests.scheduler.pretend import Bench

ROOT = Path(__file__).resolve().parents[3]

PASS = """
import sys
import redis
from singlepoint.jobs.store.home import open_home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.runtime.loop import Scheduler
from singlepoint.scheduler.simulation.paper import budget

scheduler = Scheduler(JobStore(open_home(sys.argv[1])), lambda: redis.Redis.from_url(sys.argv[2]), budget(1), range(1))
scheduler.start()
scheduler.look()
while scheduler.is_unfinished:
    scheduler.look()
"""


@pytest.fixture
def bench(store: JobStore, redis_url: str) -> Iterator[Bench]:
    with redis.Redis.from_url(redis_url) as connection:
        bench = Bench(store, connection, cpu=1)
        bench.scheduler.look()  # marks the index complete, as it is in ordinary life
        yield bench


def one_pass(bench: Bench, redis_url: str, failpoint: str = "") -> int:
    """Another scheduler starts, looks until nothing is left to do, and ends; its exit code, negative for a signal."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SINGLEPOINT_FAILPOINT": failpoint}
    command = [sys.executable, "-c", PASS, str(bench.store.home.path), redis_url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 0:
        raise AssertionError(done.stderr)
    return done.returncode


def killed_at(bench: Bench, redis_url: str, failpoint: str) -> None:
    assert one_pass(bench, redis_url, f"{failpoint}:kill") == -signal.SIGKILL, f"{failpoint} was never reached"
    assert one_pass(bench, redis_url) == 0


@pytest.mark.parametrize("failpoint", ["capacity", "history.dispatch", "queue.push", "index.tell"])
def test_killed_while_dispatching(bench: Bench, redis_url: str, failpoint: str) -> None:
    job_id = bench.submit()
    other = bench.submit()
    killed_at(bench, redis_url, failpoint)
    assert bench.states() == bench.told() == {job_id: "queued", other: "pending"}
    assert bench.load(job_id).attempt == 1
    assert bench.queue.run.job_ids == [rq_id(job_id, 1)]
    assert bench.queue.waiting.job_ids == [rq_id(other, 1)]


@pytest.mark.parametrize("failpoint", ["history.lose", "history.dispatch", "queue.push", "index.tell", "index.tell@2"])
def test_killed_while_rescuing(bench: Bench, redis_url: str, failpoint: str) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.look()
    bench.die(job_id)
    killed_at(bench, redis_url, failpoint)
    job = bench.load(job_id)
    assert (job.state, job.attempt) == (State.QUEUED, 2)
    assert [attempt.end for attempt in job.attempts] == ["killed", None]
    assert bench.told() == {job_id: "queued"}
    assert bench.queue.run.job_ids == [rq_id(job_id, 2)]
    assert bench.queue.waiting.job_ids == []


@pytest.mark.parametrize("failpoint", ["index.epoch", "history.dispatch", "queue.push", "index.tell"])
def test_killed_while_rebuilding_what_redis_lost(bench: Bench, redis_url: str, failpoint: str) -> None:
    ended = bench.submit()
    bench.look()
    bench.claim()
    bench.end(ended)
    waiting = bench.submit()
    bench.connection.flushall()
    killed_at(bench, redis_url, failpoint)
    assert bench.states() == bench.told() == {ended: "succeeded", waiting: "queued"}
    assert bench.queue.run.job_ids == [rq_id(waiting, 1)]
    assert bench.index.is_complete()


@pytest.mark.parametrize("failpoint", ["history.fail", "index.tell"])
def test_killed_while_failing_what_can_never_start(bench: Bench, redis_url: str, failpoint: str) -> None:
    job_id = bench.submit(after=["gone"])
    other = bench.submit(after=[job_id])
    killed_at(bench, redis_url, failpoint)
    assert bench.states() == bench.told() == {job_id: "failed", other: "failed"}
    assert bench.load(other).reason == f"comes after {job_id}, which failed"
    assert bench.queue.waiting.job_ids == []


def test_killed_while_asking_for_room(bench: Bench, store: JobStore, redis_url: str) -> None:
    wide = Bench(store, bench.connection, cpu=2)
    first, second = wide.submit(), wide.submit()
    wide.look()
    wide.claim()
    wide.claim()
    killed_at(bench, redis_url, "history.ask")
    assert Ask.PREEMPT in bench.load(second).asks
    assert not bench.load(first).asks
