"""A job's own log: events with facts, bounded in size: what is in the middle goes, its beginning and its end stay.

What the process prints (libraries, the interpreter's last words) goes there as well. Facts only: no values
from the data.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.host.service_log import UtcFormatter

LIMIT_BYTES = 10 * 2**20
"""A log above this is cut ..."""

HEAD_BYTES = 2**20
"""... to this much of its beginning, and its later half."""

LINE_BYTES = 64 * 2**10
"""How far from there a line's end is looked for: what draws a progress bar ends no line in megabytes."""

_CUT = b"... lines were cut here ...\n"


@contextlib.contextmanager
def job_log(logger: logging.Logger, path: Path) -> Iterator[None]:
    """Send the logger, stdout and stderr of this process to the job's log at `path`."""
    descriptor = _open(path)
    handler = _Forgiving(os.fdopen(os.dup(descriptor), "w", buffering=1, encoding="utf-8"))
    handler.setFormatter(UtcFormatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable()
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def _open(path: Path) -> int:
    """The log, shortened; nowhere when it cannot be opened: a full disk costs log lines, never the work."""
    keep_small(path)
    try:
        reach("log.open")
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


class _Forgiving(logging.StreamHandler):  # type: ignore[type-arg]
    """A full disk costs log lines, never the work."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        return


def keep_small(path: Path) -> None:
    """Cut a log that has grown, under the hands of those who append to it. Only the attempt itself may."""
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size <= LIMIT_BYTES:
            return
        file.seek(size - LIMIT_BYTES // 2)
        rest = file.read()
        rest = rest[rest.find(b"\n", 0, LINE_BYTES) + 1 :]
        file.seek(HEAD_BYTES - LINE_BYTES)
        end = file.read(LINE_BYTES).rfind(b"\n") + 1
        file.seek(HEAD_BYTES - LINE_BYTES + end if end else HEAD_BYTES)
        file.write((_CUT if end else b"\n" + _CUT) + rest)
        file.truncate()
