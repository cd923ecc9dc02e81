"""Where Redis is, and how to speak to it.

A configured URL is used as it is and never stopped by us. Otherwise Redis is the home's own: a unix socket
in the home, served by `embedded`. Two kinds of client: a *patient* one (services) rides out a restart of
Redis inside any command; an impatient one (commands) gives up within two seconds and says what to do.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.errors import BrokerAway, BrokerRefuses, UsageError
from singlepoint.jobs.host.processes import is_stopped
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.host.standstill import remedy
from singlepoint.jobs.store.home import Home

from .server_program import LOCK, socket_path

SCHEMES = ("redis", "rediss", "unix")

_PATIENT = {"cap": 2.0, "base": 0.05, "retries": 300}  # ten minutes, then the service is started anew
_IMPATIENT = {"cap": 0.25, "base": 0.02, "retries": 6}  # about a second: a restart of ours takes a tenth of it
_CONNECT_TIMEOUT_S = 1.5
_FLEETING_TIMEOUT_S = 0.5
_PATIENT_ANSWER_TIMEOUT_S = 60.0
_IMPATIENT_ANSWER_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Broker:
    """url: as redis-py reads it.  ours: served from the home, so ours to start and stop; its server holds `lock`."""

    url: str
    ours: bool
    lock: Path | None = None

    @property
    def halted(self) -> int | None:
        """The pid of our server if it was stopped by a signal; it takes connections still, and never answers."""
        server = holder(self.lock) if self.lock is not None else None
        return server.pid if server is not None and is_stopped(server.pid) else None

    @property
    def socket(self) -> Path | None:
        """The unix socket's path; None over TCP."""
        parts = urllib.parse.urlsplit(self.url)
        return Path(urllib.parse.unquote(parts.path)) if parts.scheme == "unix" else None

    def __str__(self) -> str:
        """The URL without its password, for messages."""
        return redacted(self.url)


_USER = re.compile(r"^(unix://)[^/]*@|^(?!unix://)([a-z]+://)?.*@", re.DOTALL)
_PASSWORD = re.compile(r"([?&](?:password|username)=)[^&#]*", re.IGNORECASE)


def redacted(url: str) -> str:
    """A URL, or what was meant for one, without user and password, wherever they stand in it."""
    return _PASSWORD.sub(r"\1***", _USER.sub(lambda found: f"{found[1] or found[2] or ''}***@", url))


def locate(home: Home, redis_url: str | None = None) -> Broker:
    """The broker of this home: `redis_url`, else `$SINGLEPOINT_REDIS_URL`, else the home's own socket.

    Nothing is started, and nothing need be running. Raises UsageError for a URL that redis-py cannot read.
    """
    url = redis_url or os.environ.get("SINGLEPOINT_REDIS_URL") or None
    if url is None:
        return Broker(f"unix://{urllib.parse.quote(str(socket_path(home)))}", ours=True, lock=home.lock(LOCK))
    if not _can_be_read(url):
        raise UsageError(
            f"{redacted(url)!r} is no Redis URL", hint="redis://HOST:PORT/DB, rediss://… or unix:///path/to/socket"
        )
    return Broker(url, ours=False)


def _can_be_read(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # looked at by nobody before it is asked for
    except ValueError:
        return False
    return parts.scheme in SCHEMES


def connect(broker: Broker, *, patient: bool = False) -> redis.Redis:
    """A client of `broker`; one that is not patient has been answered once.

    patient: retry every command for up to ten minutes, and do not insist that Redis is there yet.
    Raises BrokerAway when an impatient client gets no answer.
    """
    connection = redis.Redis.from_url(broker.url, **_options(patient=patient))
    if not patient:
        if (pid := broker.halted) is not None:
            raise BrokerAway(f"Redis does not answer: its process {pid} stands still", hint=remedy(pid))
        try:
            if broker.socket is not None and not broker.socket.exists():
                raise redis.ConnectionError("there is no such socket")
            connection.ping()
        except (redis.RedisError, OSError) as error:
            connection.close()
            raise away(broker, error) from None
    return connection


def connect_fleetingly(broker: Broker) -> redis.Redis:
    """A client that tries once and never waits: for telling what is on disk already. Not answered yet."""
    return redis.Redis.from_url(
        broker.url,
        retry=Retry(ExponentialBackoff(cap=0.02, base=0.02), 1, supported_errors=(redis.ConnectionError,)),
        socket_connect_timeout=_FLEETING_TIMEOUT_S,
        socket_timeout=_FLEETING_TIMEOUT_S,
        driver_info=None,
    )


def _options(*, patient: bool) -> dict[str, object]:
    choice = _PATIENT if patient else _IMPATIENT
    # Over TCP a host that does not answer costs a whole timeout a try; an impatient client tries that once.
    errors: tuple[type[Exception], ...] = (redis.ConnectionError,)  # includes "still loading my file"
    return {
        "retry": Retry(
            ExponentialBackoff(cap=choice["cap"], base=choice["base"]),
            int(choice["retries"]),
            supported_errors=(*errors, redis.TimeoutError) if patient else errors,
        ),
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "socket_timeout": _PATIENT_ANSWER_TIMEOUT_S if patient else _IMPATIENT_ANSWER_TIMEOUT_S,
        "driver_info": None,  # the client's name and version: looked up on disk and told, at every connection
    }


def away(broker: Broker, error: Exception | None = None) -> BrokerAway:
    """The error for a command that finds Redis away, with the remedy."""
    because = f": {error}" if error is not None and str(error) else ""
    remedy = "start it with `singlepoint up --detach`" if broker.ours else "start that server, or correct --redis-url"
    return BrokerAway(f"Redis does not answer at {broker}{because}", hint=remedy)


_REFUSALS = {
    "OOM": ("it is full", "`singlepoint prune` removes ended jobs; or raise its maxmemory"),
    "READONLY": ("it is a read-only replica", "point --redis-url at the primary"),
    "NOREPLICAS": ("it has too few replicas", "start them, or lower its min-replicas-to-write"),
    "MISCONF": ("it cannot save to its disk", "free some space there, and see its log"),
}
"""What Redis answers instead of writing, by its word for it: what that means, and what to do."""


def refusal(error: BaseException) -> BrokerRefuses | None:
    """The error to tell when Redis answered that it takes nothing; None for any other error."""
    if not isinstance(error, redis.ResponseError):
        return None
    word = error.status_code or str(error).partition(" ")[0]
    if word not in _REFUSALS:
        return None
    because, remedy = _REFUSALS[word]
    return BrokerRefuses(f"Redis refuses to be written to: {because}", hint=f"{remedy}; accepted jobs are kept on disk")


def require_writable(connection: redis.Redis) -> None:
    """Raises BrokerRefuses when Redis would not take a write now; writes nothing itself."""
    try:
        connection.setrange("sp:writable", 0, "")  # of no bytes: changes nothing, but is refused as any write is
    except redis.ResponseError as error:
        if (refused := refusal(error)) is not None:
            raise refused from None


def memory_level(connection: redis.Redis) -> str:
    """`, 12 MiB of 256 MiB used`, of what it may hold; `""` when it has no limit, or does not say."""
    try:
        info = connection.info("memory")
        used, most = int(info["used_memory"]), int(info["maxmemory"])
    except (redis.RedisError, KeyError, ValueError):
        return ""
    return f", {format_bytes(used)} of {format_bytes(most)} used" if most else ""


def shortcomings(connection: redis.Redis) -> list[str]:
    """What is unsafe about a Redis that is not ours: it keeps nothing on disk, or may drop keys.

    Jobs survive both, since the directories are the truth; waiting ones are only found again by a rebuild.
    """
    try:
        info = {**connection.info("persistence"), **connection.info("memory")}
    except redis.RedisError as error:
        return [f"its settings cannot be read ({error})"]
    return list(_shortcomings(info))


def _shortcomings(info: dict[str, object]) -> Iterable[str]:
    if not int(str(info.get("aof_enabled", 0))):
        yield "it keeps nothing on disk: set `appendonly yes`"
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield f"it may drop keys (maxmemory-policy {policy}): set `maxmemory-policy noeviction`"
