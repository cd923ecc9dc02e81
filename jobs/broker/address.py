"""Where the Redis of a home is. Nothing is started, nothing need be running, and redis-py is not loaded.

A configured URL is used as it is and never stopped by us. Otherwise Redis is the home's own: a unix socket
in the home, served by `embedded`.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from singlepoint.jobs.errors import BrokerAway, UsageError
from singlepoint.jobs.host.processes import is_stopped
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.host.standstill import remedy
from singlepoint.jobs.store.home import Home

from .server_program import LOCK, socket_path

SCHEMES = ("redis", "rediss", "unix")


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


def require_listener(broker: Broker) -> None:
    """Raises BrokerAway when nobody can answer: the server stands still, or its socket is not there. Then there is
    nothing to load redis-py for."""
    if (pid := broker.halted) is not None:
        raise BrokerAway(f"Redis does not answer: its process {pid} stands still", hint=remedy(pid))
    if broker.socket is not None and not broker.socket.exists():
        raise away(broker, FileNotFoundError("there is no such socket"))


def away(broker: Broker, error: Exception | None = None) -> BrokerAway:
    """The error for a command that finds Redis away, with the remedy."""
    because = f": {error}" if error is not None and str(error) else ""
    remedy = "start it with `singlepoint up --detach`" if broker.ours else "start that server, or correct --redis-url"
    return BrokerAway(f"Redis does not answer at {broker}{because}", hint=remedy)
