"""The service as a process: where it answers, how it is let in, how it ends."""

from __future__ import annotations

import os
import signal
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from singlepoint.jobs.client.entry import Address, read_address, service_token
from singlepoint.jobs.errors import NotFound, NotNow, NotPermitted, UsageError
from singlepoint.jobs.page.place import bound, parse_place
from singlepoint.jobs.page.server import tls
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.settings import Http
from tests.conftest import LONGEST_S

ROOT = Path(__file__).parents[3]


# ---- the token ---------------------------------------------------------------------------------------------


def test_a_token_is_made_at_first_use_and_only_its_owner_can_read_it(home: Home) -> None:
    earlier = os.umask(0)
    try:
        token = service_token(home, {})
    finally:
        os.umask(earlier)

    assert len(token) >= 32
    assert service_token(home, {}) == token
    assert stat.S_IMODE(home.http_token.stat().st_mode) == 0o600
    assert [path.name for path in home.path.iterdir() if path.name.endswith(".tmp")] == []


def test_a_token_of_the_environment_or_of_a_file_comes_first(home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")

    assert service_token(home, {"SINGLEPOINT_TOKEN": "mine"}) == "mine"
    assert service_token(home, {"SINGLEPOINT_TOKEN": "", "SINGLEPOINT_TOKEN_FILE": str(tmp_path / "secret")}) == (
        "from a file"
    )
    assert not home.http_token.exists()
    with pytest.raises(NotFound, match="no token file"):
        service_token(home, {"SINGLEPOINT_TOKEN_FILE": str(tmp_path / "none")})
    home.http_token.write_text("\n")
    with pytest.raises(NotPermitted, match="is empty"):
        service_token(home, {})


# ---- where it answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:1", ("::1", 1)),
        (":9", ("127.0.0.1", 9)),
        ("lab.example:65535", ("lab.example", 65535)),
    ],
)
def test_a_place_is_a_port_or_host_and_port(text: str, place: tuple[str, int]) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "x", "65536", "localhost", "1:2:3", "-1", "8080/"])
def test_any_other_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no"):
        parse_place(text)


def test_a_port_that_is_taken_is_told() -> None:
    with bound("127.0.0.1", 0) as taken, pytest.raises(NotNow, match="is taken"):
        bound("127.0.0.1", taken.getsockname()[1])


def test_a_host_that_is_not_here_is_told() -> None:
    with pytest.raises(UsageError, match=r"no address|cannot listen"):
        bound("name.invalid", 0)


def test_tls_needs_both_files_and_good_ones(tmp_path: Path) -> None:
    assert tls(Http()) is None
    with pytest.raises(NotPermitted, match="without a key"):
        tls(Http(certificate="/x"))
    with pytest.raises(NotPermitted, match="certificate and key"):
        tls(Http(certificate=str(tmp_path / "a"), key=str(tmp_path / "b")))


# ---- as a process ------------------------------------------------------------------------------------------


def words(home: Home, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "singlepoint", "--home", str(home.path), *arguments]


@contextmanager
def running(home: Home, redis_url: str) -> Iterator[tuple[subprocess.Popen[bytes], Address, Path]]:
    """`singlepoint page` as it is started, and where it answers."""
    log = home.path / "page.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            words(home, "page", "--http", "0"),
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SINGLEPOINT_REDIS_URL": redis_url},
        )
    try:
        deadline = time.monotonic() + LONGEST_S
        while "service_started" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        address = read_address(home)
        assert address is not None
        yield process, address, log
    finally:
        process.kill()
        process.wait(60)


def status(url: str, context: ssl.SSLContext | None = None, **headers: str) -> int:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=30, context=context
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_answers_lets_a_browser_in_and_ends_with_a_stream_open(home: Home, redis_url: str) -> None:
    with running(home, redis_url) as (process, address, log):
        bearer = {"Authorization": f"Bearer {service_token(home, {})}"}
        assert status(f"{address.url}/api/v1/jobs") == 401
        assert status(f"{address.url}/api/v1/jobs", **bearer) == 200
        opened = subprocess.run(words(home, "open"), capture_output=True, text=True, check=True)
        assert opened.stdout.startswith(f"{address.url}/open?once=")
        assert service_token(home, {}) not in opened.stdout + log.read_text()

        stream = urllib.request.urlopen(
            urllib.request.Request(f"{address.url}/api/v1/events", headers=bearer), timeout=30
        )
        assert stream.readline() == b"retry: 1000\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        stream.close()
        assert read_address(home) is None
        assert "defect" not in log.read_text()


def test_it_speaks_tls_when_there_are_files(home: Home, redis_url: str, tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("this machine has no openssl")
    home.settings.write_text(f'[http]\ncertificate = "{certificate}"\nkey = "{key}"\n')
    with running(home, redis_url) as (_, address, _log):
        assert address.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(certificate))
        assert status(f"{address.url}/v2/health/live", trusted) == 200


def test_open_without_a_service_says_how_to_start_one(home: Home) -> None:
    found = subprocess.run(words(home, "open"), capture_output=True, text=True, check=False)

    assert found.returncode == 69
    assert "up --detach --http" in found.stderr
