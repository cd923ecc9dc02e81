"""The home's own Redis, running: never two on one directory, and never one that outlives its lock.

`run` becomes the server: it takes the home's broker lock and execs, so that the lock lives exactly as long as
the server, and the parent of this process is the parent of the server. A live server that is found instead
is watched until it ends.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

from singlepoint.jobs.errors import NotNow, StorageFull
from singlepoint.jobs.host.free_space import free_bytes
from singlepoint.jobs.host.processes import ProcessId
from singlepoint.jobs.host.singleton import acquire, holder
from singlepoint.jobs.store.home import Home

from .server_program import LOCK, command, dotted, prepare, socket_path

FREE_TO_START_BYTES = 4 * 2**20  # a server that cannot append exits at once; below this it is not worth a try
_ADOPT_PATIENCE_S = 5.0


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
    print(f"broker_started server={server.family} version={dotted(server.version)}", file=sys.stderr, flush=True)
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


def _keep_log_small(log: Path, most_bytes: int = 2**20) -> None:
    """Put a log that has grown aside; one older generation is kept."""
    if log.exists() and log.stat().st_size > most_bytes:
        log.replace(log.with_suffix(".log.old"))
