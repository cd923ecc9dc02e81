"""The commands of this package: `scheduler` runs it, `drain` has it start nothing; `explain` and `report` read the
disk and need no Redis."""

from __future__ import annotations

import contextlib
import json
import time
from functools import partial

import click

from jobs.broker import connect, locate
from jobs.capacity import read_capacity
from jobs.clock import now
from jobs.draining import drain as begin_drain
from jobs.draining import draining_since, end_drain
from jobs.errors import HistoryDamaged, NotFound
from jobs.home import Home
from jobs.index import LOOK_AT_EVERYTHING
from jobs.lifecycle import State
from jobs.processes import boot_id
from jobs.records import Job
from jobs.reference import find_job
from jobs.service_log import log_to_stderr
from jobs.session import Settings, open_session
from jobs.singleton import acquire
from jobs.standstill import scheduler_complaint
from jobs.store import JobStore

from . import reasons
from .budget import chosen_cores, default_budget, parse_budget, this_machine
from .loop import HISTORY_PATIENCE_S, Scheduler
from .report import job_report, overall_report, page
from .reserve import measured_reserve
from .sight import Sight
from .world import World


@click.command(
    epilog="\b\nExamples:\n  singlepoint scheduler\n  singlepoint scheduler --budget cpu=2,memory=4GiB",
)
@click.option(
    "--budget",
    metavar="cpu=2,memory=4GiB",
    help="What all jobs together may use. Default: all cores, 80% of the memory.",
)
@click.pass_obj
def scheduler(settings: Settings, budget: str | None) -> None:
    """Run the scheduler in the foreground, until SIGTERM. One per home; a second one ends with code 75."""
    machine = this_machine()
    granted = parse_budget(budget, machine)
    session = open_session(settings)
    lock = acquire(session.home.lock("scheduler"))
    log_to_stderr()
    Scheduler(
        JobStore(session.home, patience_s=HISTORY_PATIENCE_S),
        partial(connect, locate(session.home, settings.redis_url)),
        granted,
        chosen_cores(granted, machine),
        measure=partial(measured_reserve, session.home),
    ).run()
    assert lock >= 0  # held until the process ends


@click.command(epilog="\b\nExamples:\n  singlepoint explain last\n  singlepoint explain k3v --json")
@click.argument("job", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (schema 1).")
@click.pass_obj
def explain(settings: Settings, job: str, as_json: bool) -> None:
    """Say in one sentence why a job waits, or where it stands."""
    session = open_session(settings)
    job_id = find_job(session.store, job)
    known = session.store.load(job_id)
    reason = _ending(known) if known.is_final else reasons.explain(as_seen_now(session.home, session.store), job_id)
    if known.state is State.PENDING and (complaint := scheduler_complaint(session.home)):
        reason = complaint
    if as_json:
        click.echo(json.dumps({"schema": 1, "id": job_id, "state": known.state.value, "reason": reason}))
    else:
        click.echo(reason)


def _ending(job: Job) -> str:
    return job.state.value + (f": {job.reason}" if job.reason else "")


def as_seen_now(home: Home, store: JobStore) -> World:
    """What a scheduler that starts now would know."""
    capacity = read_capacity(home)
    if capacity is not None:
        world = World(capacity.budget, capacity.cores, reserve=capacity.reserve, boot_id=boot_id())
    else:
        machine = this_machine()
        budget = default_budget(machine)
        world = World(budget, chosen_cores(budget, machine), boot_id=boot_id())
    world.seen_at(now())
    world.draining = draining_since(home) is not None
    sight = Sight(store, world, now, time.monotonic)
    sight.see_changed(store.ids())
    sight.probe(world.unprobed())
    return world


@click.command(epilog="\b\nExamples:\n  singlepoint drain\n  singlepoint drain --off")
@click.option("--off", is_flag=True, help="Start jobs again.")
@click.pass_obj
def drain(settings: Settings, off: bool) -> None:
    """Start nothing more, and have running work save and be handed back, until `drain --off`. Survives a restart."""
    session = open_session(settings)
    session.require_redis()
    if not off:
        begin_drain(session.home, now())
        click.echo("draining: `singlepoint ps` shows what still runs, `singlepoint drain --off` ends it", err=True)
    elif end_drain(session.home):
        click.echo("no longer draining", err=True)
    else:
        click.echo("was not draining", err=True)
    session.index.ring(LOOK_AT_EVERYTHING)


def _all_that_can_be_read(store: JobStore) -> list[Job]:
    """Every job but those whose history is damaged, or that are removed while we look."""
    found = []
    for job_id in store.ids():
        with contextlib.suppress(HistoryDamaged, NotFound):
            found.append(store.load(job_id))
    return found


@click.command(epilog="\b\nExamples:\n  singlepoint report\n  singlepoint report last --json")
@click.argument("job", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (schema 1).")
@click.pass_obj
def report(settings: Settings, job: str | None, as_json: bool) -> None:
    """Show what crashes cost: failure rate, reliability, checkpoint interval, waste; of one job, or of all."""
    session = open_session(settings)
    everybody = _all_that_can_be_read(session.store)
    if job is not None:
        job_id = find_job(session.store, job)
        document = job_report(session.store.load(job_id), everybody)
    else:
        capacity = read_capacity(session.home)
        budget = capacity.budget if capacity is not None else default_budget(this_machine())
        document = overall_report(everybody, budget, now())
    click.echo(json.dumps(document, indent=1) if as_json else page(document))
