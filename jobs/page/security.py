"""Who may ask what of the service: decisions over plain values. Nothing here is read, kept or sent.

The rules, in the order in which they are asked:

1. The Host is one of ours (or no browser could be kept from being led here under a stranger's name).
2. Headers are small.
3. Every route but health needs the token, as `Authorization: Bearer` or as a cookie derived from it; on loopback too.
4. What changes something and comes by cookie names our own Origin and is JSON: no foreign page can send that.
   With a Bearer neither is asked, since no browser adds one by itself.

There is no CORS: no other origin may read an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True)
class Limits:
    """What one request may cost. nesting: brackets within brackets in JSON.  header_s: until the headers are there;
    body_s: between two pieces of a body.  rows: of one answer.  streams: open at once.
    waiting, waiting_bytes: predictions under way, before more are turned away.  deadline_s: until one is answered."""

    header_bytes: int = 16 * 1024
    body_bytes: int = 1024 * 1024
    upload_bytes: int = 2 * 2**30
    nesting: int = 32
    header_s: float = 10.0
    body_s: float = 30.0
    rows: int = 1000
    streams: int = 64
    waiting: int = 1024
    waiting_bytes: int = 256 * 2**20
    deadline_s: float = 30.0


class Access(Enum):
    """OPEN: health, for whoever asks.  ENTRY: checks a word or a token by itself.  TOKEN: all else."""

    OPEN = "open"
    ENTRY = "entry"
    TOKEN = "token"


class Proof(Enum):
    """How a request proves that it may."""

    NONE = "none"
    BEARER = "bearer"
    COOKIE = "cookie"


class Ask(NamedTuple):
    """A request, as far as it matters here. hosts, origins: every value of these headers, there may be several."""

    method: str
    access: Access
    scheme: str
    hosts: Sequence[str]
    origins: Sequence[str]
    content_type: str
    header_bytes: int
    proof: Proof


@dataclass(frozen=True)
class Refusal:
    """An answer instead of the one asked for."""

    status: int
    title: str
    detail: str
    hint: str = ""


def refusal(ask: Ask, allowed_hosts: frozenset[str], limits: Limits) -> Refusal | None:
    """Why a request is turned away; None when it may go on."""
    if len(ask.hosts) != 1 or not is_allowed_host(ask.hosts[0], allowed_hosts):
        hint = "the owner adds a name to [http] hosts in settings.toml"
        return Refusal(400, "Unknown host", "the service is not called by this name", hint)
    if ask.header_bytes > limits.header_bytes:
        return Refusal(431, "Headers too large", f"more than {limits.header_bytes} bytes of headers")
    if ask.access is Access.OPEN:
        return None
    if ask.access is Access.TOKEN and ask.proof is Proof.NONE:
        hint = "`singlepoint open` on the machine prints an address that lets a browser in"
        return Refusal(401, "No token", "the token is missing or wrong", hint)
    if ask.method in SAFE_METHODS or ask.proof is Proof.BEARER:
        return None
    return _foreign(ask)


def _foreign(ask: Ask) -> Refusal | None:
    """Why a request that a browser sent, with what it keeps for us, may have been made by somebody else's page."""
    if list(ask.origins) != [f"{ask.scheme}://{ask.hosts[0]}"]:
        return Refusal(403, "Foreign origin", "a change by cookie must come from the page itself")
    wanted = "application/x-www-form-urlencoded" if ask.access is Access.ENTRY else "application/json"
    if media_type(ask.content_type) != wanted:
        return Refusal(415, "Not JSON", f"a change by cookie must be {wanted}")
    return None


def is_allowed_host(host: str, allowed: frozenset[str]) -> bool:
    """Whether a Host header names us, at any port."""
    match = _HOST.fullmatch(host)
    return match is not None and match[1].lower() in allowed


def media_type(content_type: str) -> str:
    """`application/json` of `Application/JSON; charset=utf-8`."""
    return content_type.partition(";")[0].strip().lower()


def bearer(authorization: str) -> str | None:
    """The token of an Authorization header; None for any other kind of proof."""
    kind, _, token = authorization.strip().partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


def nesting(text: bytes, most: int) -> bool:
    """Whether JSON text has at most `most` brackets within brackets; asked before it is parsed."""
    depth = 0
    for found in re.finditer(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', text, re.DOTALL):
        first = found[0][:1]
        if first in b"[{":
            depth += 1
            if depth > most:
                return False
        elif first in b"]}":
            depth -= 1
    return True


HEADERS: tuple[tuple[str, str], ...] = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)
"""On every answer."""
