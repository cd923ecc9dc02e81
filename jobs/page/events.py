"""What changes, as it changes: numbered events, the newest kept, so that a reader who was away goes on where it was.

    job       a job's row, as in the list, whenever it differs from what was told before
    removed   the id of a job that is gone
    machine   budget, what of it is granted, services
    reset     too much was missed: read everything anew

A thread looks while anybody listens, and only then: when Redis tells of a move, once a second while something runs, and
every few seconds otherwise. What changed while nobody listened is told to the first who listens again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from singlepoint.jobs.client.listing import row_of
from singlepoint.jobs.client.query import Row, listing
from singlepoint.jobs.client.session import Session, redis_error
from singlepoint.jobs.errors import SinglepointError
from singlepoint.jobs.lifecycle.states import FINAL

from .api.machine import machine_document
from .service import Document

log = logging.getLogger("singlepoint.http")

KEPT = 4096
"""Events that a reader may have missed and still go on."""

PING_S = 15.0
MOVING_S = 1.0
STILL_S = 5.0
APART_S = 0.2
"""Between two looks, however much happens."""


@dataclass(frozen=True)
class Event:
    """One thing that was told. number: counts up by one from the start of the service."""

    number: int
    kind: str
    document: Document


def message(event_id: str, kind: str, document: Document) -> bytes:
    """A server-sent event as it goes over the wire."""
    data = json.dumps(document, separators=(",", ":"))
    return f"id: {event_id}\nevent: {kind}\ndata: {data}\n\n".encode()


class Feed:
    """The events of this start of the service, and all who wait for the next one."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.stopping = asyncio.Event()
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._number = 0
        self._lock = threading.Lock()
        self._readers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self.listened_to = threading.Event()

    def tell(self, kind: str, document: Document) -> None:
        """Add an event; from any thread."""
        with self._lock:
            self._number += 1
            self._kept.append(Event(self._number, kind, document))
            readers = list(self._readers.items())
        for reader, loop in readers:
            with suppress(RuntimeError):  # its loop has ended
                loop.call_soon_threadsafe(reader.set)

    @property
    def readers(self) -> int:
        return len(self._readers)

    def since(self, number: int) -> list[Event] | None:
        """The events after one, or None when some of them are no longer kept."""
        with self._lock:
            oldest = self._kept[0].number if self._kept else self._number + 1
            if number > self._number or number + 1 < oldest:
                return None
            return [event for event in self._kept if event.number > number]

    def _position(self, last_id: str) -> int | None:
        """The number of a Last-Event-ID; None for one of another start, or none."""
        instance, _, number = last_id.rpartition(":")
        return int(number) if instance == self.instance and number.isdecimal() and len(number) < 16 else None

    def _encoded(self, event: Event) -> bytes:
        return message(f"{self.instance}:{event.number}", event.kind, event.document)

    async def stream(self, last_id: str) -> AsyncIterator[bytes]:
        """What a reader is sent, until it goes or the service stops."""
        wake = asyncio.Event()
        with self._lock:
            self._readers[wake] = asyncio.get_running_loop()
            newest = self._number
        self.listened_to.set()
        try:
            yield b"retry: 1000\n\n"
            position = self._position(last_id)
            if position is None or self.since(position) is None:
                position = newest
                yield self._encoded(Event(position, "reset", {}))
            while not self.stopping.is_set():
                wake.clear()
                missed = self.since(position)
                if missed is None:  # slower than what happens
                    position = self._number
                    yield self._encoded(Event(position, "reset", {}))
                    continue
                for event in missed:
                    position = event.number
                    yield self._encoded(event)
                if not missed and not await either(wake, self.stopping, PING_S):
                    yield b": ping\n\n"
        finally:
            with self._lock:
                del self._readers[wake]
                if not self._readers:
                    self.listened_to.clear()


async def either(one: asyncio.Event, other: asyncio.Event, timeout_s: float) -> bool:
    """Wait until one of two is set; False when the time is up before."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for wait in waits:
            wait.cancel()


class Watch:
    """Looks at the home while somebody listens, and tells the feed what changed."""

    def __init__(self, session: Session, feed: Feed) -> None:
        self._session = session
        self._feed = feed
        self._rows: dict[str, Row] | None = None  # before the first look
        self._machine: Document = {}
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        self._feed.listened_to.set()

    def look(self) -> bool:
        """Tell what changed since the last look; answers whether something moves that no news will tell of."""
        rows = {row["id"]: row for row in listing(self._session).rows}
        if self._rows is None:
            self._feed.tell("reset", {})  # whoever read before this look may have missed something
            self._rows = rows
        rows |= self._since_ended(rows, self._rows)
        for job_id, row in rows.items():
            if self._rows.get(job_id) != row:
                self._feed.tell("job", row)
        for job_id in self._rows.keys() - rows.keys():
            self._feed.tell("removed", {"id": job_id})
        self._rows = rows
        machine = machine_document(self._session)
        if machine != self._machine:
            self._machine = machine
            self._feed.tell("machine", machine)
        return any(row["state"] == "running" and not row["paused"] for row in rows.values())

    def _since_ended(self, rows: Mapping[str, Row], before: Mapping[str, Row]) -> dict[str, Row]:
        """The jobs that went on at the last look, or had ended not long before it, and are still there."""
        ended = {}
        for job_id in [job_id for job_id in before if job_id not in rows][-KEPT:]:
            known = before[job_id]
            row = known if known["state"] in FINAL else row_of(self._session, job_id)
            if row is not None and self._session.store.exists(job_id):
                ended[job_id] = row
        return ended

    def _run(self) -> None:
        while not self._ended.is_set():
            self._feed.listened_to.wait()
            with suppress(Exception) if self._ended.is_set() else _logged():
                self._listen(self._session.index.news(APART_S))
            if not self._ended.is_set() and self._feed.listened_to.is_set():
                self._without_redis()

    def _listen(self, news: Iterator[str], clock: Callable[[], float] = time.monotonic) -> None:
        """Look whenever it is time, as long as anybody listens."""
        looked, due, moving = float("-inf"), True, False
        for job_id in news:
            if self._ended.is_set() or not self._feed.listened_to.is_set():
                return
            due = due or bool(job_id)
            waited_s = clock() - looked
            if waited_s >= (APART_S if due else MOVING_S if moving else STILL_S):
                looked, due = clock(), False
                moving = self.look()

    def _without_redis(self) -> None:
        with _logged():
            self.look()
        self._ended.wait(MOVING_S)


class _logged:  # noqa: N801 - reads as a statement
    """Keeps the watch alive whatever a look meets: what it cannot read now it may read in a second."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> bool:
        if error is None:
            return True
        if not isinstance(error, Exception):
            return False
        if not isinstance(error, SinglepointError) and redis_error(error) is None:
            log.warning("watch_failed error=%s", type(error).__name__)
        return True
