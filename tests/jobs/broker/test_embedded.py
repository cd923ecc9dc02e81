"""The home's own Redis, with the real server: one on a directory, never an older one, never a lost write."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from singlepoint.jobs.broker import embedded, server_program
from singlepoint.jobs.errors import NotNow, StorageFull
from singlepoint.jobs.host.singleton import acquire
from singlepoint.jobs.store.home import Home, open_home
from tests.conftest import LONGEST_S

RUN = (
    "import sys; from singlepoint.jobs.store.home import open_home; "
    "from singlepoint.jobs.broker.embedded import run; run(open_home(sys.argv[1]))"
)

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def home() -> Iterator[Home]:
    # Not tmp_path: its names are longer than a socket's may be.
    path = Path(tempfile.mkdtemp(prefix="sp-"))
    yield open_home(path)
    shutil.rmtree(path)


def start_server(home: Home) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(home.path)], stderr=subprocess.DEVNULL)


def wait_until(condition: Callable[[], Any], limit_s: float = LONGEST_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit_s} s in vain"
        time.sleep(0.005)


@pytest.fixture
def start(home: Home) -> Iterator[Start]:
    """Starts a server process of `home`, and waits until the socket answers."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        processes.append(start_server(home))
        wait_until(lambda: processes[-1].poll() is not None or embedded.answers(home))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def client(home: Home) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server_program.socket_path(home)))


def test_what_was_answered_survives_a_kill(home: Home, start: Start) -> None:
    process = start()
    client(home).set("kept", "yes")

    process.kill()
    process.wait()
    start()

    assert client(home).get("kept") == b"yes"


def test_the_lock_lives_exactly_as_long_as_the_server(home: Home, start: Start) -> None:
    process = start()

    with pytest.raises(NotNow, match=f"process {process.pid} holds"):
        acquire(home.lock("broker"))

    process.kill()
    process.wait()
    os.close(acquire(home.lock("broker")))


def test_a_second_start_watches_the_first_and_follows_it(home: Home, start: Start) -> None:
    first = start()
    second = start_server(home)
    try:
        client(home).set("from", "first")
        assert embedded.server_process(home) is not None

        first.kill()
        first.wait()

        wait_until(lambda: (found := embedded.server_process(home)) is not None and found.pid == second.pid)
        wait_until(lambda: embedded.answers(home))
        assert client(home).get("from") == b"first"
    finally:
        second.kill()
        second.wait()


def test_asking_the_watcher_to_stop_stops_the_server_it_found(home: Home, start: Start) -> None:
    first = start()
    with subprocess.Popen([sys.executable, "-c", RUN, str(home.path)], stderr=subprocess.PIPE) as second:
        assert second.stderr is not None
        assert b"broker_adopted" in second.stderr.readline()

        second.terminate()

        assert second.wait(timeout=LONGEST_S) == 0
    assert first.wait(timeout=LONGEST_S) == 0


def test_a_request_to_stop_ends_it_cleanly_and_leaves_no_socket(home: Home, start: Start) -> None:
    process = start()

    process.terminate()

    assert process.wait(timeout=LONGEST_S) == 0
    assert not server_program.socket_path(home).exists()


def test_it_listens_on_the_socket_only_writes_every_command_and_drops_nothing(home: Home, start: Start) -> None:
    start()
    wanted = {"port": "0", "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}

    assert {name: client(home).config_get(name)[name] for name in wanted} == wanted
    assert stat.S_IMODE(home.redis.stat().st_mode) == 0o700
    assert stat.S_IMODE(server_program.socket_path(home).stat().st_mode) == 0o700


def test_a_home_whose_path_is_too_long_for_a_socket_gets_a_private_short_one() -> None:
    root = Path(tempfile.mkdtemp(prefix="sp-"))
    home = open_home(root / ("long" * 30))
    server_program.prepare(home)
    socket = server_program.socket_path(home)
    process = start_server(home)
    try:
        wait_until(lambda: embedded.answers(home))

        assert len(os.fsencode(socket)) <= 103
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert server_program.socket_path(home) == socket, "the second start uses the recorded one"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(root)
        shutil.rmtree(socket.parent)


def test_a_full_disk_is_reported_instead_of_a_server_that_would_exit(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "free_bytes", lambda path: 4096)

    with pytest.raises(StorageFull, match="4096 bytes free"):
        embedded.run(home)

    os.close(acquire(home.lock("broker")))  # nobody holds the lock
