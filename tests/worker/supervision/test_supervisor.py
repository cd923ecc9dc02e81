"""The supervisor, with real processes and real signals: it runs in a child of the test, as it does in life."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from singlepoint.jobs.host.processes import started
from singlepoint.worker.ground.slot import Patience
from tests.conftest import LONGEST_S

RUN = """
import logging, sys
from singlepoint.worker.supervision.supervisor import Child, Supervisor
logging.basicConfig(level="INFO", format="%(message)s")
children = [Child(name, ("/bin/sh", "-c", script), grace_s=float(grace)) for name, grace, script in {children!r}]
sys.exit(Supervisor(children).run())
"""
SLEEPER = "echo $$ >> {file}; exec sleep 60"


def wait_until(condition: Callable[[], object], describe: Callable[[], object], limit_s: float = LONGEST_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit_s} s in vain; last seen: {describe()}"
        time.sleep(0.005)


class Supervised:
    """A supervisor process, whose children each write their pid into a file of their name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *children: tuple[str, float, str]) -> subprocess.Popen[bytes]:
        scripts = [(name, grace, script.format(file=self.directory / name)) for name, grace, script in children]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-c", RUN.format(children=scripts)], stderr=log)
        for name, _, _ in children:
            self.wait_for_starts(name, 1)
        return self.process

    def pids(self, name: str) -> list[int]:
        file = self.directory / name
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def wait_for_starts(self, name: str, count: int) -> None:
        wait_until(lambda: len(self.pids(name)) >= count, lambda: (self.pids(name), self.said()))

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    one = Supervised(tmp_path)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()
    for file in tmp_path.iterdir():
        for pid in one.pids(file.name) if file.name != "log" else []:
            if started(pid) is not None:
                os.kill(pid, signal.SIGKILL)


def test_a_killed_child_is_started_again_at_once(supervised: Supervised) -> None:
    supervised.start(("a", 5, SLEEPER))

    os.kill(supervised.pids("a")[0], signal.SIGKILL)

    supervised.wait_for_starts("a", 2)
    assert "again_in_s=0.0" in supervised.said()


def test_a_child_that_keeps_dying_is_started_later_and_later(supervised: Supervised) -> None:
    supervised.start(("a", 5, "echo $$ >> {file}; exit 3"))

    supervised.wait_for_starts("a", 5)

    delays = [line.rpartition("=")[2] for line in supervised.said().splitlines() if "child_died" in line]
    assert delays[:4] == ["0.0", "0.0", "0.1", "0.2"]


def test_the_delay_has_a_limit_and_a_kill_from_outside_a_lower_one() -> None:
    patience = Patience()
    assert patience.delay_s(1) == patience.delay_s(2) == 0
    assert patience.delay_s(2000) == patience.longest_s
    assert patience.delay_s(2000, killed=True) < 1


def test_the_last_child_is_ended_first(supervised: Supervised) -> None:
    process = supervised.start(("first", 5, SLEEPER), ("second", 5, SLEEPER), ("third", 5, SLEEPER))

    process.terminate()

    assert process.wait(timeout=LONGEST_S) == 0
    died = [line.split()[1] for line in supervised.said().splitlines() if line.startswith("child_died")]
    assert died == ["name=third", "name=second", "name=first"]


def test_a_child_that_will_not_end_is_killed_after_its_grace(supervised: Supervised) -> None:
    process = supervised.start(("stubborn", 0.2, "trap '' TERM; echo $$ >> {file}; while :; do sleep 60; done"))

    process.terminate()

    assert process.wait(timeout=LONGEST_S) == 0
    assert "child_killed name=stubborn" in supervised.said()


def test_a_child_that_stands_still_ends_when_it_is_asked_to(supervised: Supervised) -> None:
    process = supervised.start(("halted", 3600, SLEEPER))
    os.kill(supervised.pids("halted")[0], signal.SIGSTOP)

    process.terminate()

    assert process.wait(timeout=LONGEST_S) == 0


def test_a_second_request_cuts_the_grace_short(supervised: Supervised) -> None:
    process = supervised.start(("stubborn", 3600, "trap '' TERM; echo $$ >> {file}; while :; do sleep 60; done"))

    process.terminate()
    wait_until(lambda: "child_asked_to_end" in supervised.said(), supervised.said)
    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=LONGEST_S) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="this machine: only Linux ends children with their parent")
def test_no_child_outlives_a_killed_supervisor(supervised: Supervised) -> None:
    process = supervised.start(("a", 5, SLEEPER), ("b", 5, SLEEPER))

    process.kill()
    process.wait()

    for name in ("a", "b"):
        pid = supervised.pids(name)[0]
        wait_until(lambda pid=pid: started(pid) is None, lambda pid=pid: f"{pid} lives", limit_s=5)  # type: ignore[misc]


def test_what_a_dead_child_left_in_its_group_is_killed_before_the_next_start(supervised: Supervised) -> None:
    supervised.start(("parent", 5, "sleep 60 & echo $! >> {file}; wait"))
    leftover = supervised.pids("parent")[0]
    wait_until(lambda: "child_started" in supervised.said(), supervised.said)  # said after the start
    parent = int(next(line for line in supervised.said().splitlines() if "child_started" in line).rpartition("=")[2])

    os.kill(parent, signal.SIGKILL)

    supervised.wait_for_starts("parent", 2)
    wait_until(lambda: started(leftover) is None, lambda: f"{leftover} lives")


def test_a_child_that_says_another_start_is_useless_ends_all_with_its_code(supervised: Supervised) -> None:
    process = supervised.start(("a", 5, SLEEPER), ("misled", 5, "echo $$ >> {file}; exit 64"))

    assert process.wait(timeout=LONGEST_S) == 64
    assert started(supervised.pids("a")[0]) is None


def test_a_command_that_does_not_exist_does_not_end_the_others(supervised: Supervised, tmp_path: Path) -> None:
    code = """
import logging
from singlepoint.worker.supervision.supervisor import Child, Supervisor
logging.basicConfig(level="INFO", format="%(message)s")
Supervisor([Child("ghost", ("/nonexistent/program",)), Child("a", ("/bin/sh", "-c", {script!r}))]).run()
"""
    script = SLEEPER.format(file=tmp_path / "a")
    with supervised.log.open("wb") as log:
        supervised.process = subprocess.Popen([sys.executable, "-c", code.format(script=script)], stderr=log)

    supervised.wait_for_starts("a", 1)
    wait_until(lambda: "child_not_started name=ghost" in supervised.said(), supervised.said)
