"""`singlepoint rm` and `singlepoint prune`: deleting jobs that have ended, with all that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping

import click

from singlepoint.jobs.client import control
from singlepoint.jobs.client.listing import ENDED, STATUSES
from singlepoint.jobs.client.query import listing
from singlepoint.jobs.client.session import Session, Settings, open_session
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import HistoryDamaged
from singlepoint.jobs.lifecycle.records import Job

from .options import JobsHere, Which, examples, length_s, which_jobs
from .text import plural

CANCEL_PATIENCE_S = 30.0
OLDER_THAN_DEFAULT = "30d"


@click.command(epilog=examples("singlepoint rm last", "singlepoint rm --status failed --name 'wdbc-*'"))
@which_jobs
@click.option("--force", is_flag=True, help="Cancel a job that has not ended, then remove it.")
@click.pass_obj
def rm(settings: Settings, which: Which, force: bool) -> None:
    """Delete jobs that have ended: spec, history, log and checkpoints.

    --all means all that have ended; with --force, all.

    The model of a training and the answers of a prediction are kept.
    """
    session = open_session(settings)
    session.require_redis()
    needed = control.dependents(listing(session).rows)

    def act(job_id: str) -> None:
        control.require_unneeded(job_id, needed)
        try:
            if force:
                control.cancel_and_wait(session, job_id, now(), CANCEL_PATIENCE_S)
            _removed(control.remove(session, job_id))
        except HistoryDamaged:
            if not force:
                raise
            control.remove_damaged(session, job_id)
            click.echo(f"{job_id} removed")

    which.each(JobsHere(session), frozenset(STATUSES) if force else frozenset({ENDED}), act)


@click.command(epilog=examples("singlepoint prune --older-than 7d --dry-run", "singlepoint prune --keep 100"))
@click.option("--older-than", type=length_s, metavar="TIME", help=f"Only what ended longer ago  [{OLDER_THAN_DEFAULT}]")
@click.option("--keep", type=click.IntRange(0), metavar="N", help="Keep the N newest that have ended.")
@click.option("--dry-run", is_flag=True, help="Print what would be deleted, delete nothing.")
@click.pass_obj
def prune(settings: Settings, older_than: float | None, keep: int | None, dry_run: bool) -> None:
    """Delete old jobs that have ended, and print their ids; models and answers are kept.

    With --keep alone, age does not matter; with both, a job goes if both say so.
    """
    session = open_session(settings)
    session.require_redis()
    if older_than is None:
        older_than = 0.0 if keep is not None else length_s(OLDER_THAN_DEFAULT)
    doomed = control.prunable(session, now(), older_than, keep or 0)
    for job_id in doomed:
        if dry_run:
            click.echo(job_id)
        else:
            _prune(session, job_id)
    click.echo(f"{plural(len(doomed), 'job')} {'would be ' if dry_run else ''}deleted", err=True)


def _prune(session: Session, job_id: str) -> None:
    control.remove(session, job_id, is_noted=True)
    click.echo(job_id)


def _removed(job: Job) -> None:
    click.echo(f"{job.id} removed")
    result: Mapping[str, object] = job.result or {}
    if kept := result.get("path"):
        click.echo(f"its {'model stays' if job.kind == 'train' else 'answers stay'} at {kept}", err=True)
