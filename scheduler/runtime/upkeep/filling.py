"""A duty: the index is filled from what is known, after Redis lost its data or was another one; in slices, so that no
decision waits for it. Until it is whole, lists are read from the directories.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

from singlepoint.jobs.broker.index import Index
from singlepoint.scheduler.world.world import World

from .duties import Pace

log = logging.getLogger("singlepoint.scheduler")


@dataclass(frozen=True)
class Filling(Pace):
    """Begun when it is needed, and only then. rows_a_slice: told in one round trip."""

    every_s: float = math.inf
    first_s: float = math.inf
    rows_a_slice: int = 100


FILLING = Filling()


def fill(world: World, index: Index, settings: Filling = FILLING) -> Iterator[None]:
    """Raises redis.RedisError. What moves meanwhile is told besides, and stays: it is newer."""
    mark, ids = index.begin_filling(), list(world.ids())
    yield
    for begin in range(0, len(ids), settings.rows_a_slice):
        some = (world.job(job_id) for job_id in ids[begin : begin + settings.rows_a_slice])
        index.put(job for job in some if job is not None)
        yield
    if index.filled(mark):
        log.info("index_filled jobs=%d", len(ids))
