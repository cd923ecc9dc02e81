"""The commands of this package: `scheduler` runs it, `drain` has it start nothing; `report` reads the disk and needs no
Redis."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from singlepoint.jobs.amounts import amount_text, parse_length_s, parse_moment_s
from singlepoint.jobs.broker.address import locate
from singlepoint.jobs.broker.index import LOOK_AT_EVERYTHING
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.session import Session, Settings, asked, open_session
from singlepoint.jobs.clock import local, now
from singlepoint.jobs.errors import HistoryDamaged, InvalidInput, NotFound, UsageError
from singlepoint.jobs.host import pressure
from singlepoint.jobs.host.capacity import FIELDS, read_capacity
from singlepoint.jobs.host.service_log import log_to_stderr
from singlepoint.jobs.host.singleton import acquire
from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.records import UNLIMITED, Job, Resources
from singlepoint.jobs.lifecycle.spent import account_of_round, granted_so_far
from singlepoint.jobs.services.budget_choice import choose_budget, chosen_budget, drop_choice
from singlepoint.jobs.services.draining import Drain, end_drain, lasting
from singlepoint.jobs.services.draining import drain as begin_drain
from singlepoint.jobs.services.policy_choice import choose_policy, chosen_policy
from singlepoint.jobs.store.durable import write_asked
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.rings import RINGS, Rings
from singlepoint.jobs.store.settings import read_settings
from singlepoint.scheduler.machine.budget import Machine, default_budget, parse_budget, this_machine
from singlepoint.scheduler.machine.budget_cores import BudgetCores, keep_own_to, keeper
from singlepoint.scheduler.machine.cores import CoreLoad, layout
from singlepoint.scheduler.machine.in_force import InForce, budget_at
from singlepoint.scheduler.machine.own_processes import own_cpu
from singlepoint.scheduler.machine.reserve import measured_reserve, page_reserve
from singlepoint.scheduler.policy.named import DEFAULT, POLICIES
from singlepoint.scheduler.reporting.account import account, account_rows
from singlepoint.scheduler.reporting.chart import chart_page
from singlepoint.scheduler.reporting.projects import projects
from singlepoint.scheduler.reporting.report import job_report, overall_report, page
from singlepoint.scheduler.world.sharing.usage import REMEMBERED_BYTES, Shares

YEAR_S = 365 * 86_400.0
TAKEN_UP_WITHIN_S = 10.0  # it is rung for


@click.command(
    epilog="\b\nExamples:\n  singlepoint scheduler\n  singlepoint scheduler --budget cpu=2,memory=4GiB",
)
@click.option(
    "--budget",
    metavar="cpu=2,memory=4GiB",
    help="What all jobs together may use. Default: all cores, 80% of the memory.",
)
@click.option("--policy", type=click.Choice([*POLICIES]), help=f"Default: what was chosen, or {DEFAULT}.")
@click.pass_obj
def scheduler(settings: Settings, budget: str | None, policy: str | None) -> None:
    """Run the scheduler in the foreground, until SIGTERM. One per home; a second one ends with code 75."""
    from singlepoint.jobs.broker.connection import connect  # the other commands do without
    from singlepoint.scheduler.runtime.loop import HISTORY_PATIENCE_S, Scheduler

    session = open_session(settings)
    find_machine = partial(this_machine, pid=keeper(session.home))
    machine = find_machine()
    where = layout(machine.cores)
    cores = BudgetCores(_cores_before(session.home), where)

    def in_force(at: float, held: Collection[int] = ()) -> InForce:
        here = find_machine()  # a container's limits may change while it runs
        found = budget_at(session.home, budget, here, at, before=machine)
        return InForce(found.amounts, cores(found.amounts, here, held), found.chosen)

    at_start = in_force(now())
    lock = acquire(session.home.lock("scheduler"))
    if policy:
        choose_policy(session.home, policy)
    log_to_stderr()
    Scheduler(
        JobStore(session.home, patience_s=HISTORY_PATIENCE_S),
        partial(connect, locate(session.home, settings.redis_url)),
        at_start.budget,
        at_start.cores,
        budget_at=in_force,
        pressure=pressure.measure,
        load=CoreLoad(),
        layout=where,
        keep_own_to=partial(keep_own_to, session.home),
        own_cpu=partial(own_cpu, session.home),
        measure=partial(measured_reserve, session.home),
        page=partial(page_reserve, session.home),
        policy=partial(chosen_policy, session.home),
    ).run()
    assert lock >= 0  # held until the process ends


def _cores_before(home: Home) -> tuple[int, ...]:
    """Of the scheduler that was here before; none where nobody knows."""
    try:
        before = read_capacity(home)
    except InvalidInput:  # damaged; it is written anew in a moment
        before = None
    return before.cores if before is not None else ()


@click.command(
    epilog="\b\nExamples:\n  singlepoint budget\n  singlepoint budget cpu=2 memory=4GiB\n  singlepoint budget --reset",
)
@click.argument("amounts", metavar="[cpu=2 memory=4GiB …]", nargs=-1)
@click.option("--reset", is_flag=True, help="Take back what was chosen by this command.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (schema 1).")
@click.pass_obj
def budget(settings: Settings, amounts: tuple[str, ...], reset: bool, as_json: bool) -> None:
    """Show what all jobs together may use, and where that comes from; or choose another budget, from now on.

    When it is lowered, nothing is granted, and running work saves and makes room, until what is granted fits again.
    """
    session = open_session(settings)
    if amounts or reset:
        _choose(session, amounts)
        if not _is_taken_up(session.home):
            click.echo("the scheduler has not taken this up yet; its log says why", err=True)
    document = budget_document(session.home, this_machine(), now())
    click.echo(json.dumps(document) if as_json else budget_page(document))


def _choose(session: Session, amounts: tuple[str, ...]) -> None:
    words = ",".join(amounts)
    parse_budget(words, this_machine())  # refused here, before anybody goes by it
    if words:
        choose_budget(session.home, words)
    else:
        drop_choice(session.home)
    asked(session, lambda index: index.ring(LOOK_AT_EVERYTHING))  # or it is seen a second or three later


def _is_taken_up(home: Home) -> bool:
    """Whether the scheduler that runs, if one does, goes by what was chosen, which is waited for a while: what is shown
    next is to hold."""
    chosen = chosen_budget(home)
    deadline = time.monotonic() + TAKEN_UP_WITHIN_S
    while (known := read_capacity(home)) is not None and known.is_live() and known.chosen != chosen:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def budget_document(home: Home, machine: Machine, at: float) -> dict[str, Any]:
    """The document of `budget`: C_max, our own reserve and what of it is the page's, and what jobs may have, by
    resource; and who said so."""
    capacity = read_capacity(home)
    live = capacity is not None and capacity.is_live()
    option = None  # what `--budget` said is known to the scheduler alone, which publishes what came of it
    known = budget_at(home, option, machine, at)
    amounts = capacity.budget if capacity is not None and live else known.amounts
    reserve = capacity.reserve if capacity is not None and live else Resources()
    return {
        "schema": 1,
        "in_force": live,
        "budget": amounts.to_json(),
        "reserve": reserve.to_json(),
        "page": (capacity.page if capacity is not None and live else Resources()).to_json(),
        "room": (amounts - reserve).to_json(),
        "layers": [{"source": layer.source, "words": layer.words} for layer in known.layers],
    }


def budget_page(document: dict[str, Any]) -> str:
    """The document for people."""
    lines = [
        f"{word.ljust(8)}{_amount_of(name, document['budget'])}"
        + (
            f", of which singlepoint itself needs {amount_text(name, own)}{_of_the_page(name, document)}"
            if (own := document["reserve"].get(name))
            else ""
        )
        for name, (_, word) in FIELDS.items()
    ]
    lines += [f"{name.ljust(8)}{count}" for name, count in document["budget"].get("counted", {}).items()]
    said = [f"by {layer['source']}: {layer['words']}" for layer in document["layers"]]
    running = [] if document["in_force"] else ["no scheduler runs: this is what one that starts now would go by"]
    return "\n".join([*lines, *said, *running])


def _of_the_page(name: str, document: dict[str, Any]) -> str:
    page = document["page"].get(name)
    return f", {amount_text(name, page)} of that for the page and the models it holds" if page else ""


def _amount_of(name: str, amounts: dict[str, int]) -> str:
    amount = amounts.get(name, 0)
    return "as there is" if amount >= UNLIMITED else amount_text(name, amount)


@click.command(
    epilog="\b\nExamples:\n  singlepoint drain\n  singlepoint drain --until 18:00 --for 2h\n  singlepoint drain --off"
)
@click.option("--until", metavar="T", help="Work until then: +2h, 18:00 (the next), 2026-11-27T18:00.")
@click.option("--for", "length", metavar="LENGTH", help="Go on by itself after 30m, 2h, 1d.")
@click.option("--off", is_flag=True, help="Start jobs again.")
@click.pass_obj
def drain(settings: Settings, until: str | None, length: str | None, off: bool) -> None:
    """Start nothing more, and have running work save and be handed back, until `drain --off`. Survives a restart.

    With --until, work goes on until then: what can be put down is started as ever, of the rest what should have ended
    by then.
    """
    if off and (until or length):
        raise click.UsageError("--off ends a drain: it takes neither --until nor --for")
    session, at = open_session(settings), now()
    plan = _planned(until, length, at)
    session.require_redis()
    if not off:
        begin_drain(session.home, plan, at)
        click.echo(_told_of(plan, at), err=True)
    elif end_drain(session.home, at):
        click.echo("no longer draining", err=True)
    else:
        click.echo("was not draining", err=True)
    session.index.ring(LOOK_AT_EVERYTHING)


def _planned(until: str | None, length: str | None, at: float) -> Drain:
    """Raises UsageError for what is no time."""
    try:
        begins_at = at if until is None else parse_moment_s(until, at)
        return lasting(begins_at, None if length is None else parse_length_s(length))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _told_of(plan: Drain, at: float) -> str:
    until = f"until {local(plan.ends_at, at)}" if plan.ends_at < math.inf else "until `singlepoint drain --off`"
    if plan.holds(at):
        return f"draining {until}: `singlepoint ps` shows what still runs"
    return f"from {local(plan.begins_at, at)} on the home is drained, {until}; before, work goes on"


def total_account(session: Session, going_on: Iterable[Job], at: float) -> Account:
    """What all attempts came to that ever ran here: by the ledger, and by the jobs that go on."""
    total = session.store.ledger.account()
    for job in going_on:
        total += account_of_round(job) + granted_so_far(job, at)
    return total


@click.command(
    epilog="\b\nExamples:\n  singlepoint report\n  singlepoint report last --json\n  singlepoint report --html u.html"
)
@click.argument("job", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (schema 1).")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Draw U(t) into one file.")
@click.pass_obj
def report(settings: Settings, job: str | None, as_json: bool, html: Path | None) -> None:
    """Show what the time went into and what crashes cost: utilisation, core-hours, money, failure rate, waste; of one
    job, or of all."""
    session = open_session(settings)
    if html is not None:
        write_asked(html, utilisation_page(session.home, now()))
        click.echo(f"drawn: {html}", err=True)
        return
    document = report_document(session, find_job(session.store, job) if job is not None else None)
    click.echo(json.dumps(document, indent=1) if as_json else page(document))


def report_document(session: Session, job_id: str | None) -> dict[str, Any]:
    """The document of `report`: of one job, or of all that ever ran here."""
    going_on, at = list(_going_on(session)), now()
    total = total_account(session, going_on, at)
    if job_id is not None:
        return job_report(session.store.load(job_id), total)
    capacity = read_capacity(session.home)
    budget = capacity.budget if capacity is not None else default_budget(this_machine())
    known = {"account": account_document(session.home, at), "projects": projects_document(session, going_on, at)}
    return overall_report(total, budget, at) | known


def projects_document(session: Session, going_on: Iterable[Job], at: float) -> dict[str, Any]:
    """What each project has had of late."""
    chosen = read_settings(session.home).shares
    shares = Shares({}, dict(chosen.projects), chosen.half_life_s)
    return projects(session.store.ledger.newest(REMEMBERED_BYTES), going_on, shares, at)


def _going_on(session: Session) -> Iterator[Job]:
    for job_id in session.store.unlisted_ids():
        with contextlib.suppress(HistoryDamaged, NotFound):
            yield session.store.load(job_id)


def account_document(home: Home, at: float) -> dict[str, Any]:
    """What the measured time of the last year went into."""
    return account(Rings(home.utilisation).total(at - YEAR_S, at), read_settings(home).prices)


def utilisation_page(home: Home, at: float) -> str:
    """U(t) of the last quarter of an hour, the last two days and the last year, with the account."""
    rings = Rings(home.utilisation)
    series = [
        (f"by {ring.name}", ring.slot_s, list(rings.read(ring, at - ring.slot_s * ring.slots, at))) for ring in RINGS
    ]
    return chart_page("singlepoint: utilisation", series, list(account_rows(account_document(home, at))))
