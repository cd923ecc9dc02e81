"""Attempts made as the rq worker makes them, in a child under an watch, but without rq and without a scheduler."""

from __future__ import annotations

import hashlib
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import resources
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import fakeredis
import psutil

from singlepoint.jobs import failpoints
from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.client.submit import accept
from singlepoint.jobs.clock import now
from singlepoint.jobs.host.free_memory import give_back_free_memory
from singlepoint.jobs.lifecycle.records import Job, Terms
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.store.home import open_home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.worker.attempt import pipeline
from singlepoint.worker.ground.process import die_with, kill_group, wait_for_exit
from singlepoint.worker.ground.stop_requests import StopRequests
from singlepoint.worker.ground.workplace import Workplace
from singlepoint.worker.pool.watch import Watch
from tests.conftest import LONGEST_S

TRAINING: dict[str, Any] = {
    "kind": "train",
    "name": "wdbc",
    "data": {"path": "wdbc.csv", "target": "diagnosis"},
    "model": {"hidden": [8], "dropout": 0.1},
    "training": {"epochs": 30, "seed": 7, "optimiser": {"type": "adam", "learning_rate": 0.001}},
    "resources": {"cpu": 1, "memory": "256MiB"},
    "checkpoint_interval_s": 0.01,
}


class Maker:
    """A home in `directory`, and the attempts that are made in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = open_home(directory / "home")
        self.store = JobStore(self.home)
        self.session = Session(self.home, self.store)
        self.session.__dict__["connection"] = fakeredis.FakeRedis()  # where cached_property keeps it
        index = Index(self.session.connection, self.home.uuid)
        self.place = Workplace(self.home, self.store, index, "maker-1", grace_s=60)  # long enough on any machine
        (directory / "wdbc.csv").write_bytes(resources.files("singlepoint.jobs.demo").joinpath("wdbc.csv").read_bytes())

    def be_impatient(self) -> None:
        """Attempts that are asked to stop from now on are killed almost at once."""
        self.place = replace(self.place, grace_s=0.3)

    def submit(self, spec: Mapping[str, Any] = TRAINING, **changes: Any) -> str:
        """A job that waits. changes: sections of the spec to add to, or values to replace."""
        document = {
            name: {**spec.get(name, {}), **changes[name]} if isinstance(changes.get(name), dict) else value
            for name, value in {**spec, **changes}.items()
        }
        return accept(self.session, Checked(parse_document(document, self.directory, "job")), now()).job.id

    def dispatch(self, job_id: str, *, cores: int = 1, **resources_: int) -> int:
        """Grant the next attempt some cores and what the job asks for; answers its number.

        cores: how many; more than there are means the same ones again.
        """
        job = self.store.load(job_id)
        granted = tuple(islice(cycle(sorted(os.sched_getaffinity(0))), cores))
        units = {name: tuple(range(count)) for name, count in job.requests.counted}
        terms = Terms(replace(job.requests, **resources_), cores=granted, units=units)
        self.store.move(job_id, Event.DISPATCH, now(), attempt=job.attempt + 1, terms=terms.to_json())
        return job.attempt + 1

    def begin(
        self, job_id: str, failpoint: str = "", *, spoil: Callable[[], None] = lambda: None, **resources_: int
    ) -> int:
        """Dispatch the next attempt and make it in a child; answers the child's pid.

        spoil: done by the child before it begins.
        """
        number = self.dispatch(job_id, **resources_)
        parent = os.getpid()
        give_back_free_memory()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            die_with(parent)  # a child that stands still must not outlive tests that were given up
            os.setpgrp()
            failpoints._SETTING = failpoint  # read from the environment long ago
            StopRequests.look_s = 0.0  # what a test asks is heard at the next step, however fast the machine is
            spoil()
            pipeline.work_at(self.place)
            pipeline.perform(job_id, number)
            status = 0
        except BaseException:  # a child must never return into the tests
            traceback.print_exc()
        finally:
            os._exit(status)

    def oversee(self, job_id: str, pid: int) -> Job:
        """Watch a child to its end, as its worker does; the job afterwards."""
        watch = Watch(self.place, job_id, self.store.load(job_id).attempt)
        deadline = time.monotonic() + LONGEST_S
        while not wait_for_exit(pid, 0.05):
            assert time.monotonic() < deadline, f"{pid} goes on and on: {self.store.load(job_id)}"
            if watch.must_die(pid):
                kill_group(pid)
        watch.ended(os.waitpid(pid, 0)[1])
        return self.store.load(job_id)

    @staticmethod
    def kill_within(pid: int, seconds: float) -> None:
        """Have a child killed from outside after so long, unless it has ended by then."""
        if not wait_for_exit(pid, seconds):
            os.kill(pid, signal.SIGKILL)

    def make(self, job_id: str, failpoint: str = "", **resources_: int) -> Job:
        """One whole attempt."""
        number = self.begin(job_id, failpoint, spoil=lambda: None, **resources_)
        return self.oversee(job_id, number)

    def model(self, name: str = "wdbc", number: int = 1) -> Path:
        return self.home.models / name / str(number)

    def snapshot(self, job_id: str) -> dict[str, str]:
        """What a job has put anywhere: each file's digest, but for logs and locks."""
        roots = [
            self.home.job(job_id),
            self.home.models,
            *self.directory.glob("*.out.*"),
            *self.directory.glob(".*.tmp"),
        ]
        files = [path for root in roots for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file()]
        wanted = [path for path in files if path.name not in ("log.txt", "lock", "history.lock")]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in wanted}


def reaped(pid: int, options: int = 0) -> int:
    """The status of a child once it has ended; with WUNTRACED also once it has stopped."""
    deadline = time.monotonic() + LONGEST_S
    while True:
        found, status = os.waitpid(pid, options | os.WNOHANG)
        if found:
            return status
        if time.monotonic() > deadline:
            kill_group(pid)
            raise AssertionError(f"{pid} has neither ended nor stopped after {LONGEST_S} s")
        time.sleep(0.001)


def stopped(pid: int) -> None:
    """Wait until a child has stopped itself."""
    status = reaped(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"it ended with status {status} instead of stopping"


def woken(pid: int) -> int:
    """Let a stopped child go on, and wait for its end; its status."""
    os.kill(pid, signal.SIGCONT)
    return reaped(pid)


def ends(pid: int) -> bool:
    """Whether a process has ended, or does at once: one that was killed may take a moment to give its memory back."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:  # it only waits to be reaped
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False
