"""How much memory a job should ask for whose owner names none: what like jobs used, and a margin. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from singlepoint.jobs.lifecycle.retry import MORE_MEMORY
from singlepoint.jobs.lifecycle.states import State

from .entries import Entry

MIB = 2**20
MARGIN = 1.25
"""Times what was seen of a job that succeeded: it is looked at now and then, and the next may need a little more."""

LEAST_BYTES = 128 * MIB
"""A job that is over in a moment was hardly looked at."""

STEP_BYTES = 16 * MIB
FEW = 5
"""So many of the newest like jobs count."""


def learned_memory_bytes(like: Iterable[Entry]) -> int | None:
    """like: jobs that have ended, the newest first; None when none of them tells anything.

    One that failed for want of memory tells that it needs more than it used; one that ended otherwise tells nothing.
    """
    known = (need for one in like if (need := _need_bytes(one)) > 0)
    most = max(islice(known, FEW), default=None)
    return None if most is None else max(LEAST_BYTES, -(-most // STEP_BYTES) * STEP_BYTES)


def _need_bytes(entry: Entry) -> int:
    peak_bytes = entry.account.peak_memory_bytes
    if entry.state is State.SUCCEEDED:
        return int(peak_bytes * MARGIN)
    return int(peak_bytes * MORE_MEMORY) if "out_of_memory" in entry.account.ends else 0
