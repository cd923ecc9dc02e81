"""Where the service listens: `[HOST:]PORT` as people write it, a socket there, and whether anybody answers."""

from __future__ import annotations

import errno
import re
import socket

from singlepoint.jobs.errors import NotNow, NotPermitted, UsageError

BACKLOG = 256
DEFAULT_HOST = "127.0.0.1"


def parse_place(text: str) -> tuple[str, int]:
    """Host and port in `8080`, `0.0.0.0:8080` or `[::]:8080`; raises UsageError."""
    match = re.fullmatch(r"(?:(\[[0-9A-Fa-f:.]*\]|[A-Za-z0-9.-]*):)?([0-9]{1,5})", text.strip())
    if match is None or int(match[2]) > 65535:
        raise UsageError(f"--http {text}: is no [HOST:]PORT", hint="for example --http 8080 or --http 0.0.0.0:8080")
    return (match[1] or DEFAULT_HOST).strip("[]"), int(match[2])


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises NotNow for a port that is taken, NotPermitted, UsageError for no such host."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except socket.gaierror as error:
        raise UsageError(f"--http: no address of this machine is called {host}: {error.strerror}") from None
    except OSError as error:
        hint = "choose another port: --http PORT"
        if error.errno == errno.EADDRINUSE:
            raise NotNow(f"port {port} of {host} is taken", hint=hint) from None
        if error.errno == errno.EACCES:
            raise NotPermitted(f"port {port} may not be used", hint=hint) from None
        raise UsageError(f"cannot listen at {host} port {port}: {error.strerror}", hint=hint) from None
    listening.set_inheritable(False)
    return listening


_QUESTION = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def is_answered(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether a service speaks there: a socket listens before that. One with TLS speaks by hanging up."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(_QUESTION)
            connection.recv(1)
    except OSError:
        return False
    return True
