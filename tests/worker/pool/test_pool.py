"""The pool of workers, asked to stop at the worst instant."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.worker.ground import tree
from singlepoint.worker.pool import rq_worker
from singlepoint.worker.pool.orphans import end_orphans
from singlepoint.worker.pool.pool import REQUESTS_TO_STOP, Pool
from tests.conftest import accept
from tests.worker.making import ends


@pytest.fixture
def pool(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """A pool with one place, that hears signals; its worker would end at once, with status 0."""
    monkeypatch.setattr(rq_worker, "run", lambda *_: None)
    made = Pool(home, None, 1)
    before = {number: signal.signal(number, made._on_signal) for number in REQUESTS_TO_STOP}
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def signalled_in_fork(monkeypatch: pytest.MonkeyPatch, *, child: bool) -> None:
    """Have a fork after which the first thing that happens, in the child or here, is a SIGTERM."""
    fork = os.fork

    def fork_and_signal() -> int:
        pid = fork()
        if child is (pid == 0):
            os.kill(os.getpid(), signal.SIGTERM)
        return pid

    monkeypatch.setattr(os, "fork", fork_and_signal)


@pytest.mark.parametrize("child", [True, False])
@pytest.mark.parametrize("thread", [False, True])
def test_a_request_to_stop_in_the_middle_of_a_fork_ends_the_worker(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, child: bool, thread: bool
) -> None:
    if thread:  # of some library's: it takes the signal that the pool's own holds back
        done = threading.Event()
        request.addfinalizer(done.set)
        threading.Thread(target=done.wait, args=(60,), daemon=True).start()
    if not child:  # it waits for the signal that the pool passes on
        monkeypatch.setattr(rq_worker, "run", lambda *_: signal.pause())
    signalled_in_fork(monkeypatch, child=child)
    slot = pool._slots[0]

    pool._start(slot)

    assert os.waitpid(slot.pid, 0)[1] == signal.SIGTERM


def test_a_worker_that_ends_again_and_again_does_not_keep_the_pool_from_the_others(pool: Pool) -> None:
    slot = pool._slots[0]
    pool._start(slot)

    for _ in range(3):
        assert slot.pid, "it may start again at once the first times"
        pool._ended(slot, os.waitpid(slot.pid, 0)[1])

    assert slot.pid == 0
    assert slot.due_at > slot.started_at


def test_a_worker_that_a_full_redis_turns_away_says_so_in_one_line(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def turned_away(*_arguments: object) -> None:
        raise redis.OutOfMemoryError("OOM command not allowed when used memory > 'maxmemory'.")

    monkeypatch.setattr(rq_worker, "run", turned_away)
    log, handler = logging.getLogger("singlepoint.worker"), logging.FileHandler(tmp_path / "said")
    log.addHandler(handler)
    pool._start(pool._slots[0])
    os.waitpid(pool._slots[0].pid, 0)
    log.removeHandler(handler)

    [line] = (tmp_path / "said").read_text().splitlines()
    assert "worker_failed" in line and "Redis refuses to be written to: it is full" in line


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine: nobody's files can be looked at here")
@pytest.mark.parametrize("attempt_lives", [False, True])
def test_what_a_killed_pool_left_of_a_command_is_ended_by_the_next_unless_its_attempt_lives(
    home: Home, store: JobStore, attempt_lives: bool
) -> None:
    job = accept(store)
    lock = os.open(store.lock_path(job.id), os.O_RDWR | os.O_CREAT)
    environment = {**os.environ, tree.JOB_ID_VARIABLE: job.id}
    command = subprocess.Popen(["sleep", "600"], env=environment, pass_fds=[lock], start_new_session=True)
    try:
        if not attempt_lives:
            os.close(lock)  # the attempt, here this process, has gone with its pool
        end_orphans(home)
        assert ends(command.pid) if not attempt_lives else command.poll() is None
    finally:
        command.kill()
        command.wait()
        if attempt_lives:
            os.close(lock)


def test_a_worker_more_is_there_as_long_as_one_only_keeps_a_paused_attempt(pool: Pool) -> None:
    pool._slots[0].paused = True
    pool._fit_to_work()
    assert len(pool._slots) == 2

    pool._slots[0].paused = False
    pool._fit_to_work()

    assert len(pool._slots) == 1


def test_nobody_is_hired_after_a_request_to_stop(pool: Pool) -> None:
    os.kill(os.getpid(), signal.SIGTERM)

    pool._start(pool._slots[0])

    assert pool._slots[0].pid == 0
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(REQUESTS_TO_STOP)


def test_a_request_to_stop_while_a_worker_is_reaped_does_not_end_the_pool(pool: Pool) -> None:
    slot = pool._slots[0]
    pool._start(slot)
    os.waitpid(slot.pid, 0)

    pool._on_signal(signal.SIGTERM, None)

    assert pool._stopping
