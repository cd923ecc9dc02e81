"""Which jobs go on, by name: `going-on/`, an empty file for each, so that nobody has to list all that ever ran.

A name is there before its job is, and goes when the job's end is safe on the disk in the ledger: a name too many costs
a look. None is missing once somebody went through the directories of all jobs and said so (`bring_in_line`). That holds
for the ledger of that time, grown or not: beside another one, put in its place or restored, nothing is believed here.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from singlepoint.jobs import documents
from singlepoint.jobs.failpoints import reach

from .durable import creating, explained, make_directory, replace_file, sync_directory
from .home import Home

_MARK = ".complete"


@dataclass(frozen=True)
class LedgerSeen:
    """Which file the ledger was, and how long; all 0 where there was none."""

    inode: int = 0
    device: int = 0
    size_bytes: int = 0

    def is_now(self, now: LedgerSeen) -> bool:
        """Whether that is the same ledger, perhaps grown."""
        return (now.inode, now.device) == (self.inode, self.device) and now.size_bytes >= self.size_bytes


class GoingOn:
    """The names of one home. Safe to use from many processes at once."""

    def __init__(self, home: Home) -> None:
        self._path = home.going_on
        self._ledger = home.ledger

    def add(self, ids: Iterable[str]) -> None:
        """Before these jobs are there. Raises StorageFull, NotPermitted."""
        make_directory(self._path)
        reach("going_on.add")
        with explained(self._path):
            for job_id in ids:
                with open(self._path / job_id, "wb", opener=creating()) as file:
                    os.utime(file.fileno())  # one that is there already counts as new

    def sync(self) -> None:
        """Have what was added survive a power cut."""
        with explained(self._path):
            sync_directory(self._path)

    def names(self) -> list[str] | None:
        """Those of all jobs that go on, and of some that do no longer; None while any may be missing."""
        try:
            mark = documents.parse_object((self._path / _MARK).read_bytes())
            seen = LedgerSeen(*(documents.whole(mark, name) for name in ("inode", "device", "size_bytes")))
            return self._there() if seen.is_now(self.ledger_seen()) else None
        except (OSError, documents.Malformed):
            return None

    def ledger_seen(self) -> LedgerSeen:
        """The ledger as it is now."""
        try:
            found = os.stat(self._ledger)
        except FileNotFoundError:
            return LedgerSeen()
        return LedgerSeen(found.st_ino, found.st_dev, found.st_size)

    def bring_in_line(self, unlisted: set[str], seen: LedgerSeen, older_than: float) -> None:
        """From now on none is missing; and names of jobs that go on no longer go, if they were added before that time.

        unlisted: the jobs that the ledger did not list, found by their directories after it was seen so.
        Raises StorageFull, NotPermitted.
        """
        known = self.names()
        if known is None or not unlisted.issubset(known):
            self.add(unlisted.difference(known or ()))
            self.sync()
            replace_file(self._path / _MARK, json.dumps(asdict(seen)).encode(), point="going_on.complete")
        if left_over := [name for name in self._there() if name not in unlisted and self._added_at(name) < older_than]:
            self._sync_ledger()
            for name in left_over:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path / name)

    def _there(self) -> list[str]:
        return [name for name in os.listdir(self._path) if not name.startswith(".")]

    def _added_at(self, name: str) -> float:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(self._path / name).st_mtime
        return 0.0

    def _sync_ledger(self) -> None:
        """What stands there must not be taken by a power cut that leaves the name away."""
        with contextlib.suppress(FileNotFoundError), open(self._ledger, "rb") as file:
            os.fsync(file.fileno())
