"""`singlepoint cancel`, `pause`, `resume`, `retry`, `priority`: asking something of a job that exists."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click

from singlepoint.jobs.client import control
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.listing import PAUSED, WAITING
from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.clock import now
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State

from .options import JobsHere, Which, examples, job_argument, which_jobs

GOES_ON = frozenset({WAITING, State.RUNNING.value})
LIVES = GOES_ON | {PAUSED}
ENDED_BADLY = frozenset({State.FAILED.value, State.CANCELLED.value})

AT_ONCE = 8
"""Each waits for the disk, and several wait for it together."""


@click.command(epilog=examples("singlepoint cancel last", "singlepoint cancel --name 'wdbc-*'"))
@which_jobs
@click.pass_obj
def cancel(settings: Settings, which: Which) -> None:
    """End jobs for good: a waiting one at once, a running one at its next step."""
    session = open_session(settings)

    def act(job_id: str, tell: Callable[[Job], None] | None = None) -> None:
        job = control.cancel(session, job_id, now(), tell)
        _say(job, "cancelled" if job.is_final else "asked to stop")

    if which.words:
        which.each(JobsHere(session), LIVES, act)
        return
    session.require_redis()
    with session.index.together() as tell:
        which.each(JobsHere(session), LIVES, partial(act, tell=tell), at_once=AT_ONCE)


@click.command(epilog=examples("singlepoint pause k3v", "singlepoint pause k3v && singlepoint resume k3v"))
@which_jobs
@click.pass_obj
def pause(settings: Settings, which: Which) -> None:
    """Keep jobs from going on until `resume`: a running one stops and keeps its memory."""
    session = open_session(settings)

    def act(job_id: str) -> None:
        job = control.pause(session, job_id, now())
        _say(job, "held back" if job.state is State.PENDING else "paused" if job.paused else "asked to pause")

    which.each(JobsHere(session), GOES_ON, act, at_once=AT_ONCE)


@click.command(epilog=examples("singlepoint resume k3v", "singlepoint resume last"))
@which_jobs
@click.pass_obj
def resume(settings: Settings, which: Which) -> None:
    """Let paused jobs go on as soon as there is room."""
    session = open_session(settings)

    def act(job_id: str) -> None:
        _say(control.resume(session, job_id, now()), "goes on when there is room")

    which.each(JobsHere(session), frozenset({PAUSED}), act, at_once=AT_ONCE)


@click.command(epilog=examples("singlepoint retry k3v --fresh", "singlepoint retry --status failed"))
@which_jobs
@click.option("--fresh", is_flag=True, help="Begin from nothing instead of from the last checkpoint.")
@click.pass_obj
def retry(settings: Settings, which: Which, fresh: bool) -> None:
    """Run failed or cancelled jobs again, under the same id, from their checkpoints."""
    session = open_session(settings)

    def act(job_id: str) -> None:
        _say(control.retry(session, job_id, now(), fresh=fresh), "pending")

    which.each(JobsHere(session), ENDED_BADLY, act, at_once=AT_ONCE)


@click.command(
    epilog=examples("singlepoint priority k3v 10", "singlepoint priority last -- -5"),
    context_settings={"ignore_unknown_options": True},
)
@job_argument
@click.argument("priority", metavar="N", type=click.IntRange(-1000, 1000))
@click.pass_obj
def priority(settings: Settings, job: str, priority: int) -> None:
    """Give a job another priority: higher ones run earlier, 0 is usual."""
    session = open_session(settings)
    _say(control.prioritise(session, find_job(session.store, job), priority, now()), f"priority {priority}")


def _say(job: Job, what: str) -> None:
    click.echo(f"{job.id} {what}")
