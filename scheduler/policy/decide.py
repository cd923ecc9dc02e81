"""What to do, given what is known: the heart of the scheduler. Pure; the same live and in a simulation.

Promises: what is granted never exceeds the budget less our own reserve, in any resource. Higher priority first,
then first come; nobody overtakes the head of the line, so every job that fits the machine gets its turn. A
job that asks for more than there is stands aside and keeps nobody waiting. Nothing is granted while a lock
has not been tried, while work has to be put down, or while the home is being drained.

Won't do: look at all jobs. Each call reads the heads of lines and the few jobs that hold something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from singlepoint.jobs.lifecycle.interval import UNMEASURED_SAVE_S, checkpoint_interval_s
from singlepoint.jobs.lifecycle.records import Job, Resources, Terms
from singlepoint.jobs.lifecycle.states import Ask, State
from singlepoint.scheduler.world.line import key
from singlepoint.scheduler.world.world import Place, World

from .decisions import Decision, Dispatch, Fail, Preempt, PushAgain, Rescue, Resume, TakeBack


def decide(world: World) -> list[Decision]:
    """Everything that should be done now. Once it is done and seen, deciding again finds what follows from it."""
    urgent = [*_rescues(world), *_failures(world)]
    if world.draining:
        return [*urgent, *_hand_all_back(world)]
    urgent += _pushes(world)
    if any(True for _ in world.unprobed()):
        return urgent
    put_down = list(_put_down(world))
    return [*urgent, *(put_down or _grants(world))]


def _rescues(world: World) -> Iterator[Decision]:
    """Running attempts whose lock is free are dead, whatever their process looks like."""
    for place in (Place.RUNNING, Place.RESUMING):
        for job in world.standing(place):
            if not world.may_live(job.id):
                yield Rescue(job.id, job.attempt, *_death(world, job))


def _death(world: World, job: Job) -> tuple[str, str]:
    attempt = job.attempts[-1]
    if attempt.boot_id and world.boot_id and attempt.boot_id != world.boot_id:
        return "host_restart", "the machine restarted"
    return "killed", "its process was killed, and the worker above it"


def _failures(world: World) -> Iterator[Decision]:
    for job in world.standing(Place.DOOMED):
        other = world.doom(job)
        assert other is not None
        outcome = world.outcome(other)
        yield Fail(job.id, f"comes after {other}, which {FATES[outcome]}")


FATES: dict[State | None, str] = {State.FAILED: "failed", State.CANCELLED: "was cancelled", None: "was removed"}


def _pushes(world: World) -> Iterator[Decision]:
    return (PushAgain(job.id, job.attempt) for job in world.missing_jobs())


def _grants(world: World) -> Iterator[Decision]:
    """From the heads: first the paused that were told to go on, since they hold memory; then the line."""
    free, cores = world.free, world.free_cores()
    for job in world.standing(Place.RESUMING):
        need = cores_needed(world, job)
        if not need.fits_in(world.room):
            continue  # the budget was lowered below it; it must keep nobody else waiting
        if not need.fits_in(free):
            return
        granted, cores = _take(cores, need)
        free = free - need
        yield Resume(job.id, job.attempt, _revised(job, need, granted))
    for job in world.standing(Place.READY):
        need = world.need(job)
        if not need.fits_in(free):
            return
        granted, cores = _take(cores, need)
        free = free - need
        yield Dispatch(job.id, job.attempt + 1, _terms(world, job, need, granted))


def cores_needed(world: World, job: Job) -> Resources:
    """What a paused job lacks to go on."""
    return Resources(cpu_millis=world.need(job).cpu_millis)


def _take(cores: list[int], need: Resources) -> tuple[tuple[int, ...], list[int]]:
    count = need.cpu_millis // 1000
    return tuple(cores[:count]), cores[count:]


def _terms(world: World, job: Job, resources: Resources, cores: tuple[int, ...]) -> Terms:
    rate_per_s = world.reliability.overall.rate_per_s
    return Terms(
        resources=resources,
        cores=cores,
        checkpoint_interval_s=round(checkpoint_interval_s(save_s(job), rate_per_s), 3),
        failure_rate_per_s=rate_per_s,
    )


def save_s(job: Job) -> float:
    """What a save costs the job, as its last attempt that saved measured it."""
    measured = (a.usage.save_s for a in reversed(job.attempts) if a.usage and a.usage.saves)
    return next(measured, UNMEASURED_SAVE_S)


def _revised(job: Job, need: Resources, cores: tuple[int, ...]) -> Terms:
    terms = job.attempts[-1].terms
    return replace(terms, resources=terms.resources + need, cores=cores, revision=terms.revision + 1)


def _put_down(world: World) -> Iterator[Decision]:
    """When the budget was lowered below what is granted, enough work to mend that: lowest priority first, then the
    newest. That our own reserve grew is no reason: then nothing is granted until some work has ended by itself."""
    free = world.free + world.outgrown
    if NOTHING.fits_in(free):
        return
    holders = sorted(world.holders(), key=key, reverse=True)
    for job in holders:
        if _is_going(job):
            free = free + world.granted(job.id)
    for job in holders:
        helps = any(getattr(world.granted(job.id), name) for name in NOTHING.lacking_in(free))
        if not helps or _is_going(job):
            continue
        free = free + world.granted(job.id)
        yield _put_one_down(job, "the budget was lowered")


def _hand_all_back(world: World) -> Iterator[Decision]:
    for job in world.holders():
        is_dead = job.state is State.RUNNING and not world.may_live(job.id)
        if not is_dead and not _is_going(job):
            yield _put_one_down(job, "the home is being drained")


def _put_one_down(job: Job, cause: str) -> Decision:
    if job.state is State.QUEUED:
        return TakeBack(job.id, job.attempt, cause)
    return Preempt(job.id, job.attempt)


NOTHING = Resources()


def _is_going(job: Job) -> bool:
    """Asked to hand its room back, or on its way out."""
    return job.state is State.PENDING or Ask.PREEMPT in job.asks or Ask.CANCEL in job.asks
