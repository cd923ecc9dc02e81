"""The routes that are asked thousands of times a second: a prediction by the Open Inference Protocol, or by MLflow's.

They are found by one pattern before any router, and speak plain ASGI; everything else goes on to the other routes. The
guard stands before both. Nothing here knows what a tensor is: bodies are handed on as they came (see `inference`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard, cast

from pydantic_core import to_json
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from singlepoint.jobs.host.frames import Frame, head_bytes

from .guard import ALWAYS, BODY_BYTES, EXCHANGE, READ, ROUTE, Exchange, Guard
from .inference import ENDING, MOST_BODY, Inference, Outcome
from .problems import Refused
from .security import Refusal

ROUTES = ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer", "/invocations")
"""All by POST."""

OUTCOME = "singlepoint.outcome"
"""Where the straight way leaves what became of a prediction, for the usual one to tell."""

MOST_HEADS = 512
"""That are known at a time."""

_INFER = re.compile(r"/v2/models/([A-Za-z0-9][A-Za-z0-9_-]{0,63})(?:/versions/([0-9]{1,9}))?/infer", re.ASCII)


class Head(NamedTuple):
    """What the head of a request says, whatever its body. asked: the head of a frame.  route: for log and counts."""

    asked: bytes
    route: str


class Predictions:
    """An application before another. stopping: whether the service is about to end."""

    def __init__(self, stopping: asyncio.Event, inference: Inference) -> None:
        self.others: ASGIApp | None = None
        self._stopping = stopping
        self._inference = inference

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["method"] == "POST" else ""
        if found := _INFER.fullmatch(path):
            await self._infer(found, scope, receive, send)
        elif path == "/invocations":
            await self._invoke(scope, receive, send)
        else:
            assert self.others is not None
            await self.others(scope, receive, send)

    async def asked(self, head: bytes, body: bytes = b"") -> Frame:
        """The answer of a process that computes. Raises Refused."""
        if self._stopping.is_set():
            raise Refused(ENDING)
        return await self._inference.ask(head, body)

    def head(self, scope: Scope) -> Head | None:
        """What `_infer` would ask; None for whatever is not ordinary. Raises Refused (400)."""
        found = _INFER.fullmatch(scope["path"])
        if found is None or b"content-encoding" in scope[READ]:
            return None
        return Head(_asked(found, scope), scope[ROUTE])

    def begin(self, head: Head, body: bytes, ended: Callable[[Outcome], None]) -> bool:
        """Ask it without a task; False where that cannot be. Raises Refused (429)."""
        return not self._stopping.is_set() and self._inference.begin(head.asked, body, ended)

    async def _infer(self, found: re.Match[str], scope: Scope, receive: Receive, send: Send) -> None:
        head = _asked(found, scope)
        body = await _body(scope, receive)
        outcome = scope.get(OUTCOME) or await self.asked(head, body)
        if isinstance(outcome, Refused):
            raise outcome
        answer: Frame = outcome
        if answer.head["status"] != 200:
            await _send(send, answer.head["status"], _JSON, error(answer))
        elif (json_bytes := answer.head.get("json_bytes")) is None:
            await _send(send, 200, _JSON, answer.body)
        else:
            length = (b"inference-header-content-length", b"%d" % json_bytes)
            await _send(send, 200, _BINARY, answer.body, length)

    async def _invoke(self, scope: Scope, receive: Receive, send: Send) -> None:
        """MLflow's way to ask; it names no model, so there must be one alone."""
        scope[ROUTE] = ROUTES[2]
        [told] = scope[READ].get(b"content-type", [b""])[-1:]
        media_type, _, parameters = told.decode("latin-1").lower().partition(";")
        if "charset" in parameters and "utf-8" not in parameters:
            await _send(send, 415, _TEXT, b"the charset must be utf-8\n")
            return
        head = head_bytes({"what": "invocations", "media_type": media_type.strip()[:100]})
        answer = await self.asked(head, await _body(scope, receive))
        body = answer.body
        if answer.head["status"] != 200:
            body = to_json({"error_code": "BAD_REQUEST", "message": answer.head["error"]})
        await _send(send, answer.head["status"], _JSON, body)


class Straight:
    """The straight way of an ordinary prediction: from the connection to the frame and back, without a task, its answer
    in one piece. The guard asks and notes the same as ever. Whatever is not ordinary (a refusal, an error, a client
    that is slow) goes the usual way, and takes along what became of it so far.

    Heads that were admitted are known from then on, by their bytes: those of programs, which send their token each
    time.
    """

    def __init__(self, guard: Guard, predictions: Predictions) -> None:
        self._predictions = predictions
        self._admitted, self.note = guard.admitted, guard.note
        self._known: dict[bytes, Head] = {}

    def known(self, head: bytes) -> Head | None:
        """What a head says that was admitted before; see `connection.cut`."""
        return self._known.get(head)

    def ask(self, head: Head, body: bytes, ended: Callable[[Outcome], None]) -> bool:
        """False for what the usual way is to tell."""
        with suppress(Exception):  # refused, or a defect: there it is met again
            return self._predictions.begin(head, body, ended)
        return False

    def takes(self, cycle: RequestResponseCycle) -> bool:
        """Whether a request may be one."""
        return cycle.scope["method"] == "POST" and cycle.scope["path"].endswith("/infer")

    def begin(self, cycle: RequestResponseCycle, usual: Callable[[], None], raw_head: bytes | None = None) -> None:
        """Answer a request whose body is there. usual: lets it go the usual way.  raw_head: see `known`."""
        scope = cast(Scope, cycle.scope)
        exchange = head = None
        with suppress(Exception):  # a defect; on the usual way it is met again, and told
            exchange = None if cycle.waiting_for_100_continue else self._admitted(scope)
        if exchange is None:
            usual()
            return
        with suppress(Exception):  # refused, or a defect again
            head = self._predictions.head(scope)

        def ended(outcome: Outcome) -> None:
            ready = cycle.keep_alive and not cycle.disconnected and not cycle.flow.write_paused
            if ready and is_done(outcome):
                _answer(cycle, exchange, outcome)
                self.note(exchange.over())
            else:
                scope[EXCHANGE], scope[OUTCOME] = exchange, outcome
                usual()

        if head is None or not self.ask(head, bytes(cycle.body), ended):
            scope[EXCHANGE] = exchange
            usual()
        elif raw_head is not None and cycle.keep_alive and _comes_again(scope):
            self._know(raw_head, head)

    def _know(self, raw_head: bytes, head: Head) -> None:
        if len(self._known) >= MOST_HEADS:
            self._known.clear()
        self._known[raw_head] = head


def _comes_again(scope: Scope) -> bool:
    """Whether the same bytes would be admitted at any time: by token, which does not end as a cookie does, and with a
    body that is there at once and as long as the head says."""
    read = scope[READ]
    return b"authorization" in read and read.keys().isdisjoint((b"transfer-encoding", b"expect", b"upgrade"))


def is_done(outcome: Outcome) -> TypeGuard[Frame]:
    """Whether a request was answered as it was asked."""
    return isinstance(outcome, Frame) and outcome.head["status"] == 200


def status_of(outcome: Outcome) -> int:
    """As HTTP has it."""
    return outcome.head["status"] if isinstance(outcome, Frame) else outcome.refusal.status


def answered(answer: Frame, default_headers: Iterable[tuple[bytes, bytes]], request_id: str) -> bytes:
    """What `_send`, the guard and uvicorn make of an answer with status 200, in one piece."""
    body, json_bytes = answer.body, answer.head.get("json_bytes")
    dates = b"".join([b"%b: %b\r\n" % one for one in default_headers])
    lines = _JSON_LINES % len(body) if json_bytes is None else _BINARY_LINES % (len(body), json_bytes)
    end = b"x-request-id: %b\r\n\r\n" % request_id.encode()
    return b"".join((STATUS_LINE[200], dates, lines, end, body))


def _answer(cycle: RequestResponseCycle, exchange: Exchange, answer: Frame) -> None:
    cycle.transport.write(answered(answer, cycle.default_headers, exchange.request_id))
    exchange.status, exchange.sent_bytes = 200, len(answer.body)
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()


def _lines(*headers: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"%b: %b\r\n" % one for one in (*headers, *ALWAYS))


_JSON, _BINARY, _TEXT = (
    (b"content-type", kind) for kind in (b"application/json", b"application/octet-stream", b"text/plain; charset=utf-8")
)


_LENGTH = (b"content-length", b"%d")
_JSON_LINES = _lines(_JSON, _LENGTH)
_BINARY_LINES = _lines(_BINARY, _LENGTH, (b"inference-header-content-length", b"%d"))


def error(answer: Frame) -> bytes:
    """What the protocol tells of a refusal."""
    return to_json({"error": answer.head["error"]})


def _asked(found: re.Match[str], scope: Scope) -> bytes:
    """The head of the frame that asks for a prediction. Raises Refused (400)."""
    scope[ROUTE] = ROUTES[1 if found[2] else 0]
    [told] = scope[READ].get(b"inference-header-content-length", [b""])[-1:]
    if told and (not told.isdigit() or len(told) > 9):
        raise Refused(Refusal(400, "Called wrongly", "Inference-Header-Content-Length is no number"))
    return _infer_head(found[1], found[2], told)


@lru_cache(maxsize=1024)
def _infer_head(name: str, version: str | None, json_bytes: bytes) -> bytes:
    head: dict[str, Any] = {"what": "infer", "model": name, "version": version}
    return head_bytes(head | ({"json_bytes": int(json_bytes)} if json_bytes else {}))


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Raises Refused for one that is compressed or too large."""
    if scope[READ].get(b"content-encoding", [b"identity"]) != [b"identity"]:
        raise Refused(Refusal(415, "Compressed", "bodies are taken as they are, not compressed"))
    scope[BODY_BYTES] = MOST_BODY
    message = await receive()
    if not message.get("more_body"):
        return message.get("body", b"")  # type: ignore[no-any-return]
    pieces = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        pieces.append(message.get("body", b""))
    return b"".join(pieces)


async def _send(send: Send, status: int, kind: tuple[bytes, bytes], body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [kind, (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
