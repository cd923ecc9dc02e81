"""Which jobs go on, by name: `going-on/`, an empty file for each, so that nobody has to list all that ever ran.

A name is there before its job is, and goes when the job's end is safe on the disk in the ledger: a name too many costs
a look. None is missing once somebody went through the directories of all jobs and said so (`bring_in_line`). That holds
for the ledger of that time, grown or not: beside another one, or one of before, nothing is believed here.
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
from .ledger import Ledger, crc_of_end

_MARK = ".complete"


@dataclass(frozen=True)
class LedgerSeen:
    """A ledger as it once was: how long, and what it ended with."""

    size_bytes: int
    end_crc32: int


class GoingOn:
    """The names of one home. Safe to use from many processes at once."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._path = home.going_on
        self._ledger = ledger

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
            seen = LedgerSeen(documents.whole(mark, "size_bytes"), documents.whole(mark, "end_crc32"))
            return self._there() if self._has_grown_from(seen) else None
        except (OSError, documents.Malformed):
            return None

    def ledger_seen(self) -> LedgerSeen:
        """The ledger as it is now."""
        with self._ledger.opened() as content:
            return LedgerSeen(len(content), crc_of_end(content, len(content)))

    def _has_grown_from(self, seen: LedgerSeen) -> bool:
        with self._ledger.opened() as content:
            return len(content) >= seen.size_bytes and crc_of_end(content, seen.size_bytes) == seen.end_crc32

    def bring_in_line(self, unlisted: set[str], seen: LedgerSeen, older_than: float) -> None:
        """From now on none is missing; and names of jobs that go on no longer go, if they were added before that time.

        unlisted: the jobs that the ledger did not list, found by their directories after it was seen so.
        Raises StorageFull, NotPermitted.
        """
        make_directory(self._path)
        known, there = self.names(), self._there()
        old = [name for name in there if name not in unlisted and self._added_at(name) < older_than]
        if known is not None and unlisted.issubset(known) and not old:
            return
        self.add(unlisted.difference(known or ()))
        self.sync()
        self._ledger.sync()  # what stands there must not be taken by a power cut that leaves the name away
        now = self.ledger_seen()
        if not self._has_grown_from(seen):
            return
        replace_file(self._path / _MARK, json.dumps(asdict(now)).encode(), point="going_on.complete")
        for name in old:
            if self._added_at(name) < older_than:  # not by now: it was sent round again
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path / name)

    def _there(self) -> list[str]:
        return [name for name in os.listdir(self._path) if not name.startswith(".")]

    def _added_at(self, name: str) -> float:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(self._path / name).st_mtime
        return 0.0
