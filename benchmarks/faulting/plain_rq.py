"""Plain RQ under the same faults: a job that writes down each time it begins, with `Retry(max=3)`.

Its defaults notice the death of a worker together with its child after 2 x 405 s (a sweep is considered after each
dequeue timeout of `worker_ttl - 15` s, and at most every 600 s); measured only when asked for (`--patient`). Tuned
means `job_monitoring_interval=5, maintenance_interval=5, worker_ttl=20`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import redis
from rq import Queue, Retry

from singlepoint.jobs.broker.server_program import command, prepare
from singlepoint.jobs.store.home import open_home
from tests.system.machine import ROOT, wait_until

TUNED: Mapping[str, int] = {"job_monitoring_interval": 5, "maintenance_interval": 5, "worker_ttl": 20}
DEFAULT_RECOVERY_S = 810.0
"""By calculation, see above; 810.5 s were measured once."""

_WORKER = """
import redis, sys
from rq import Queue, Worker
connection = redis.Redis(unix_socket_path=sys.argv[1])
Worker([Queue(connection=connection)], connection=connection, **eval(sys.argv[2])).work(logging_level="ERROR")
"""


def begin(path: str) -> None:
    """The job: says that it begins, then works."""
    with open(path, "a") as file:
        file.write(f"{time.time()}\n")
    time.sleep(3600)


@dataclass
class PlainRq:
    """A server, a worker and one job of plain RQ, in a directory of their own."""

    directory: Path
    settings: Mapping[str, int]

    def __post_init__(self) -> None:
        home = open_home(self.directory)
        self.socket = home.redis / "redis.sock"
        self.server = subprocess.Popen(command(prepare(home), home), stdout=subprocess.DEVNULL)
        wait_until(self.socket.exists, lambda: "no server")
        self.starts = self.directory / "starts"
        self.worker = self._worker()
        queue = Queue(connection=redis.Redis(unix_socket_path=str(self.socket)))
        queue.enqueue(begin, str(self.starts), retry=Retry(max=3), job_timeout=7200)
        wait_until(self._times, lambda: "the job did not begin")

    def _worker(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", _WORKER, str(self.socket), repr(dict(self.settings))]
        return subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)

    def _times(self) -> list[float]:
        return [float(line) for line in self.starts.read_text().split()] if self.starts.exists() else []

    def _horse(self) -> int:
        found = subprocess.run(["pgrep", "-P", str(self.worker.pid)], capture_output=True, text=True, check=True)
        return int(found.stdout.split()[0])

    def after_child_kill(self) -> float:
        """Seconds from the death of the child to the job's next beginning."""
        before, killed_at = len(self._times()), time.time()
        os.kill(self._horse(), signal.SIGKILL)
        wait_until(lambda: len(self._times()) > before, lambda: "never")
        return self._times()[-1] - killed_at

    def after_worker_kill(self, timeout_s: float) -> float:
        """The same after the death of both, with another worker started at once."""
        before, killed_at, horse = len(self._times()), time.time(), self._horse()
        os.kill(self.worker.pid, signal.SIGKILL)
        os.kill(horse, signal.SIGKILL)
        self.worker.wait()
        self.worker = self._worker()
        wait_until(lambda: len(self._times()) > before, lambda: "never", timeout_s)
        return self._times()[-1] - killed_at

    def end(self) -> None:
        for pid in (self._horse(), self.worker.pid, self.server.pid):
            os.kill(pid, signal.SIGKILL)
        self.worker.wait()
        self.server.wait()


def child_kills(settings: Mapping[str, int], times: int = 5) -> list[float]:
    rq = PlainRq(Path(tempfile.mkdtemp(prefix="rq-")), settings)
    try:
        return [rq.after_child_kill() for _ in range(min(times, 3))]
    finally:
        rq.end()


def worker_kill(settings: Mapping[str, int], timeout_s: float) -> float:
    rq = PlainRq(Path(tempfile.mkdtemp(prefix="rq-")), settings)
    try:
        return rq.after_worker_kill(timeout_s)
    finally:
        rq.end()
