"""The routes that are asked thousands of times a second: a prediction by the Open Inference Protocol, or by MLflow's.

They are found by one pattern before any router, and speak plain ASGI; everything else goes on to the other routes. The
guard stands before both. Nothing here knows what a tensor is: bodies are handed on as they came (see `inference`).
"""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from typing import Any

from pydantic_core import to_json
from starlette.types import ASGIApp, Receive, Scope, Send

from singlepoint.jobs.host.frames import Frame, head_bytes

from .guard import BODY_BYTES, READ, ROUTE
from .inference import ENDING, MOST_BODY, Inference
from .problems import Refused
from .security import Refusal

ROUTES = ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer", "/invocations")
"""All by POST."""

_INFER = re.compile(r"/v2/models/([A-Za-z0-9][A-Za-z0-9_-]{0,63})(?:/versions/([0-9]{1,9}))?/infer", re.ASCII)


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

    async def _infer(self, found: re.Match[str], scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = ROUTES[1 if found[2] else 0]
        [told] = scope[READ].get(b"inference-header-content-length", [b""])[-1:]
        if told and (not told.isdigit() or len(told) > 9):
            raise Refused(Refusal(400, "Called wrongly", "Inference-Header-Content-Length is no number"))
        answer = await self.asked(_infer_head(found[1], found[2], told), await _body(scope, receive))
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


_JSON, _BINARY, _TEXT = (
    (b"content-type", kind) for kind in (b"application/json", b"application/octet-stream", b"text/plain; charset=utf-8")
)


def error(answer: Frame) -> bytes:
    """What the protocol tells of a refusal."""
    return to_json({"error": answer.head["error"]})


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
