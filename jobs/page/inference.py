"""Predictions at once: requests of the Open Inference Protocol and of MLflow, handed on to processes that compute.

Those are others (they have the models, and numpy), so a large model or a defect in one leaves page and interface alone.
A request goes to the one that has least to do. What they cannot take any more is refused here, at once: 429 with the
time after which it is worth asking again, 503 while they start or the service ends, 504 when an answer comes too late.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, cast

from singlepoint.jobs.host.frames import MOST_BODY_BYTES, TOGETHER, Frame, Frames, framed

from .problems import Refused
from .security import Limits, Refusal

log = logging.getLogger("singlepoint.http")

STARTING = Refusal(503, "Not ready", "predictions are not answered yet", "try again in a moment")
ENDING = Refusal(503, "Draining", "the service is about to end")

MOST_BODY = MOST_BODY_BYTES // 4
"""Bytes of one request."""


class TooMany(Refused):
    """More waits than is worth waiting for."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(Refusal(429, "Too many requests", "the queue is full", f"try again in {retry_after_s} s"))
        self.retry_after_s = retry_after_s


Outcome = Frame | Refused
"""What becomes of a request: an answer, or why there is none."""


class Asked(NamedTuple):
    """A request under way. ended: called once, unless whoever asked has gone."""

    at_s: float
    body_bytes: int
    ended: Callable[[Outcome], None]


class Inference:
    """All processes that compute, by their sockets. In one event loop.

    told: called with each answer, when it was asked for, and when it came.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        limits: Limits,
        told: Callable[[Frame, float, float], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._told = limits, told
        self._lines = [_Line(path, self._ended) for path in paths]
        self._clock = clock
        self._bytes = 0
        self._waiting = 0
        self._mean_s = 0.001
        self._look: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests under way."""
        return self._waiting

    async def ask(self, head: bytes, body: bytes = b"") -> Frame:
        """The answer to a request; head: as `frames.head_bytes` gives it. Raises Refused (429, 503, 504)."""
        line = self._line(len(body))
        if not line.is_open:
            await line.open()
        reply: asyncio.Future[Frame] = line.loop.create_future()
        number = self._send(line, head, body, partial(_settle, reply))
        try:
            return await reply
        except asyncio.CancelledError:
            if (asked := line.under_way.pop(number, None)) is not None:  # whoever asked has gone
                self._no_longer(asked)
            raise

    def begin(self, head: bytes, body: bytes, ended: Callable[[Outcome], None]) -> bool:
        """The same without a task: `ended` is called with the outcome. False where there is no connection yet.

        Raises Refused (429).
        """
        line = self._line(len(body))
        if line.is_open:
            self._send(line, head, body, ended)
        return line.is_open

    def _line(self, body_bytes: int) -> _Line:
        if self._waiting >= self._limits.waiting or self._bytes + body_bytes > self._limits.waiting_bytes:
            raise TooMany(math.ceil(self._mean_s * self._waiting) or 1)
        return min(self._lines, key=lambda line: len(line.under_way)) if len(self._lines) > 1 else self._lines[0]

    def _send(self, line: _Line, head: bytes, body: bytes, ended: Callable[[Outcome], None]) -> int:
        asked = Asked(self._clock(), len(body), ended)
        self._bytes += asked.body_bytes
        self._waiting += 1
        if self._look is None:
            self._look = line.loop.call_later(self._look_s, self._end_late)
        return line.send(asked, head, body)

    def _ended(self, asked: Asked, outcome: Outcome) -> None:
        """Tells whoever asked, and once that is on its way the figures: those can wait."""
        self._no_longer(asked)
        now_s = self._clock()
        try:
            asked.ended(outcome)
        except Exception as error:  # a defect, of this one: others wait for what came with it
            log.error("defect", exc_info=error)
        if isinstance(outcome, Frame):
            self._mean_s += 0.05 * ((now_s - asked.at_s) / (self._waiting + 1) - self._mean_s)
            asyncio.get_running_loop().call_soon(self._told, outcome, asked.at_s, now_s)

    def _no_longer(self, asked: Asked) -> None:
        self._bytes -= asked.body_bytes
        self._waiting -= 1

    def _end_late(self) -> None:
        """Whoever waited its time out is told so: one look at all of them costs less than a timer for each."""
        self._look, deadline_s = None, self._limits.deadline_s
        late = Refusal(504, "Too late", f"no answer within {deadline_s:g} s")
        for line in self._lines:
            line.end_late(self._clock() - deadline_s, late)
            if line.under_way and self._look is None:
                self._look = line.loop.call_later(self._look_s, self._end_late)

    @property
    def _look_s(self) -> float:
        return self._limits.deadline_s / 60

    def close(self) -> None:
        for line in self._lines:
            line.close()


def _settle(reply: asyncio.Future[Frame], outcome: Outcome) -> None:
    if reply.done():
        return  # whoever asked has gone in this instant
    if isinstance(outcome, Frame):
        reply.set_result(outcome)
    else:
        reply.set_exception(outcome)


class _Line(asyncio.Protocol):
    """The connection to one of them; made when it is first needed, and again when it broke.

    What is asked in one turn of the loop goes out together: whoever computes it finds it as one batch. What is asked
    while nothing is under way goes out at once, and of many the first while the others are still read, so that neither
    side waits for the other.
    """

    def __init__(self, path: Path, ended: Callable[[Asked, Outcome], None]) -> None:
        self._path, self._ended = path, ended
        self._opening = asyncio.Lock()
        self.under_way: dict[int, Asked] = {}
        self._numbers = count(1)
        self._frames = Frames()
        self._leaving: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    async def open(self) -> None:
        """Raises Refused when nobody listens."""
        async with self._opening:
            if self._transport is None:
                self.loop = asyncio.get_running_loop()
                try:
                    await self.loop.create_unix_connection(lambda: self, str(self._path))
                except OSError:
                    raise Refused(STARTING) from None

    def send(self, asked: Asked, head: bytes, body: bytes) -> int:
        """Hand a request over, soon; answers the number it is under way by."""
        number = next(self._numbers)
        self.under_way[number] = asked
        self._leaving.append(framed(number, head, body, asked.at_s))
        if len(self.under_way) == 1 or len(self._leaving) >= TOGETHER:
            self._leave()
        elif len(self._leaving) == 1:
            self.loop.call_soon(self._leave)
        return number

    def _leave(self) -> None:
        leaving, self._leaving = self._leaving, []
        if leaving and self._transport is not None:
            self._transport.write(b"".join(leaving))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._frames, self._transport = Frames(), cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._frames.take(data)
        except ValueError:
            self.close()
            return
        for frame in frames:
            if (asked := self.under_way.pop(frame.id, None)) is not None:  # else whoever asked has gone
                self._ended(asked, frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._refuse(list(self.under_way), STARTING)

    def end_late(self, asked_before_s: float, late: Refusal) -> None:
        self._refuse([number for number, asked in self.under_way.items() if asked.at_s <= asked_before_s], late)

    def _refuse(self, numbers: Sequence[int], why: Refusal) -> None:
        for number in numbers:
            self._ended(self.under_way.pop(number), Refused(why))

    def close(self) -> None:
        if self._transport is not None:
            with suppress(RuntimeError):
                self._transport.close()
