"""`down`, and `broker` (what the supervisor runs to have a Redis). What `up` starts stands in `singlepoint.py`."""

from __future__ import annotations

import os
import signal
import time

import click

from singlepoint.jobs.client.session import Settings
from singlepoint.jobs.errors import NotNow
from singlepoint.jobs.host.processes import ProcessId, is_stopped
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.host.standstill import remedy
from singlepoint.jobs.store.home import Home, open_home

PATIENCE_S = 120.0  # above the sum of the graces that the supervisor gives
PATIENCE_NOW_S = 15.0
REMIND_S = 5.0


@click.command(hidden=True)
@click.pass_obj
def broker(settings: Settings) -> None:
    """Serve this home's Redis in the foreground."""
    from singlepoint.jobs.broker.embedded import run

    run(open_home(settings.home_path))


@click.command(epilog="Examples:\n\n  singlepoint down\n\n  singlepoint down --now")
@click.option("--drain", "now", flag_value=False, type=bool, default=False, help="Save running jobs first (default).")
@click.option(
    "--now", "now", flag_value=True, type=bool, help="Kill running jobs; they go on from their last checkpoint."
)
@click.pass_obj
def down(settings: Settings, now: bool) -> None:
    """Stop what `up` started: workers, scheduler, then Redis.

    Running jobs save their state and go on at the next `up`.
    """
    from singlepoint.jobs.broker.embedded import server_process, stop

    home = open_home(settings.home_path)
    supervisor = holder(home.lock("supervisor"))
    if supervisor is not None:
        _end_supervisor(supervisor, now=now)
    orphan = server_process(home)
    if orphan is not None:
        stop(orphan, grace_s=10)
    found = supervisor is not None or orphan is not None
    click.echo("singlepoint is down" if found else f"nothing was running in {home.path}", err=True)
    _mention_scheduler(home)


def _end_supervisor(supervisor: ProcessId, *, now: bool) -> None:
    """Signal the supervisor and wait for its end. Raises NotNow when it does not come."""
    if not now and is_stopped(supervisor.pid):
        hint = f"{remedy(supervisor.pid)}; or `singlepoint down --now`"
        raise NotNow(f"process {supervisor.pid}, which would end the others, stands still", hint=hint)
    began = time.monotonic()
    _signal(supervisor, signal.SIGQUIT if now else signal.SIGTERM)
    patience_s = PATIENCE_NOW_S if now else PATIENCE_S
    reminded = began
    while supervisor.is_alive():
        waited = time.monotonic() - began
        if waited > patience_s:
            _give_up(supervisor, now=now)
            return
        if time.monotonic() - reminded > REMIND_S:
            reminded = time.monotonic()
            click.echo(f"running jobs are saving their state ({waited:.0f} s); --now kills them", err=True)
        time.sleep(0.02)


def _give_up(supervisor: ProcessId, *, now: bool) -> None:
    if not now:
        raise NotNow(f"process {supervisor.pid} has not ended in {PATIENCE_S:.0f} s", hint="singlepoint down --now")
    _signal(supervisor, signal.SIGKILL)  # a stopped one hears nothing else; its children die with it


def _signal(process: ProcessId, number: signal.Signals) -> None:
    if process.is_alive():
        os.kill(process.pid, number)


def _mention_scheduler(home: Home) -> None:
    """Say so when something of this home runs that was started by hand, and so is not ours to stop."""
    scheduler = holder(home.lock("scheduler"))
    if scheduler is not None:
        click.echo(f"a scheduler started by hand goes on: process {scheduler.pid}", err=True)
