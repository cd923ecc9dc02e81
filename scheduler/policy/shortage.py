"""What a plan says to those who wait for room: a sentence for each that was looked at. Pure.

The other reasons (held, after another job, backing off, …) follow from a job's own row: `jobs.lifecycle.reasons`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

from singlepoint.jobs.amounts import amount_text
from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle.reasons import Told
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.scheduler.world.tasks import NOTHING

from .decide import MOST_TOLD, View
from .plan import Dispatch, Plan, Reservation, Resume, Wait

_HAD_ITS_SHARE = "project {!r} has had more than its share and stands back"
_OVER_BUDGET = "waits until work ends or is put down, since more is granted than the budget allows"


def told(view: View, plan: Plan, ending: Iterable[str] = ()) -> Told:
    """What the scheduler has to say. ending: jobs whose earlier attempt may still live."""
    starting = [d.job_id for d in plan.decisions if isinstance(d, Dispatch | Resume)]
    why = dict.fromkeys(starting[:MOST_TOLD], "about to start")
    first = next(iter(plan.blocked), "")
    for job_id, wait in islice(plan.blocked.items(), MOST_TOLD):
        lead = "first in line; " if job_id == first else ""
        why[job_id] = lead + _sentence(view, job_id, wait, plan.reservation)
    over = not NOTHING.fits_in(view.books.free)
    return Told(first, why, _OVER_BUDGET if over else plan.shut, frozenset(ending))


def _sentence(view: View, job_id: str, wait: Wait, reservation: Reservation | None) -> str:
    if wait is Wait.COMES_FREE:
        return "room is being made for it"
    if wait is Wait.WOULD_DELAY and reservation is not None:
        until = f" until {iso(reservation.at)}" if math.isfinite(reservation.at) else ""
        return f"it would delay {reservation.task.id}, for which room is kept{until}"
    if wait is Wait.DRAINS:
        return f"might not end before the home is drained at {iso(view.books.drains_at)}, and is not to be put down"
    task = view.books.task(job_id)
    if task is None:
        return "about to start"
    return lacks(task.need, view.books.free) + (f"; {_HAD_ITS_SHARE.format(task.project)}" if task.stands_back else "")


def lacks(need: Resources, free: Resources) -> str:
    """`needs 2 cores (1 core free), 4 GiB of memory (1 GiB free)`; only what is missing."""
    names = need.lacking_in(free) or need.lacking_in(NOTHING)
    return "needs " + ", ".join(f"{_amount(name, need)} ({_amount(name, free, bare=True)} free)" for name in names)


def _amount(name: str, vector: Resources, *, bare: bool = False) -> str:
    """`4 GiB of memory`, or bare: `4 GiB`. Never negative: when too much is granted, nothing is free."""
    return amount_text(name, max(0, vector.of(name))) + ("" if bare else _NOUN.get(name, ""))


_NOUN = {"cpu_millis": "", "memory_bytes": " of memory", "storage_bytes": " of disk", "network_bytes_s": " of network"}
