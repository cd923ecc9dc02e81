"""One connection of a client: uvicorn's, with bounds on what it leaves unbounded, and a short way for what comes again.

Headers that are too long, or do not come, end it; so do bodies that pause (see `guard.TOO_SLOW`). A request that is
there at once, as most are, costs no timer. A prediction whose head is one that was admitted before, byte for byte but
for the length of its body, is begun without parser, guard and task: the same bytes would be let in again. Whatever
turns out not to be ordinary then (an error, a slow client, an end) is parsed after all, and goes the usual way.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from . import problems
from .guard import ALWAYS, BEGAN, TOO_SLOW, Over, new_request_id
from .inference import Outcome
from .predictions import OUTCOME, Head, Straight, answered, is_done, status_of
from .problems import Refused
from .security import Limits, Refusal

END = b"\r\n\r\n"
MOST_HEAD_BYTES = 2048
"""A longer head is not remembered."""

_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]{1,9})\r\n", re.IGNORECASE)


def cut(data: bytes) -> tuple[bytes, bytes] | None:
    """A request's head, less the digits of its body's length, and its body; None for data that is not one whole."""
    end = data.find(END, 0, MOST_HEAD_BYTES)
    length = _LENGTH.search(data, 0, end + 2) if end > 0 else None
    if length is None or int(length[1]) != len(data) - end - len(END):
        return None
    return data[: length.start(1)] + data[length.end(1) : end], data[end + len(END) :]


class Again(NamedTuple):
    """A request under way whose head came before. data: all of it.  began: by `time.perf_counter`."""

    data: bytes
    head: Head
    began: float


class Connection(HttpToolsProtocol):
    """See above. limits, straight: set in a class of the service's own."""

    limits = Limits()
    straight: Straight
    _held: tuple[RequestResponseCycle, Any] | None = None
    _reads = _has_ended_one = False  # in the piece that is parsed
    _expected: str | None = "headers"
    _unfinished_bytes = 0
    _timer: asyncio.TimerHandle | None = None
    _head: bytes | None = None  # of the one request that is being parsed
    _again: Again | None = None
    _carried: Mapping[str, Any] | None = None  # what is known of the request that is parsed after all
    _later = b""  # came while one was under way again
    _is_to_end = False
    _answered_s = 0.0  # by the loop's clock, to the last that came again

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.limits.header_s, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expected = None
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._again is not None:
            self._later += data
            self.flow.pause_reading()
            return
        found = cut(data) if self._is_between else None
        if found is None:
            self._parse(data)
        elif not self._begins_again(data, *found):
            self._head = found[0]
            self._parse(data)
            self._head = None

    @property
    def _is_between(self) -> bool:
        """Whether nothing of a request is here, and none is being answered."""
        is_whole = self._unfinished_bytes == 0 and self._expected != "body"
        return is_whole and bool(getattr(self.cycle, "response_complete", True))  # there is none at first

    # ---- as always -----------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        self._reads, self._has_ended_one = True, False
        super().data_received(data)
        self._reads = False
        if self._held is not None:
            self._begin(*self._held)
        if self._expected == "headers":
            # The parser holds them back until the header is whole. How much of this is another request's nobody tells.
            self._unfinished_bytes += 0 if self._has_ended_one else len(data)
            if self._unfinished_bytes > 2 * self.limits.header_bytes and not self.transport.is_closing():
                self.send_400_response("the headers are too long")
            if self._timer is None:
                self._timer = self.loop.call_later(self.limits.header_s, self._give_up)
        elif self._expected == "body":
            self._stop_timer()
            self._timer = self.loop.call_later(self.limits.body_s, self._give_up)
        elif not (self._is_between and self.timeout_keep_alive_task is None):
            self._stop_timer()
        elif self._timer is None and not self.transport.is_closing():  # line ends, which begin nothing
            self._timer = self.loop.call_later(self.limits.header_s, self._give_up)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not self.straight.takes(cycle):
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body and self._reads:  # by the end of what has come it may be there
            self._held = cycle, app
        else:
            self._begin(cycle, app)

    def _begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._held = None
        usual = partial(super()._start_asgi_task, cycle, app)
        if self._carried is not None:
            cycle.scope.update(self._carried)  # type: ignore[typeddict-item]
            self._carried = None
            usual()
        elif cycle.more_body:
            usual()
        else:
            self.straight.begin(cycle, usual, self._head)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expected, self._unfinished_bytes = "headers", 0

    def on_headers_complete(self) -> None:
        self._expected, self._unfinished_bytes = "body", 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._expected, self._has_ended_one = None, True
        super().on_message_complete()

    # ---- what comes again ----------------------------------------------------------------------------------

    def _begins_again(self, data: bytes, head: bytes, body: bytes) -> bool:
        known = self.straight.known(head)
        if known is None:
            return False
        self._again = again = Again(data, known, time.perf_counter())
        if not self.straight.ask(known, body, partial(self._answer_again, again)):
            self._again = None
            return False
        self._stop_timer()  # there is one on a new connection
        self._expected = None
        return True

    def _answer_again(self, again: Again, outcome: Outcome) -> None:
        if self._again is not again:  # the usual way has it
            return
        self._again = None
        if self.transport.is_closing():
            self._later = b""
            self._note(again, new_request_id(), status_of(outcome), 0)
        elif is_done(outcome) and not (self._is_to_end or self.flow.write_paused):
            request_id = new_request_id()
            self.transport.write(answered(outcome, self.server_state.default_headers, request_id))
            self._note(again, request_id, 200, len(outcome.body))
            self._go_on()
        else:
            self._carried = {OUTCOME: outcome, BEGAN: again.began}
            later, self._later = self._later, b""
            self._parse(again.data + later)
            if self._is_to_end:
                super().shutdown()

    def _note(self, again: Again, request_id: str, status: int, sent_bytes: int) -> None:
        self.server_state.total_requests += 1
        seconds = time.perf_counter() - again.began
        over = Over(request_id, "POST", again.head.route, status, sent_bytes, seconds)
        self.loop.call_soon(self.straight.note, over)  # once the answer is on its way

    def _go_on(self) -> None:
        """With what came meanwhile; without that, the connection may be kept for a while. Its one timer is left as it
        is from one answer to the next, and looks when it is over."""
        self._answered_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_handler()
        if self._later:
            later, self._later = self._later, b""
            self.flow.resume_reading()
            self.data_received(later)

    def timeout_keep_alive_handler(self) -> None:
        left_s = self._answered_s + self.timeout_keep_alive - self.loop.time()
        if self._again is not None or left_s > 0:
            after_s = left_s if left_s > 0 else self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(after_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        if self._again is not None:
            self._is_to_end = True  # its answer says so
        else:
            super().shutdown()

    # ---- ends ----------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or a method that HTTP does not know, never reaches the guard: told as it would tell it."""
        request_id = new_request_id()
        detail = msg[:1].lower() + msg[1:].rstrip(".")
        body = to_json(problems.document(Refused(Refusal(400, "Not HTTP", detail)), "", request_id))
        headers = [
            (b"content-type", problems.MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"x-request-id", request_id.encode()),
            *ALWAYS,
        ]
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in headers), b"", body]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self._expected == "body" and not self.cycle.response_started:
            self.scope[TOO_SLOW] = True  # type: ignore[literal-required]
            self.cycle.message_event.set()
        elif not self.transport.is_closing():
            self.transport.close()
