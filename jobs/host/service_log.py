"""How the services write their log: one line an event, UTC, on stderr, whoever of them writes it.

Events of which there may be thousands a second are noted, and written together (`Often`): a line of its own took
a fifth of all that was done for a prediction.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

FORMAT = "%(asctime)s %(name)s %(message)s"


class UtcFormatter(logging.Formatter):
    """Times as in every other file of a home: `2026-11-24T05:32:29.123Z`."""

    _second, _shown = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        events: Sequence[tuple[float, str]] | None = getattr(record, _EVENTS, None)
        if events is None:
            return super().format(record)
        return "\n".join(f"{self._time(at)} {record.name} {message}" for at, message in events)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        return self._time(record.created)

    def _time(self, at: float) -> str:
        second = int(at)
        if second != self._second:  # of thousands in one second, the first alone is written out
            self._second, self._shown = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._shown}.{int(1000 * (at - second)):03d}Z"


_EVENTS = "singlepoint_events"


class Often:
    """Events that are written together, those of a tenth of a second. In one event loop.

    What was noted in the last moment is lost with a process that is killed.
    """

    LATER_S = 0.1
    MOST = 128
    """More would keep whoever asks next waiting while they are written."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._noted: list[tuple[float, object]] = []
        self._is_due = False

    def note(self, message: object) -> None:
        """To be written soon, and made text then."""
        self._noted.append((time.time(), message))
        if not self._is_due:
            import asyncio  # here: attempts, and whoever hands in, have a log too, and no event loop

            asyncio.get_running_loop().call_later(self.LATER_S, self._write_those_due)
            self._is_due = True
        elif len(self._noted) >= self.MOST:
            self.write()

    def _write_those_due(self) -> None:
        self._is_due = False
        self.write()

    def write(self) -> None:
        """All that was noted."""
        told, self._noted = [(at, str(message)) for at, message in self._noted], []
        if told:
            self._log.info("\n".join([message for _, message in told]), extra={_EVENTS: told})


def log_to_stderr() -> None:
    """Send the events of this process to stderr; called once, by a service's command."""
    # Where in the source, and in which thread or process, is in no line of ours: half of what a line costs.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(UtcFormatter(FORMAT))
    log = logging.getLogger("singlepoint")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
