"""Predictions at once: requests of the Open Inference Protocol and of MLflow, handed on to the process that computes.

That process is another (it has the models, and numpy), so a large model or a defect in it leaves page and interface
alone. What it cannot take any more is refused here, at once: 429 with the time after which it is worth asking again,
503 while it starts or the service ends, 504 when an answer comes too late.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from singlepoint.jobs.host.frames import MOST_BODY_BYTES, Frame, Frames

from .problems import Refused
from .security import Refusal

WAITING = 1024
"""Requests under way; more are turned away."""

WAITING_BYTES = 256 * 2**20
DEADLINE_S = 30.0
STARTING = Refusal(503, "Not ready", "predictions are not answered yet", "try again in a moment")
ENDING = Refusal(503, "Draining", "the service is about to end")
LATE = Refusal(504, "Too late", f"no answer within {DEADLINE_S:g} s")


@dataclass(frozen=True)
class Asked:
    """A request under way."""

    reply: asyncio.Future[Frame]
    bytes: int
    at: float


class Inference:
    """The connection to the process that answers; made when it is first needed, and again when it broke."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._connecting = asyncio.Lock()
        self._under_way: dict[int, Asked] = {}
        self._bytes = 0
        self._numbers = count(1)
        self._mean_s = 0.001

    async def ask(self, head: Mapping[str, Any], body: bytes = b"") -> Frame:
        """The answer. Raises Refused (429, 503, 504)."""
        if len(self._under_way) >= WAITING or self._bytes + len(body) > WAITING_BYTES:
            raise TooMany(math.ceil(self._mean_s * len(self._under_way)) or 1)
        writer = await self._connected()
        number, now_s = next(self._numbers), time.monotonic()
        asked = Asked(asyncio.get_running_loop().create_future(), len(body), now_s)
        self._under_way[number] = asked
        self._bytes += len(body)
        try:
            writer.write(Frame({**head, "id": number, "at": now_s, "until": now_s + DEADLINE_S}, body).packed())
            return await asyncio.wait_for(asked.reply, DEADLINE_S)
        except TimeoutError:
            raise Refused(LATE) from None
        except (OSError, asyncio.CancelledError) as error:
            if isinstance(error, OSError) or asked.reply.cancelled():
                raise Refused(STARTING) from None
            raise
        finally:
            del self._under_way[number]
            self._bytes -= len(body)

    async def _connected(self) -> asyncio.StreamWriter:
        if self._writer is not None and not self._writer.is_closing():
            return self._writer
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                try:
                    reader, self._writer = await asyncio.open_unix_connection(str(self._path))
                except OSError:
                    raise Refused(STARTING) from None
                self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        try:
            while content := await reader.read(1 << 18):
                for frame in frames.take(content):
                    self._answered(frame)
        except (OSError, ValueError):
            pass
        finally:
            writer.close()
            for asked in list(self._under_way.values()):
                if not asked.reply.done():
                    asked.reply.set_exception(OSError("the connection broke"))

    def _answered(self, frame: Frame) -> None:
        asked = self._under_way.get(frame.head["id"])
        if asked is not None and not asked.reply.done():  # else whoever asked has gone
            asked.reply.set_result(frame)
            took_s = (time.monotonic() - asked.at) / max(1, len(self._under_way))
            self._mean_s += 0.05 * (took_s - self._mean_s)

    def close(self) -> None:
        if self._writer is not None:
            with suppress(RuntimeError):
                self._writer.close()


class TooMany(Refused):
    """More waits than is worth waiting for."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(Refusal(429, "Too many requests", "the queue is full", f"try again in {retry_after_s} s"))
        self.retry_after_s = retry_after_s


MOST_BODY = MOST_BODY_BYTES // 4
"""Bytes of one request."""
