"""A duty: the ledger is added up, listed and kept short, so that what all jobs taught, and which of them have ended, is
known at once after every start and to every command."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from singlepoint.jobs.host.free_memory import give_back_free_memory
from singlepoint.jobs.ledger.compaction import KEPT
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.world.learned.reliability import evidence_of
from singlepoint.scheduler.world.world import World

from .duties import Pace

log = logging.getLogger("singlepoint.scheduler")


@dataclass(frozen=True)
class Learning(Pace):
    """keep: lines of the ledger that stay though they are not the last word on a job that is there."""

    every_s: float = 60.0
    keep: int = KEPT


LEARNING = Learning()


def learn(world: World, store: JobStore, settings: Learning = LEARNING) -> Iterator[None]:
    """In slices; at the end the world knows what all jobs taught that have ended, those that are gone too."""
    superfluous = yield from store.catalogue.write()
    before = world.taught_by_ended()
    account = yield from store.ledger.sum_up()
    world.learned(evidence_of(account), before)
    if superfluous > 2 * settings.keep:
        yield from store.ledger.compact(settings.keep)
        log.info("ledger_compacted lines=%d", superfluous - settings.keep)
        yield from store.catalogue.write()
        yield from store.ledger.sum_up()
    give_back_free_memory()  # the list of all that have ended
