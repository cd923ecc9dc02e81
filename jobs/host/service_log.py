"""How the services write their log: one line an event, UTC, on stderr, whoever of them writes it."""

from __future__ import annotations

import logging
import sys
import time

FORMAT = "%(asctime)s %(name)s %(message)s"


class UtcFormatter(logging.Formatter):
    """Times as in every other file of a home: `2026-11-24T05:32:29.123Z`."""

    _second, _shown = -1, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        second = int(record.created)
        if second != self._second:  # of thousands in one second, the first alone is written out
            self._second, self._shown = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._shown}.{int(record.msecs):03d}Z"


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
