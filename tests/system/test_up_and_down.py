"""`up --detach`, `doctor` and `down` as a user types them, with everything real."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from singlepoint.jobs.broker.embedded import server_process
from singlepoint.jobs.broker.server_program import command, prepare
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.store.home import Home, open_home

from .machine import ROOT, dying_with_us, wait_until

pytestmark = pytest.mark.system


@pytest.fixture
def home() -> Iterator[Home]:
    home = open_home(Path(tempfile.mkdtemp(prefix="sp-")))
    yield home
    singlepoint(home, "down", "--now")
    shutil.rmtree(home.path)


def singlepoint(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / "singlepoint.py"), "--home", str(home.path), *words]
    # Started where a folder is called like one of our packages: it must not be taken for ours.
    (home.path / "elsewhere" / "jobs").mkdir(parents=True, exist_ok=True)
    (home.path / "elsewhere" / "jobs" / "__init__.py").write_text("raise SystemExit('not this one')")
    return subprocess.run(argv, cwd=home.path / "elsewhere", capture_output=True, text=True, timeout=120, check=False)


def doctor(home: Home) -> dict[str, Any]:
    told = json.loads(singlepoint(home, "doctor", "--json").stdout)
    return {check["name"]: check["grade"] for check in told["checks"]}


def test_up_returns_when_all_is_at_work_and_down_when_nothing_is(home: Home) -> None:
    started = singlepoint(home, "up", "--detach", "--workers", "2")
    assert started.returncode == 0, started.stderr
    assert "2 workers" in started.stderr
    grades = doctor(home)
    assert [grades[name] for name in ("broker", "supervisor", "scheduler", "workers")] == ["ok"] * 4

    again = singlepoint(home, "up", "--detach")
    assert (again.returncode, "already" in again.stderr) == (0, True)
    assert singlepoint(home, "up").returncode == 75

    assert singlepoint(home, "down").returncode == 0
    grades = doctor(home)
    assert [grades[name] for name in ("broker", "scheduler", "workers")] == ["away"] * 3


def test_a_killed_supervisor_takes_all_with_it_and_the_next_up_brings_all_back(home: Home) -> None:
    assert singlepoint(home, "up", "--detach", "--workers", "1").returncode == 0
    supervisor = holder(home.lock("supervisor"))
    assert supervisor is not None

    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not supervisor.is_alive(), lambda: supervisor)
    if sys.platform == "linux":
        wait_until(lambda: server_process(home) is None, lambda: server_process(home))

    assert singlepoint(home, "up", "--detach", "--workers", "1").returncode == 0
    assert singlepoint(home, "doctor").returncode == 0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_a_budget_of_one_core_holds_all_of_us_but_what_answers_at_once(home: Home) -> None:
    here = os.sched_getaffinity(0)

    def cores(*, answering: bool = False) -> set[frozenset[int]]:
        """Of all threads of what the supervisor started, which answers at once or does not."""
        supervisor = holder(home.lock("supervisor"))
        assert supervisor is not None
        found = set()
        for process in psutil.Process(supervisor.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError):
                if answering is not {"page", "serving"}.isdisjoint(process.cmdline()):
                    found |= {frozenset(os.sched_getaffinity(thread.id)) for thread in process.threads()}
        return found

    assert singlepoint(home, "up", "--detach", "--http", "0", "--budget", "cpu=1,memory=2GiB").returncode == 0
    published = read_capacity(home)
    assert published is not None and len(published.cores) == 1
    wait_until(lambda: cores() == {frozenset(published.cores)}, cores)
    assert cores(answering=True) == {frozenset(here)}
    assert singlepoint(home, "budget", f"cpu={len(here)}").returncode == 0
    wait_until(lambda: cores() == {frozenset(here)}, cores)


def test_what_budget_shows_after_a_change_is_what_holds_then(home: Home) -> None:
    assert singlepoint(home, "up", "--detach", "--workers", "1", "--budget", "cpu=2,memory=2GiB").returncode == 0
    shown = [
        json.loads(singlepoint(home, "budget", *words, "--json").stdout)["budget"]
        for words in (["memory=1GiB", "gpu=1"], ["--reset"])
    ]
    assert [one["memory_bytes"] for one in shown] == [2**30, 2**31]
    assert [one.get("counted", {}) for one in shown] == [{"gpu": 1}, {}]
    assert singlepoint(home, "down").returncode == 0


def test_a_budget_that_makes_no_sense_is_refused_before_anything_starts(home: Home) -> None:
    refused = singlepoint(home, "up", "--detach", "--budget", "flurbs=some")

    assert refused.returncode == 64
    assert "flurbs" in refused.stderr
    assert not (home.path / "up.log").exists()


def test_a_redis_of_ones_own_is_used_warned_about_and_left_running(home: Home) -> None:
    theirs = open_home(Path(tempfile.mkdtemp(prefix="sp-")))
    argv = [*command(prepare(theirs), theirs), "--appendonly", "no"]
    socket = theirs.redis / "redis.sock"
    with subprocess.Popen([*dying_with_us(), *argv]) as server:
        try:
            wait_until(socket.exists, lambda: "no socket")
            url = ("--redis-url", f"unix://{socket}")

            started = singlepoint(home, "up", "--detach", "--workers", "1", *url)
            assert started.returncode == 0, started.stderr
            assert "keeps nothing on disk" in started.stderr
            assert not home.redis.exists()
            assert singlepoint(home, "down", *url).returncode == 0
            assert server.poll() is None
        finally:
            server.kill()
    shutil.rmtree(theirs.path)


def test_up_says_that_a_redis_of_ones_own_does_not_answer(home: Home) -> None:
    refused = singlepoint(home, "up", "--detach", "--redis-url", "redis://127.0.0.1:1/0")

    assert refused.returncode == 69
    assert "start that server, or correct --redis-url" in refused.stderr
