"""`singlepoint logs` and `singlepoint wait`: what a job says while it runs, and how it ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import click

from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.follow import EXIT_CODES, Log, follow, log_path, wait_for
from singlepoint.jobs.client.query import live
from singlepoint.jobs.client.session import Session, Settings, open_session
from singlepoint.jobs.errors import EXIT_JOB_FAILED, EXIT_NOT_NOW, EXIT_OK, EXIT_TIMED_OUT
from singlepoint.jobs.host.standstill import scheduler_complaint
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.lifecycle.summary import SCHEMA, detail

from .options import as_json, examples, job_argument, jobs_argument, length_s
from .text import coloured


@click.command(epilog=examples("singlepoint logs last", "singlepoint logs -f k3v"))
@job_argument
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the job ends; exit with its code.")
@as_json
@click.pass_obj
def logs(settings: Settings, job: str, following: bool, as_json: bool) -> None:
    """Print a job's log.

    With -f the exit code is the job's: 0 succeeded, 1 failed, 130 cancelled. Ctrl-C only detaches (75).
    """
    if following and as_json:
        raise click.UsageError("--json prints a log as it stands; leave --follow out")
    session = open_session(settings)
    job_id = find_job(session.store, job)
    if following:
        if not session.store.load(job_id).is_final:
            _require_work(session)
        with detaching(job_id):
            ended = follow(session.store, job_id, lambda text: click.echo(text, nl=False))
        click.echo(f"{job_id} {coloured(ended.state.value)}{f': {ended.reason}' if ended.reason else ''}", err=True)
        raise click.exceptions.Exit(EXIT_CODES[ended.state])
    text = Log(log_path(session.store, job_id)).rest(last=True)
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "id": job_id, "lines": text.splitlines()}, indent=1))
    elif text:
        click.echo(text, nl=False)
    else:
        click.echo(f"{job_id} has said nothing yet: it is {session.store.load(job_id).state}", err=True)
    if not session.store.load(job_id).is_final:
        _ = session.connection  # what was printed may be all there will be: say when nothing runs


@click.command(epilog=examples("singlepoint wait last", "singlepoint wait k3v p8m --timeout 2h"))
@jobs_argument
@click.option("--timeout", type=length_s, metavar="S", help="Give up after this long (90, 10m, 2h).")
@as_json
@click.pass_obj
def wait(settings: Settings, jobs: tuple[str, ...], timeout: float | None, as_json: bool) -> None:
    """Wait until all of these jobs have ended.

    Exit code: 0 all succeeded, 1 some did not, 124 the time was up. Ctrl-C only detaches (75).
    """
    session = open_session(settings)
    ids = [find_job(session.store, word) for word in jobs]
    if not all(session.store.load(job_id).is_final for job_id in ids):
        _require_work(session)
    with detaching(*ids):
        ended = wait_for(session.store, ids, timeout)
    if as_json:
        rows = [{**detail(job), **live(session, job)[0]} for job in ended]
        click.echo(json.dumps({"schema": SCHEMA, "jobs": rows}, indent=1))
    else:
        for job in ended:
            click.echo(f"{job.id} {coloured(job.state.value)}", err=True)
    if not all(job.is_final for job in ended):
        raise click.exceptions.Exit(EXIT_TIMED_OUT)
    succeeded = all(job.state is State.SUCCEEDED for job in ended)
    raise click.exceptions.Exit(EXIT_OK if succeeded else EXIT_JOB_FAILED)


def _require_work(session: Session) -> None:
    """Nobody may be there to end a job: say so, before waiting for it."""
    _ = session.connection
    if complaint := scheduler_complaint(session.home):
        click.echo(f"warning: {complaint}", err=True)


@contextlib.contextmanager
def detaching(*job_ids: str) -> Iterator[None]:
    """Let Ctrl-C end the command and leave the jobs alone."""
    try:
        yield
    except KeyboardInterrupt:
        ids = " ".join(job_ids)
        click.echo(f"\ndetached; the work goes on: `singlepoint wait {ids}` waits again", err=True)
        raise click.exceptions.Exit(EXIT_NOT_NOW) from None
