"""A whole singlepoint under test: real processes, a real Redis, real signals, in a home of its own."""

from __future__ import annotations

import csv
import fcntl
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from singlepoint import submit
from singlepoint.jobs.broker.embedded import answers, server_process
from singlepoint.jobs.broker.index import LOOK_AT_EVERYTHING
from singlepoint.jobs.client import control
from singlepoint.jobs.client.entry import read_address
from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.clock import now
from singlepoint.jobs.host.processes import started
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.services.draining import Drain, drain
from singlepoint.jobs.store.home import Home, open_home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import LONGEST_S

T = TypeVar("T")

SHORT_EPOCHS = 120
"""Half a second of the standard training: two checkpoints."""

SECOND_SAVE = "checkpoint.write@2"
"""Where a training that saved once is about to save again: no thread of it holds its job's history here, which others
could not write otherwise."""

ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], T | None], describe: Callable[[], object], timeout_s: float = LONGEST_S) -> T:
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
    states = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            states.add(stat.read_text().rpartition(")")[2].split()[0])
    return states == {"T"}


def is_pending(pid: int, number: signal.Signals) -> bool:
    """Whether a signal waits for a process that stands still."""
    [pending] = re.findall(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(pending, 16) >> (number - 1) & 1)


@functools.cache
def dying_with_us() -> tuple[str, ...]:
    """What to put before a command that must not outlive the tests, should they be ended by force; nothing where the
    system has no such program."""
    words = ("setpriv", "--pdeathsig", "KILL")
    if shutil.which(words[0]) is None:
        return ()
    return () if subprocess.run([*words, "true"], capture_output=True, check=False, timeout=60).returncode else words


class Machine:
    """`up` in the background, and the command line to speak to it.

    grace_s: how long an attempt may take to answer a request to stop.  http: whether the page is served, too, at a
    port that is free.
    """

    def __init__(
        self,
        directory: Path,
        *,
        budget: str = "cpu=2,memory=4GiB",
        workers: int = 2,
        grace_s: float = 30,
        http: bool = False,
    ) -> None:
        self.directory = directory
        self.http = http
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
        place = ("--http", "0") if self.http else ()
        with open(self.log, "ab") as log:
            self.supervisor = subprocess.Popen(
                [*dying_with_us(), *self._argv("up", "--budget", self.budget, "--workers", str(self.workers), *place)],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                cwd=self.directory,
            )

    def stop(self) -> None:
        """End the supervisor and all below it."""
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGTERM)
            self.wait_for_its_end()

    def wait_for_its_end(self) -> None:
        """Until the supervisor, asked to end, has; by force when it takes too long."""
        assert self.supervisor is not None
        try:
            self.supervisor.wait(60)
        except subprocess.TimeoutExpired:
            self.supervisor.kill()
            self.supervisor.wait(60)

    def drain_workers(self, job_id: str) -> None:
        """Ask the supervisor to end; answers when the job's attempt, which stands still, has been asked as well."""
        assert self.supervisor is not None
        pid = self.child_pid(job_id)
        self.supervisor.send_signal(signal.SIGTERM)
        wait_until(lambda: is_pending(pid, signal.SIGTERM), self.tail)

    @contextmanager
    def failing(self, place: str, action: str) -> Iterator[None]:
        """Have the services fail at a failpoint: `kill` and `stop` one process once, `enospc` and `eio` all of them as
        long as this lasts."""
        token = self.directory / f"fired-{place}-{time.monotonic_ns()}"
        lasts = action in ("enospc", "eio")
        self.failpoint.write_text(f"{place}:{action}" if lasts else f"{place}:{action}:{token}")
        try:
            yield
        finally:
            self.failpoint.unlink()
        assert lasts or token.exists(), f"{place} was never reached"

    def _argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "singlepoint", "--home", str(self.home.path), *arguments]

    def run(
        self, *arguments: str, check: bool = True, timeout_s: float = LONGEST_S, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """One command, in a process of its own."""
        done = subprocess.run(
            self._argv(*arguments),
            capture_output=True,
            text=True,
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            timeout=timeout_s,
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
        getattr(control, what)(open_session(Settings(self.home.path)), job_id, now())

    def drain(self) -> None:
        """As the command does it."""
        drain(self.home, Drain(now()), now())
        open_session(Settings(self.home.path)).index.ring(LOOK_AT_EVERYTHING)

    def submit(self, *arguments: str) -> str:
        return self.run("submit", *arguments, "-q").stdout.strip()

    def job(self, job_id: str) -> Job:
        return self.store.load(job_id)

    def show(self, job_id: str) -> dict[str, Any]:
        return dict(json.loads(self.run("show", job_id, "--json").stdout))

    def wait(self, job_id: str, condition: Callable[[Job], bool], timeout_s: float = LONGEST_S) -> Job:
        """The job, once it is as wanted."""

        def as_wanted() -> Job | None:
            job = self.job(job_id)
            return job if condition(job) else None

        return wait_until(as_wanted, lambda: f"{self.job(job_id)}\n{self.tail()}", timeout_s)

    def finished(self, job_id: str, timeout_s: float = LONGEST_S) -> Job:
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
    def held(self, begin: Callable[[], str], place: str) -> Iterator[str]:
        """The job that `begin` begins, whose attempt stops itself at a failpoint: however fast or slow the machine is,
        it cannot end while the test gets ready to disturb it. It goes on afterwards, if it lives."""
        with self.failing(place, "stop"):
            job_id = begin()
            pid = self.wait_until_it_stops(job_id)
        try:
            yield job_id
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def held_training(self, name: str, **changes: Any) -> AbstractContextManager[str]:
        """A training that stands still with a checkpoint behind it."""
        return self.held(lambda: self.train(name, checkpoint_interval_s=0.05, **changes), SECOND_SAVE)

    def wait_until_it_stops(self, job_id: str, attempt: int = 1) -> int:
        """Until that attempt has stopped itself; its pid."""
        self.wait(job_id, lambda job: (job.state, job.attempt) == ("running", attempt))
        pid = self.child_pid(job_id)
        wait_until(lambda: threads_stopped(pid), lambda: f"{pid} {self.job(job_id)}\n{self.tail()}")
        return pid

    def wake(self, job_id: str) -> None:
        """Let the newest attempt go on."""
        os.kill(self.child_pid(job_id), signal.SIGCONT)

    def worker_pid(self, job_id: str) -> int:
        """The rq worker that makes the newest attempt."""
        newest = self.job(job_id).newest
        assert newest is not None and newest.worker is not None
        return int(newest.worker.rsplit("-", 2)[1])

    def child_pid(self, job_id: str) -> int:
        """The process that makes the newest attempt."""
        children = subprocess.run(
            ["pgrep", "-P", str(self.worker_pid(job_id))], capture_output=True, text=True, check=False, timeout=60
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
        lock = os.open(self.home.lock("broker"), os.O_RDWR)

        def taken() -> bool:
            server = server_process(self.home)
            if server is not None:  # the one that was there, or the next one, if it was faster than we
                with suppress(ProcessLookupError):
                    os.kill(server.pid, signal.SIGKILL)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            return False

        try:
            wait_until(taken, self.tail)
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
        """Processes of this home whose command line has this word, the oldest first: their numbers begin anew."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if re.search(rf"{re.escape(str(self.home.path))}\b.* {command}\b", line):
                    found.append(int(entry.name))
        return sorted(found, key=lambda pid: (started(pid) or 0, pid))


TRAINING = """\
kind = "train"
name = "{name}"
retries = {retries}
checkpoint_interval_s = {checkpoint_interval_s}
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


def write_training(
    directory: Path,
    *,
    name: str = "wdbc",
    epochs: int = 400,
    optimiser: str = "adam",
    checkpoint_interval_s: float = 0.2,
    retries: int = 0,
) -> str:
    """A spec of a real training beside its data; answers the spec's name."""
    data = directory / "wdbc.csv"
    if not data.exists():
        data.write_bytes(resources.files("singlepoint.jobs.demo").joinpath("wdbc.csv").read_bytes())
    text = TRAINING.format(
        name=name, epochs=epochs, optimiser=optimiser, checkpoint_interval_s=checkpoint_interval_s, retries=retries
    )
    (directory / f"{name}.toml").write_text(text)
    return f"{name}.toml"


def write_rows(path: Path, repeats: int) -> None:
    """An input for predictions: the table's rows, over and over, with a number in front."""
    text = resources.files("singlepoint.jobs.demo").joinpath("wdbc.csv").read_text()
    header, *rows = csv.reader(text.splitlines())
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["id", *header])
        for number in range(repeats * len(rows)):
            out.writerow([number, *rows[number % len(rows)]])


@contextmanager
def answering(directory: Path) -> Iterator[Machine]:
    """One whose page and predictions answer on a port of their own."""
    one = Machine(directory, grace_s=3, http=True)
    try:
        one.start()
        wait_until(lambda: read_address(one.home), one.tail)
        yield one
    finally:
        one.stop()
