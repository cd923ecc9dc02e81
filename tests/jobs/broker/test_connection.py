"""Where Redis is found, and how long each kind of client waits for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from singlepoint.jobs.broker import embedded
from singlepoint.jobs.broker.address import Broker, locate, redacted
from singlepoint.jobs.broker.connection import connect, shortcomings
from singlepoint.jobs.errors import BrokerAway, UsageError
from singlepoint.jobs.store.home import Home, open_home
from tests.conftest import LONGEST_S

RUN = (
    "import sys; from singlepoint.jobs.store.home import open_home; "
    "from singlepoint.jobs.broker.embedded import run; run(open_home(sys.argv[1]))"
)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.delenv("SINGLEPOINT_REDIS_URL", raising=False)
    # A name that would break a URL built without quoting; and not tmp_path, which is too long for a socket.
    path = Path(tempfile.mkdtemp(prefix="sp %41?#-"))
    yield open_home(path)
    shutil.rmtree(path)


def start_server(home: Home) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(home.path)], stderr=subprocess.DEVNULL)


def await_answer(home: Home) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not embedded.answers(home):
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def server(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    process = start_server(home)
    await_answer(home)
    yield process
    process.kill()
    process.wait()


def test_a_url_that_is_given_comes_before_the_environment_and_both_before_our_own(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locate(home).ours
    assert locate(home).socket == home.redis / "redis.sock"

    monkeypatch.setenv("SINGLEPOINT_REDIS_URL", "redis://elsewhere:1/0")
    assert locate(home) == Broker("redis://elsewhere:1/0", ours=False)
    assert locate(home, "redis://given:2/0") == Broker("redis://given:2/0", ours=False)


def test_something_that_is_no_redis_url_is_a_mistake_of_use(home: Home) -> None:
    with pytest.raises(UsageError, match="localhost:6379"):
        locate(home, "localhost:6379")


def test_a_password_is_never_shown() -> None:
    broker = Broker("redis://me:secret@host:6379/0", ours=False)

    assert str(broker) == "redis://***@host:6379/0"
    with pytest.raises(BrokerAway) as caught:
        connect(Broker("redis://me:secret@127.0.0.1:1/0", ours=False))
    assert "secret" not in caught.value.message


def test_a_command_finds_out_at_once_that_nothing_was_started(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _s: pytest.fail("waited"))

    with pytest.raises(BrokerAway) as caught:
        connect(locate(home))

    assert caught.value.exit_code == 69
    assert "singlepoint up --detach" in str(caught.value.hint)


def test_a_command_waits_out_a_restart_but_not_for_ever(
    home: Home, server: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    started: list[subprocess.Popen[bytes]] = []

    def comes_back(_seconds: float) -> None:
        if not started:  # and not again for whoever asks here whether it answers
            started.append(start_server(home))
            await_answer(home)

    server.kill()
    server.wait()  # its socket stays, and refuses
    monkeypatch.setattr("redis.retry.sleep", waits.append)
    with pytest.raises(BrokerAway, match="refused"):
        connect(locate(home))
    assert 0.5 < sum(waits) < 10

    monkeypatch.setattr("redis.retry.sleep", comes_back)
    try:
        assert connect(locate(home)).ping()
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_patient_client_needs_no_server_to_begin_and_rides_out_a_restart(home: Home) -> None:
    connection = connect(locate(home), patient=True)
    for value in ("1", "2"):
        with start_server(home) as server:
            connection.set("key", value)
            assert connection.get("key") == value.encode()
            server.kill()


def test_our_own_server_has_no_shortcomings(home: Home, server: subprocess.Popen[bytes]) -> None:
    assert shortcomings(connect(locate(home))) == []


def test_a_server_that_forgets_or_evicts_is_warned_about(home: Home, server: subprocess.Popen[bytes]) -> None:
    connection = connect(locate(home))
    connection.config_set("appendonly", "no")
    connection.config_set("maxmemory-policy", "allkeys-lru")

    warnings = shortcomings(connection)

    assert ["appendonly" in warnings[0], "allkeys-lru" in warnings[1]] == [True, True]


@pytest.mark.parametrize("url", ["garbage", "http://h/0", "redis://h:99999/0", "redis://h:six/0", "redis://[::1/0"])
def test_a_url_that_is_none_is_a_mistake_of_use(home: Home, url: str) -> None:
    with pytest.raises(UsageError, match="no Redis URL"):
        locate(home, url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@host:6379/0",
        "redis://:hunter2@host",
        "redis://host/0?password=hunter2&db=1",
        "unix:///run/redis.sock?db=1&PASSWORD=hunter2",
        "rediss://:hun/ter2:hunter2@host:99999999/",
        "user:hunter2@host:6379",
        "redis://u:hunter2@h[ost",
    ],
)
def test_a_password_is_never_shown_wherever_it_stands_in_a_url(home: Home, url: str) -> None:
    assert "hunter2" not in redacted(url) and "***" in redacted(url)
    try:
        assert "hunter2" not in str(locate(home, url))
    except UsageError as error:
        assert "hunter2" not in str(error)


def test_a_url_without_a_secret_is_shown_as_it_is(home: Home) -> None:
    for url in ("redis://host:6379/0", "unix:///run/a@b.sock?db=1", locate(home).url):
        assert redacted(url) == url
