"""A duty: the ledger is added up, so that what all jobs taught is known at once after every start."""

from __future__ import annotations

from collections.abc import Iterator

from singlepoint.jobs.store.ledger import Ledger
from singlepoint.scheduler.world.reliability import evidence_of
from singlepoint.scheduler.world.world import World


def learn(world: World, ledger: Ledger) -> Iterator[None]:
    """In slices; at the end the world knows what all jobs taught that have ended, those that are gone too."""
    before = world.taught_by_ended()
    account = yield from ledger.sum_up()
    world.learned(evidence_of(account), before)
