"""A whole singlepoint under test: real processes, a real Redis, real signals, in a home of its own."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from jobs import requests
from jobs.clock import now
from jobs.draining import drain
from jobs.embedded import answers, server_process
from jobs.home import Home, open_home
from jobs.index import LOOK_AT_EVERYTHING
from jobs.records import Job
from jobs.session import Settings, open_session
from jobs.store import JobStore
from singlepoint import submit

T = TypeVar("T")

SHORT_EPOCHS = 120
"""Half a second of the standard training: two checkpoints."""

ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], T | None], describe: Callable[[], object], timeout_s: float = 30.0) -> T:
    """What `condition` answers once that is true; fails with what `describe` shows when it never is."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.005)
    raise AssertionError(f"not within {timeout_s} s; last seen: {describe()}")


def threads_stopped(pid: int) -> bool:
    """Whether every thread of a process has stopped: a signal takes a moment to reach them all."""
    states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


class Machine:
    """`up` in the background, and the command line to speak to it.

    grace_s: how long an attempt may take to answer a request to stop.
    """

    def __init__(
        self, directory: Path, *, budget: str = "cpu=2,memory=4GiB", workers: int = 2, grace_s: float = 30
    ) -> None:
        self.directory = directory
        self.grace_s = grace_s
        self.budget = budget
        self.workers = workers
        self.home: Home = open_home(directory / "home")
        self.failpoint = directory / "failpoint"
        self.store = JobStore(self.home)
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.log = directory / "up.log"

    def start(self) -> Machine:
        """Start the supervisor, as a child of ours, and wait until it is at work."""
        self.launch()
        wait_until(lambda: self.run("doctor", check=False).returncode == 0, self.tail)
        return self

    def launch(self) -> None:
        """Start the supervisor, and do not wait."""
        environment = {"SINGLEPOINT_FAILPOINT": f"@{self.failpoint}", "SINGLEPOINT_GRACE_S": str(self.grace_s)}
        with open(self.log, "ab") as log:
            self.supervisor = subprocess.Popen(
                self._argv("up", "--budget", self.budget, "--workers", str(self.workers)),
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                cwd=self.directory,
            )

    def stop(self) -> None:
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGTERM)
            try:
                self.supervisor.wait(30)
            except subprocess.TimeoutExpired:
                self.supervisor.kill()
                self.supervisor.wait()

    @contextmanager
    def failing(self, place: str, action: str) -> Iterator[None]:
        """Have the services fail at a failpoint: `kill` and `stop` one process once, `enospc` all of them as long as
        this lasts."""
        token = self.directory / f"fired-{place}-{time.monotonic_ns()}"
        self.failpoint.write_text(f"{place}:{action}:{token}" if action != "enospc" else f"{place}:enospc")
        try:
            yield
        finally:
            self.failpoint.unlink()
        assert action == "enospc" or token.exists(), f"{place} was never reached"

    def _argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "singlepoint", "--home", str(self.home.path), *arguments]

    def run(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """One command, in a process of its own."""
        done = subprocess.run(
            self._argv(*arguments),
            capture_output=True,
            text=True,
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            timeout=120,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stderr}\n{self.tail()}"
        return done

    def tail(self) -> str:
        return self.log.read_text()[-3000:] if self.log.exists() else ""

    def train(self, name: str, **changes: Any) -> str:
        """Submit the standard training, or a variant of it, under a name; faster than the command."""
        return submit(self.directory / write_training(self.directory, name=name, **changes), home=self.home.path)

    def ask(self, what: str, job_id: str) -> None:
        """`pause`, `cancel`, … as the command does it, but before a short training can end."""
        getattr(requests, what)(open_session(Settings(self.home.path)), job_id, now())

    def drain(self) -> None:
        """As the command does it."""
        drain(self.home, now())
        open_session(Settings(self.home.path)).index.ring(LOOK_AT_EVERYTHING)

    def submit(self, *arguments: str) -> str:
        return self.run("submit", *arguments, "-q").stdout.strip()

    def job(self, job_id: str) -> Job:
        return self.store.load(job_id)

    def show(self, job_id: str) -> dict[str, Any]:
        return dict(json.loads(self.run("show", job_id, "--json").stdout))

    def wait(self, job_id: str, condition: Callable[[Job], bool], timeout_s: float = 60.0) -> Job:
        """The job, once it is as wanted."""

        def as_wanted() -> Job | None:
            job = self.job(job_id)
            return job if condition(job) else None

        return wait_until(as_wanted, lambda: f"{self.job(job_id)}\n{self.tail()}", timeout_s)

    def finished(self, job_id: str, timeout_s: float = 60.0) -> Job:
        return self.wait(job_id, lambda job: job.is_final, timeout_s)

    def step(self, job_id: str) -> int:
        """The step that the running attempt last told of; 0 before it told any."""
        try:
            document = json.loads((self.home.job(job_id) / "progress.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return 0
        return int(document["step"]) if document["attempt"] == self.job(job_id).attempt else 0

    def wait_for_step(self, job_id: str, step: int) -> None:
        wait_until(lambda: self.step(job_id) >= step, lambda: f"{self.step(job_id)} {self.job(job_id)}\n{self.tail()}")

    def wait_for_checkpoint(self, job_id: str) -> None:
        """Until the newest attempt has saved."""

        def saved() -> bool:
            return any((self.home.job(job_id) / "checkpoints").glob(f"*-{self.job(job_id).attempt:04d}.safetensors"))

        wait_until(saved, lambda: f"{self.job(job_id)}\n{self.tail()}")

    @contextmanager
    def held_at_step(self, job_id: str, step: int) -> Iterator[None]:
        """The attempt, suspended soon after that step: it cannot end while the test gets ready to kill somebody."""
        self.wait(job_id, lambda job: job.state == "running")
        self.wait_for_step(job_id, step)
        with self.suspended(job_id):
            yield

    def suspend(self, job_id: str) -> int:
        """Stop the newest attempt at a moment when it does not hold its job's history, which others could not write
        otherwise; its pid."""
        pid = self.child_pid(job_id)
        with self.store.locked_history(job_id):
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: threads_stopped(pid), lambda: f"threads of {pid} still run")
        return pid

    @contextmanager
    def suspended(self, job_id: str) -> Iterator[int]:
        """The newest attempt stands still as long as this lasts; its pid."""
        pid = self.suspend(job_id)
        try:
            yield pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def worker_pid(self, job_id: str) -> int:
        """The rq worker that makes the newest attempt."""
        newest = self.job(job_id).newest
        assert newest is not None and newest.worker is not None
        return int(newest.worker.rsplit("-", 2)[1])

    def child_pid(self, job_id: str) -> int:
        """The process that makes the newest attempt."""
        children = subprocess.run(
            ["pgrep", "-P", str(self.worker_pid(job_id))], capture_output=True, text=True, check=False
        )
        return int(children.stdout.split()[0])

    def server_pid(self) -> int:
        """The Redis server."""
        server = server_process(self.home)
        assert server is not None, self.tail()
        return server.pid

    @contextmanager
    def without_redis(self) -> Iterator[None]:
        """Kill the Redis server, and let none start as long as this lasts; it answers again afterwards."""
        pid = self.server_pid()
        lock = os.open(self.home.lock("broker"), os.O_RDWR)
        try:
            os.kill(pid, signal.SIGKILL)
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever starts the next one is about to try
            yield
        finally:
            os.close(lock)
        wait_until(lambda: answers(self.home), self.tail)

    @contextmanager
    def stopped(self, *pids: int) -> Iterator[None]:
        """Have processes stand still as long as this lasts."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def pids(self, command: str) -> list[int]:
        """Processes of this home whose command line has this word."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if re.search(rf"{re.escape(str(self.home.path))}\b.* {command}\b", line):
                    found.append(int(entry.name))
        return sorted(found)


TRAINING = """\
kind = "train"
name = "{name}"
checkpoint_interval_s = 0.2
[data]
path = "wdbc.csv"
target = "diagnosis"
[model]
hidden = [32, 16]
dropout = 0.1
[training]
epochs = {epochs}
optimiser = {{ type = "{optimiser}", learning_rate = 0.001 }}
seed = 7
[resources]
cpu = 1
memory = "256MiB"
"""


def write_training(directory: Path, *, name: str = "wdbc", epochs: int = 400, optimiser: str = "adam") -> str:
    """A spec of a real training beside its data; answers the spec's name."""
    data = directory / "wdbc.csv"
    if not data.exists():
        data.write_bytes(resources.files("jobs.demo").joinpath("wdbc.csv").read_bytes())
    (directory / f"{name}.toml").write_text(TRAINING.format(name=name, epochs=epochs, optimiser=optimiser))
    return f"{name}.toml"


def write_rows(path: Path, repeats: int) -> None:
    """An input for predictions: the table's rows, over and over, with a number in front."""
    text = resources.files("jobs.demo").joinpath("wdbc.csv").read_text()
    header, *rows = csv.reader(text.splitlines())
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["id", *header])
        for number in range(repeats * len(rows)):
            out.writerow([number, *rows[number % len(rows)]])
