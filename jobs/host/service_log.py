"""How the services write their log: one line an event, UTC, on stderr, whoever of them writes it."""

from __future__ import annotations

import logging
import sys
import time

FORMAT = "%(asctime)s %(name)s %(message)s"


class UtcFormatter(logging.Formatter):
    """Times as in every other file of a home: `2026-11-24T05:32:29.123Z`."""

    converter = time.gmtime  # type: ignore[assignment]
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def log_to_stderr() -> None:
    """Send the events of this process to stderr; called once, by a service's command."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(UtcFormatter(FORMAT))
    log = logging.getLogger("singlepoint")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
