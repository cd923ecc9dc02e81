"""What processes that died left half written: temporary files in a home, and directories of their own elsewhere.

A temporary file carries the id of the process that writes it, so one whose process is gone will never get its name. It
goes once it has also lain there for a while: another container that shares the home counts its processes by itself.
The files of jobs are not looked at here: each attempt sweeps those of its job.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from singlepoint.jobs.store.home import Home

from .processes import started

_WRITTEN_BY = re.compile(r"^\..+\.(\d+)\.tmp$")
_OWNED_BY = re.compile(r"^singlepoint-(\d+)-")


def own_directory() -> tempfile.TemporaryDirectory[str]:
    """A temporary directory of this process, outside of any home, which is swept if the process dies."""
    return tempfile.TemporaryDirectory(prefix=f"singlepoint-{os.getpid()}-")


def sweep(home: Home, older_than: float) -> None:
    """Remove what dead processes left that was last written before that time. Never fails: the next one may succeed."""
    for path, pid in _left(home):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if status.st_mtime < older_than and status.st_uid == os.geteuid() and started(pid) is None:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _left(home: Home) -> Iterator[tuple[Path, int]]:
    places = (home.path, home.redis, *home.models.glob("*"), *home.models.glob("*/*"))
    for pattern, where in ((_WRITTEN_BY, places), (_OWNED_BY, (Path(tempfile.gettempdir()),))):
        for place in where:
            with contextlib.suppress(OSError):
                for entry in os.scandir(place):
                    if match := pattern.match(entry.name):
                        yield Path(entry.path), int(match[1])
