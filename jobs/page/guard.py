"""The door of the service: every request passes here, in and out.

In: the rules of `security`, a bound on the body and on the time it takes. Out: the headers that every answer has, a
problem document for every error, a line of the log and a count. The log has the request's id, its route (never the
path or a parameter), status, bytes and seconds; nothing that a user sent.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import resources
from itertools import chain
from typing import Any, NamedTuple

from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from singlepoint.jobs.client.entry import is_signed, same
from singlepoint.jobs.client.session import redis_error
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import SinglepointError
from singlepoint.jobs.host.service_log import Often
from singlepoint.jobs.store.durable import refusal as refusal_of_the_system

from . import problems
from .api.uploads import is_ticket
from .inference import TooMany
from .problems import Refused
from .security import HEADERS, LOOPBACK, Access, Ask, Proof, Refusal, bearer, refusal
from .service import Service

log = logging.getLogger("singlepoint.http")

ACCESS: dict[str, Access] = {
    "/v2/health/live": Access.OPEN,
    "/v2/health/ready": Access.OPEN,
    "/open": Access.ENTRY,
    "/login": Access.ENTRY,
}
"""Every other path needs the token, whether there is such a route or not."""

ROUTE = "singlepoint.route"
"""Where a route leaves its pattern in the scope, for the log and the counts."""

READ = "singlepoint.headers"
"""Where the guard leaves the headers, each name's values in order."""

EXCHANGE = "singlepoint.exchange"
"""Where whoever had a request admitted leaves its `Exchange`, before it goes the usual way after all."""

BODY_BYTES = "singlepoint.body_bytes"
"""Where a route says how large a body may be, if larger than usual."""

BEGAN = "singlepoint.began"
"""Where whoever had a request before leaves when it came, by `time.perf_counter`."""

TOO_SLOW = "singlepoint.too_slow"
"""Where the connection says that the rest of a body did not come in time; whoever receives is woken for it."""

COOKIE_S = 30 * 86400.0

Observe = Callable[[str, str, int, float], None]
"""method, route, status, seconds"""


def cookie_name(service: Service) -> str:
    """One a home: cookies know no ports, and another home may answer on this machine too."""
    return f"singlepoint-{service.session.home.uuid[:8]}"


class Guard:
    """The outermost application. hosts: names besides those of the machine itself.  answered: where each request is
    told, once it is answered."""

    def __init__(
        self, inner: ASGIApp, service: Service, hosts: frozenset[str], observe: Observe, answered: Often
    ) -> None:
        self._inner = inner
        self._service = service
        self._hosts = LOOPBACK | hosts | frozenset(service.settings.hosts)
        self._observe, self._answered = observe, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            exchange = scope.get(EXCHANGE) or Exchange(self._service, scope)
            try:
                await exchange.run(self._inner, self._hosts, receive, send)
            finally:
                self.note(exchange.over())

    def admitted(self, scope: Scope) -> Exchange | None:
        """A request that may go on; None for one that is to be turned away."""
        exchange = Exchange(self._service, scope)
        return exchange if exchange.refusal(self._hosts) is None else None

    def note(self, over: Over) -> None:
        """Count an exchange that is over, and tell it in the log."""
        self._observe(over.method, over.route, over.status, over.seconds)
        self._answered.note(over)


class Over(NamedTuple):
    """An exchange that is over; as text, its line of the log."""

    request_id: str
    method: str
    route: str
    status: int
    sent_bytes: int
    seconds: float

    def __str__(self) -> str:
        answer = f"status={self.status} bytes={self.sent_bytes} seconds={self.seconds:.4f}"
        return f"request id={self.request_id} method={self.method} route={self.route} {answer}"


class Exchange:
    """One request and its answer."""

    _receive: Receive
    _send: Send

    def __init__(self, service: Service, scope: Scope) -> None:
        self.began: float = scope.get(BEGAN) or time.perf_counter()
        self.service = service
        self.scope = scope
        self.headers = scope[READ] = _by_name(scope["headers"])
        self.request_id = new_request_id()
        self.status = 0
        self.sent_bytes = 0
        self.body_bytes = 0

    def over(self) -> Over:
        """What is told of it in the end."""
        seconds, route = time.perf_counter() - self.began, str(self.scope.get(ROUTE, "-"))
        return Over(self.request_id, _known(self.scope["method"]), route, self.status, self.sent_bytes, seconds)

    def refusal(self, hosts: frozenset[str]) -> Refusal | None:
        """Why it is turned away, if it is."""
        return refusal(self._ask(), hosts, self.service.limits)

    async def run(self, inner: ASGIApp, hosts: frozenset[str], receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        try:
            turned_away = self.refusal(hosts)
            if turned_away is not None:
                raise Refused(turned_away)
            self.scope["app"] = inner  # by which a router raises what it cannot serve, for us to tell in our way
            await inner(self.scope, self.receive, self.send)
        except Exception as error:  # noqa: BLE001 - told as a problem, and logged as a defect if it is one
            await self._fail(error)

    # ---- in ------------------------------------------------------------------------------------------------

    def _ask(self) -> Ask:
        scope, path = self.scope, self.scope["path"]
        return Ask(
            method=scope["method"],
            access=ACCESS.get(path, Access.TOKEN),
            scheme=scope["scheme"],
            hosts=self._all(b"host"),
            origins=self._all(b"origin"),
            content_type=self._first(b"content-type"),
            header_bytes=sum(map(len, chain.from_iterable(scope["headers"]))) + len(path),
            proof=self._proof(path),
        )

    def _all(self, name: bytes) -> list[str]:
        return [value.decode("latin-1") for value in self.headers.get(name, ())]

    def _first(self, name: bytes) -> str:
        values = self.headers.get(name)
        return values[0].decode("latin-1") if values else ""

    def _proof(self, path: str) -> Proof:
        token, given = self.service.token, self.headers.get(b"authorization")
        if given:
            word = bearer(given[0].decode("latin-1")) if len(given) == 1 else None
            if word is not None and (same(word, token) or self._is_ticket(path, word)):
                return Proof.BEARER
            return Proof.NONE  # a cookie beside it does not mend that
        cookies = cookie_parser(self._first(b"cookie"))
        word = cookies.get(cookie_name(self.service), "")
        return Proof.COOKIE if is_signed(token, "cookie", word, now()) else Proof.NONE

    def _is_ticket(self, path: str, word: str) -> bool:
        parts = path.split("/")
        if self.scope["method"] != "PUT" or parts[:4] != ["", "api", "v1", "uploads"] or len(parts) != 6:
            return False
        return is_ticket(self.service.token, parts[4], word, now())

    async def receive(self) -> Message:
        """The next piece of the body, in time and within bounds; an upload counts its own bytes."""
        limits = self.service.limits
        message = await self._receive()
        if TOO_SLOW in self.scope:
            raise Refused(Refusal(408, "Too slow", f"nothing came for {limits.body_s:g} s"))
        if message["type"] == "http.request":
            self.body_bytes += len(message.get("body", b""))
            most_bytes = self.scope.get(BODY_BYTES, limits.body_bytes)
            if self.body_bytes > most_bytes:
                raise Refused(Refusal(413, "Too large", f"a body may have {most_bytes} bytes here"))
            if not message.get("more_body", False):
                self.body_bytes = -1  # all of it is here: whoever receives on waits for the end of the connection
        return message

    # ---- out -----------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"]
            own = [name.lower() for name, _ in headers]
            headers = [*headers, *(ALWAYS if _SET_APART.isdisjoint(own) else _besides(own))]
            message["headers"] = [*headers, (b"x-request-id", self.request_id.encode())]
        else:
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)

    async def _fail(self, error: Exception) -> None:
        """Tell of an error, if nothing was sent yet; otherwise the connection ends, which tells it too."""
        if self.status:
            if not isinstance(error, OSError):
                log.warning("answer_broken id=%s error=%s", self.request_id, type(error).__name__)
            return
        known = self._known(error)
        if known is None:
            log.error("defect id=%s", self.request_id, exc_info=error)
            await self._answer(500, problems.defect(self.request_id))
            return
        status = problems.status_of(known)[0]
        if status == 401 and self._is_a_look():
            await self._login_page()
            return
        home = str(self.service.session.home.path)
        document = problems.document(known, home, self.request_id)
        if isinstance(known, TooMany):
            document["retry_after_s"] = known.retry_after_s
        await self._answer(status, document)

    @staticmethod
    def _known(error: Exception) -> SinglepointError | None:
        if isinstance(error, HTTPException):
            return Refused(Refusal(error.status_code, error.detail, error.detail.lower()))
        if isinstance(error, SinglepointError):
            return error
        return redis_error(error) or refusal_of_the_system(error)

    async def _answer(self, status: int, document: dict[str, Any]) -> None:
        headers = [(b"content-type", problems.MEDIA_TYPE.encode())]
        if status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="singlepoint"'))
        if after_s := problems.RETRY_AFTER_S.get(status, document.pop("retry_after_s", None)):
            headers.append((b"retry-after", str(after_s).encode()))
        if self.scope["path"].startswith("/v2"):
            document["error"] = document["detail"]  # the one field that clients of that protocol read
        await self._whole(status, headers, to_json(document))

    async def _whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if self.body_bytes >= 0 and self.scope["method"] not in ("GET", "HEAD"):
            headers.append((b"connection", b"close"))  # what else of the body comes is nothing we read
        headers.append((b"content-length", str(len(body)).encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def _is_a_look(self) -> bool:
        return self.scope["method"] == "GET" and "text/html" in self._first(b"accept")

    async def _login_page(self) -> None:
        page = resources.files(__package__).joinpath("static", "login.html").read_bytes()
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"www-authenticate", b'Bearer realm="singlepoint"')]
        await self._whole(401, headers, page)


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return found


def new_request_id() -> str:
    return os.urandom(8).hex()


ALWAYS: Sequence[tuple[bytes, bytes]] = [
    (name.encode(), value.encode()) for name, value in (*HEADERS, ("cache-control", "no-store"))
]
_SET_APART = frozenset(name for name, _ in ALWAYS)


def _besides(own: Collection[bytes]) -> list[tuple[bytes, bytes]]:
    """The headers that every answer has, less those that an answer sets itself."""
    return [(name, value) for name, value in ALWAYS if name not in own]


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _known(method: str) -> str:
    """A method as it may stand in a count: whatever else a stranger invents is one."""
    return method if method in METHODS else "OTHER"
