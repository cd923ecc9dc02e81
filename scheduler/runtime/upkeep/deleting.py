"""A duty: jobs that ended long ago are deleted, as the home's settings say; told once, before the first one goes.

Which of them, `jobs.store.retention` decides. Nothing is deleted while the settings cannot be read, nothing that an
unfinished job comes after, and nothing whose end the ledger does not have. Models, answers and what the jobs taught
stay.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.clock import Clock
from singlepoint.jobs.errors import NotFound, SinglepointError
from singlepoint.jobs.ledger.catalogue import Head, by_end_in_slices, head_of
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.retention import Doom
from singlepoint.jobs.store.settings import Retention, read_settings
from singlepoint.scheduler.world.world import World

from .duties import Pace

log = logging.getLogger("singlepoint.scheduler")


@dataclass(frozen=True)
class Deletion(Pace):
    """most_at_once: jobs deleted in one go; the rest goes with the next.  lines_a_slice: of the list of ended jobs."""

    every_s: float = 600.0
    most_at_once: int = 1000
    lines_a_slice: int = 1000


DELETION = Deletion()


@dataclass
class Deleting:
    """What the duty remembers: which rule it has told of already, and which settings it could not read."""

    store: JobStore
    world: World
    clock: Clock
    settings: Deletion = DELETION
    told: str = ""
    trouble: str = ""

    def slices(self, index: Callable[[], Index]) -> Iterator[None]:
        """Find what may go, then delete it, a job a slice. Raises redis.RedisError."""
        rule = self._rule()
        if rule is None:
            return
        oldest: deque[Head] = deque(maxlen=self.settings.most_at_once)
        doom = Doom(rule, self.clock())
        ended = yield from self.store.catalogue.slices()
        newest_first = yield from by_end_in_slices(ended)
        for count, head in enumerate(map(head_of, newest_first), 1):
            if doom.takes(head):
                oldest.append(head)
            if count % self.settings.lines_a_slice == 0:
                yield
        for head in reversed(oldest):
            if not self.world.is_needed(head.id):
                self._delete(head, rule, index())
                yield

    def _rule(self) -> Retention | None:
        try:
            rule = read_settings(self.store.home).retention
        except SinglepointError as error:
            if str(error) != self.trouble:
                log.error("settings_unreadable error=%r: nothing is deleted", str(error))
            self.trouble = str(error)
            return None
        self.trouble = ""
        return rule

    def _delete(self, head: Head, rule: Retention, index: Index) -> None:
        if self.told != str(rule):
            log.info("retention_begins rule=%r", str(rule))
            self.told = str(rule)
        try:
            self.store.remove(head.id, is_noted=True)
        except NotFound:
            return  # somebody else did
        except (SinglepointError, OSError) as error:
            log.warning("job_not_deleted job=%s error=%r", head.id, str(error))
            return
        log.info("job_deleted job=%s ended_at=%s", head.id, head.ended_at)
        index.forget(head.id)
