"""Why a job is not running: one sentence for every job, from the same world the policy decides from. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from singlepoint.jobs.amounts import amount_text
from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.jobs.lifecycle.states import Ask
from singlepoint.scheduler.world.line import key
from singlepoint.scheduler.world.world import Place, World

from .decide import cores_needed


def explain(world: World, job_id: str) -> str:
    """What an unfinished job waits for, or holds; how a finished one ended. Raises KeyError when it is unknown."""
    job, place = world.job(job_id), world.place(job_id)
    if job is None or place is None:
        if not world.knows(job_id):
            raise KeyError(job_id)
        outcome = world.outcome(job_id)
        return outcome.value if outcome else "was removed"
    return _REASONS[place](world, job)


def head_reason(world: World) -> dict[str, Any]:
    """Who is first in line and what it lacks, for the reasons of all behind it; empty when nobody waits."""
    job_id = world.lines[Place.READY].first
    return {} if job_id is None else {"id": job_id, "reason": explain(world, job_id)}


def lacks(need: Resources, world: World) -> str:
    """`needs 2 cores (1 free), 4 GiB memory (1 GiB free)`; only what is missing."""
    names = need.lacking_in(world.free)
    return "needs " + ", ".join(
        f"{_amount(name, need)} ({_amount(name, world.free, bare=True)} free)" for name in names
    )


def _amount(name: str, vector: Resources, *, bare: bool = False) -> str:
    """`4 GiB of memory`, or bare: `4 GiB`. Never negative: when too much is granted, nothing is free."""
    return amount_text(name, max(0, getattr(vector, name))) + ("" if bare else _NOUN[name])


_NOUN = {"cpu_millis": "", "memory_bytes": " of memory", "storage_bytes": " of disk", "network_bytes_s": " of network"}


def _ready(world: World, job: Job) -> str:
    if world.draining:
        return "nothing is started: the home is being drained, until `singlepoint drain --off`"
    in_front = world.lines[Place.READY].position(key(job))
    if in_front:
        others = "1 job is" if in_front == 1 else f"{in_front} jobs are"
        return f"{others} in front, {world.lines[Place.READY].first} first"
    if not Resources().fits_in(world.free):
        return "first in line; waits until work ends or is put down, since more is granted than the budget allows"
    resuming = next(iter(world.standing(Place.RESUMING)), None)
    if resuming is not None and not cores_needed(world, resuming).fits_in(world.free):
        return f"first in line; the paused job {resuming.id} goes on before it"
    need = world.need(job)
    return "first in line, about to start" if need.fits_in(world.free) else f"first in line; {lacks(need, world)}"


def _after(world: World, job: Job) -> str:
    other = next(o for o in job.after if world.outcome(o) is None)
    waited_for = world.job(other)
    return f"comes after {other}, which is {waited_for.state.value if waited_for else 'not known yet'}"


def _delayed(world: World, job: Job) -> str:
    because = f", because of: {job.reason}" if job.reason else ""
    return f"waits until {iso(job.not_before)}{because}"


def _oversized(world: World, job: Job) -> str:
    need, room = world.need(job), world.room
    names = need.lacking_in(room)
    asked = ", ".join(f"{_amount(name, need)} where jobs may have {_amount(name, room, bare=True)}" for name in names)
    return f"can never fit: asks for {asked}; start the scheduler with a larger --budget, or submit it smaller"


def _running(_world: World, job: Job) -> str:
    asks = " and ".join(f"asked to {ask.value}" for ask in Ask if ask in job.asks)
    if job.paused:
        return f"paused, holding its memory; `singlepoint resume {job.id}` lets it go on"
    return f"running as attempt {job.attempt} on {_cores(job)}{', ' + asks if asks else ''}"


def _cores(job: Job) -> str:
    cores = job.terms.cores if job.terms else ()
    return f"core{'s' if len(cores) > 1 else ''} {','.join(map(str, cores))}"


def _resuming(world: World, job: Job) -> str:
    need = cores_needed(world, job)
    return f"goes on when it gets its cores: {lacks(need, world)}" if not need.fits_in(world.free) else "about to go on"


_REASONS: dict[Place, Callable[[World, Job], str]] = {
    Place.RUNNING: _running,
    Place.RESUMING: _resuming,
    Place.QUEUED: lambda _world, job: f"granted {_cores(job)}; no worker has taken it yet",
    Place.ENDING: lambda _world, job: f"attempt {job.attempt} is still ending: a process of it holds the job's lock",
    Place.DOOMED: lambda world, job: f"about to fail: {world.doom(job)}, which it comes after, did not succeed",
    Place.HELD: lambda _world, job: f"held; `singlepoint resume {job.id}` lets it go on",
    Place.AFTER: _after,
    Place.DELAYED: _delayed,
    Place.OVERSIZED: _oversized,
    Place.READY: _ready,
}
