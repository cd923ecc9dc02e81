"""`singlepoint cancel`, `pause`, `resume`, `retry`, `priority`: asking something of a job that exists."""

from __future__ import annotations

import click

from singlepoint.jobs.client import control
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.clock import now
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State

from .options import each, examples, job_argument, jobs_argument


@click.command(epilog=examples("singlepoint cancel last", "singlepoint cancel k3v p8m"))
@jobs_argument
@click.pass_obj
def cancel(settings: Settings, jobs: tuple[str, ...]) -> None:
    """End jobs for good: a waiting one at once, a running one at its next step."""
    session = open_session(settings)

    def act(word: str) -> None:
        job = control.cancel(session, find_job(session.store, word), now())
        _say(job, "cancelled" if job.is_final else "asked to stop")

    each(jobs, act)


@click.command(epilog=examples("singlepoint pause k3v", "singlepoint pause k3v && singlepoint resume k3v"))
@jobs_argument
@click.pass_obj
def pause(settings: Settings, jobs: tuple[str, ...]) -> None:
    """Keep jobs from going on until `resume`: a running one stops and keeps its memory."""
    session = open_session(settings)

    def act(word: str) -> None:
        job = control.pause(session, find_job(session.store, word), now())
        _say(job, "held back" if job.state is State.PENDING else "paused" if job.paused else "asked to pause")

    each(jobs, act)


@click.command(epilog=examples("singlepoint resume k3v", "singlepoint resume last"))
@jobs_argument
@click.pass_obj
def resume(settings: Settings, jobs: tuple[str, ...]) -> None:
    """Let paused jobs go on as soon as there is room."""
    session = open_session(settings)

    def act(word: str) -> None:
        _say(control.resume(session, find_job(session.store, word), now()), "goes on when there is room")

    each(jobs, act)


@click.command(epilog=examples("singlepoint retry last", "singlepoint retry k3v --fresh"))
@jobs_argument
@click.option("--fresh", is_flag=True, help="Begin from nothing instead of from the last checkpoint.")
@click.pass_obj
def retry(settings: Settings, jobs: tuple[str, ...], fresh: bool) -> None:
    """Run failed or cancelled jobs again, under the same id, from their checkpoints."""
    session = open_session(settings)

    def act(word: str) -> None:
        _say(control.retry(session, find_job(session.store, word), now(), fresh=fresh), "pending")

    each(jobs, act)


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
