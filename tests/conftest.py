"""What tests of every folder share: a home, its store, and Redis, fake and real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import hypothesis
import pytest
import redis

from singlepoint.jobs.broker import embedded, server_program
from singlepoint.jobs.broker.address import locate
from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import BrokerAway
from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.jobs.store.home import Home, open_home
from singlepoint.jobs.store.job_store import JobStore

LONGEST_S = 240.0
"""Seconds until what a test waits for is taken never to come, on a machine however busy; before pytest gives all up."""

# No test fails for being slow: that says something of the machine, not of the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

_SERVE = """
import sys
from singlepoint.jobs.broker.embedded import run
from singlepoint.jobs.store.home import open_home
from singlepoint.worker.ground.process import die_with
die_with(int(sys.argv[2]))  # also when the tests are ended by force
run(open_home(sys.argv[1]))
"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In `make test-all` a test may be skipped for what this machine is, and for nothing that could be installed."""
    report = yield
    if report.skipped and "SINGLEPOINT_TEST_ALL" in os.environ and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith("this machine"):
            report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped: {reason}"
    return report


@pytest.fixture(autouse=True)
def _no_home_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment of whoever runs the tests may decide where they write."""
    for name in (
        "SINGLEPOINT_HOME",
        "SINGLEPOINT_REDIS_URL",
        "SINGLEPOINT_FAILPOINT",
        "SINGLEPOINT_DEBUG",
        "NO_COLOR",
        "SINGLEPOINT_SERVER",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> JobStore:
    return JobStore(home)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a real server, started once; skips where none can be started, and fails in CI."""
    home = open_home(tempfile.mkdtemp(prefix="sp-"))  # short: a socket's path may have about 100 characters
    try:
        server_program.find_server(home)
    except BrokerAway as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    words = [sys.executable, "-c", _SERVE, str(home.path), str(os.getpid())]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + LONGEST_S
        while not embedded.answers(home):
            assert process.poll() is None and time.monotonic() < deadline, "the embedded server does not answer"
            time.sleep(0.01)
        yield locate(home).url
    finally:
        process.kill()  # it keeps nothing that anybody needs
        process.wait(60)
        shutil.rmtree(home.path, ignore_errors=True)


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """A real, empty Redis, for processes that connect by themselves."""
    yield redis_server
    with redis.Redis.from_url(redis_server) as connection:
        connection.flushall()


@pytest.fixture(params=["fake", "real"])
def connection(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """An empty Redis: each test runs on a fake one and on a real one."""
    if request.param == "fake":
        with fakeredis.FakeRedis() as fake:
            yield fake
    else:
        with redis.Redis.from_url(request.getfixturevalue("redis_url")) as real:
            yield real


@pytest.fixture
def session(home: Home, store: JobStore, connection: redis.Redis) -> Session:
    """A session that is connected already."""
    made = Session(home, store)
    made.__dict__["connection"] = connection  # where cached_property keeps it
    return made


def fill(index: Index, jobs: Iterable[Job]) -> None:
    """Have these in the index, which is complete then."""
    mark = index.begin_filling()
    index.put(jobs)
    assert index.filled(mark)


def accept(store: JobStore, *, at: float | None = None, **facts: Any) -> Job:
    """A job in the store, without a client."""
    requests = Resources(cpu_millis=1000, memory_bytes=512 * 2**20).to_json()
    return store.create(
        b"{}", {"name": "job", "kind": "train", "requests": requests, **facts}, now() if at is None else at
    )
