"""The commands that `--server` has: the same words, answers and exit codes, of a machine elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from singlepoint.jobs.client.follow import EXIT_CODES
from singlepoint.jobs.client.listing import ENDED, PAUSED, STATUSES, Wanted
from singlepoint.jobs.client.remote import API, Server, listed, open_server
from singlepoint.jobs.client.session import Settings
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import EXIT_JOB_FAILED, EXIT_OK
from singlepoint.jobs.lifecycle.history import fold
from singlepoint.jobs.lifecycle.outlook import foreseen_lines
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.spec.job import Spec

from .logs import detaching
from .options import Which, as_json, job_argument, jobs_argument, which_jobs
from .ps import for_people, listing_options, show_list
from .show import page
from .stop import ENDED_BADLY, GOES_ON, LIVES
from .text import coloured


def submit(settings: Settings, spec: Spec, options: dict[str, Any]) -> None:
    """What `submit` does once it has read its arguments."""
    server = open_server(settings)
    if options["dry_run"]:
        plan = server.submit(spec, dry_run=True)
        told = plan.pop("told", [])
        click.echo(json.dumps(plan, indent=1))
        _tell(plan, told, options)
        return
    answer = server.submit(spec)
    job_id = answer["id"]
    click.echo(json.dumps(answer) if options["as_json"] else job_id)
    _tell(answer, answer.get("told", []), options)
    if options["wait"] or options["follow"]:
        _follow(server, job_id, show_log=options["follow"], log_to_stderr=True, quiet=options["quiet"])


def _tell(answer: dict[str, Any], told: Sequence[str], options: dict[str, Any]) -> None:
    """What was found out of the data there, and what is foreseen."""
    foreseen = {**(answer.get("outlook") or {}), "deadline_at": answer.get("deadline_at")}
    for line in () if options["quiet"] else (*told, *foreseen_lines(foreseen, now())):
        click.echo(line, err=True)


@click.command()
@listing_options
@as_json
@click.pass_obj
def ps(settings: Settings, wanted: Wanted, as_json: bool) -> None:
    """List the jobs that have not ended, newest first, with the reason for which each one waits."""
    wanted = wanted if as_json else for_people(wanted)
    show_list(listed(open_server(settings), wanted), wanted, as_json=as_json)


@dataclass(frozen=True)
class JobsThere:
    """Those of a server."""

    server: Server

    def find(self, word: str) -> str:
        """See `Jobs`."""
        return str(self.server.job(word)["id"])

    def matching(self, *wanted: Wanted) -> list[str]:
        """See `Jobs`."""
        rows = listed(self.server, wanted[0]).rows
        return [row["id"] for row in reversed(rows) if all(one.takes(row) for one in wanted)]


@click.command()
@job_argument
@as_json
@click.pass_obj
def show(settings: Settings, job: str, as_json: bool) -> None:
    """Show a job: where it stands, every attempt with how it ended and what that cost, and its result."""
    document = open_server(settings).job(job)
    if as_json:
        click.echo(json.dumps(document, indent=1))
        return
    history = b"".join(json.dumps(line).encode() + b"\n" for line in document["history"])
    click.echo(page(fold(document["id"], history), document, now()))


@click.command()
@job_argument
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the job ends; exit with its code.")
@click.pass_obj
def logs(settings: Settings, job: str, following: bool) -> None:
    """Print a job's log."""
    server = open_server(settings)
    job_id = server.job(job)["id"]
    if following:
        _follow(server, job_id, show_log=True, log_to_stderr=False, quiet=False)
    offset, size = 0, 1
    while offset < size:
        piece = server.get(f"{API}/jobs/{job_id}/log?offset={offset}")
        click.echo(piece["text"], nl=False)
        if piece["next"] == offset:
            break  # a character whose rest is not there yet
        offset, size = piece["next"], piece["bytes"]


@click.command()
@jobs_argument
@as_json
@click.pass_obj
def wait(settings: Settings, jobs: tuple[str, ...], as_json: bool) -> None:
    """Wait until all of these jobs have ended. Exit code: 0 all succeeded, 1 some did not."""
    server = open_server(settings)
    ids = [server.job(word)["id"] for word in jobs]
    with detaching(*ids):
        ended = [_end_of(server, job_id) for job_id in ids]
    if as_json:
        click.echo(json.dumps({"schema": 1, "jobs": [server.job(row["id"]) for row in ended]}, indent=1))
    for row in ended if not as_json else []:
        click.echo(f"{row['id']} {coloured(row['state'])}", err=True)
    succeeded = all(row["state"] == State.SUCCEEDED for row in ended)
    raise click.exceptions.Exit(EXIT_OK if succeeded else EXIT_JOB_FAILED)


def _end_of(server: Server, job_id: str) -> dict[str, Any]:
    return next(document for kind, document in server.follow(job_id) if kind == "end")


def _follow(server: Server, job_id: str, *, show_log: bool, log_to_stderr: bool, quiet: bool) -> None:
    """Wait for a job's end, and end with its code."""
    with detaching(job_id):
        for kind, document in server.follow(job_id):
            if kind == "log" and show_log:
                click.echo(document["text"], nl=False, err=log_to_stderr)
            if kind == "end":
                reason = f": {document['reason']}" if document["reason"] else ""
                if not quiet:
                    click.echo(f"{job_id} {coloured(document['state'])}{reason}", err=True)
                raise click.exceptions.Exit(EXIT_CODES[State(document["state"])])


def _verb(verb: str, help_text: str, among: frozenset[str], said: Callable[[dict[str, Any]], str]) -> click.Command:
    """among: the statuses of jobs with which it can be done.  said: what to tell of the row that is answered."""

    @click.command(name=verb, help=help_text)
    @which_jobs
    @click.pass_obj
    def command(settings: Settings, /, which: Which, **body: Any) -> None:
        server = open_server(settings)

        def act(job_id: str) -> None:
            row = server.ask("POST", f"{API}/jobs/{job_id}/{verb}", body or None)
            click.echo(f"{row['id']} {said(row)}")

        which.each(JobsThere(server), among, act)

    return command


cancel = _verb("cancel", "End jobs for good.", LIVES, lambda row: "cancelled" if row["ended_at"] else "asked to stop")
pause = _verb(
    "pause", "Keep jobs from going on until `resume`.", GOES_ON, lambda row: "held back" if row["held"] else "paused"
)
resume = _verb("resume", "Let paused jobs go on.", frozenset({PAUSED}), lambda _row: "goes on when there is room")
retry = click.option("--fresh", is_flag=True, help="Begin from nothing instead of from the last checkpoint.")(
    _verb("retry", "Run failed or cancelled jobs again.", ENDED_BADLY, lambda row: str(row["state"]))
)


@click.command(context_settings={"ignore_unknown_options": True})
@job_argument
@click.argument("number", metavar="N", type=int)
@click.pass_obj
def priority(settings: Settings, job: str, number: int) -> None:
    """Give a job another priority: higher runs earlier, 0 is usual."""
    server = open_server(settings)
    row = server.ask("PUT", f"{API}/jobs/{server.job(job)['id']}/priority", {"priority": number})
    click.echo(f"{row['id']} has priority {row['priority']}")


@click.command()
@which_jobs
@click.option("--force", is_flag=True, help="Cancel a job that has not ended, then remove it.")
@click.pass_obj
def rm(settings: Settings, which: Which, force: bool) -> None:
    """Delete jobs that have ended."""
    server = open_server(settings)

    def act(job_id: str) -> None:
        server.ask("DELETE", f"{API}/jobs/{job_id}{'?force=true' if force else ''}")
        click.echo(f"{job_id} removed")

    which.each(JobsThere(server), frozenset(STATUSES) if force else frozenset({ENDED}), act)
