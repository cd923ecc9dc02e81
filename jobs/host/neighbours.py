"""Other homes at work on this machine: each grants out of its own budget, and knows nothing of the others.

They are found by the lock that a scheduler holds open, so only those of the same user, and in the same container.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.store.home import Home

from .capacity import Capacity, read_capacity


def neighbours(home: Home) -> dict[Path, Capacity]:
    """Every other home whose scheduler runs, by its path, with what that may grant."""
    found: dict[Path, Capacity] = {}
    for place in {path.parent for path in _open_locks(home.lock("scheduler").name)} - {home.path.resolve()}:
        try:
            capacity = read_capacity(Home(place))
        except InvalidInput:  # its own doctor says so
            continue
        if capacity is not None and capacity.is_live():
            found[place] = capacity
    return found


def _open_locks(name: str) -> Iterator[Path]:
    """The files of that name that a process of ours has open."""
    import psutil

    for process in psutil.process_iter():
        try:
            yield from (path for file in process.open_files() if (path := Path(file.path)).name == name)
        except (psutil.Error, OSError):
            continue
