"""The commands of the worker: `worker`, `serving`, `checkpoints`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from singlepoint.jobs import clock
from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.errors import EXIT_INVALID
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.service_log import log_to_stderr
from singlepoint.jobs.store.home import Home

from .ground.process import usable_cores


@click.command(
    epilog="Examples:  singlepoint worker --workers 2   |   SINGLEPOINT_REDIS_URL=unix:///sock singlepoint worker"
)
@click.option("--workers", type=click.IntRange(1, 1024), help="How many jobs may run at once. Default: the cpu budget.")
@click.pass_obj
def worker(settings: Settings, workers: int | None) -> None:
    """Run the worker in the foreground, for containers and service managers; `up` starts one too.

    SIGTERM drains it: running jobs save, are handed back and go on later.
    """
    from singlepoint.worker.pool.pool import Pool

    log_to_stderr()
    session = open_session(settings, patient=True)
    Pool(session.home, settings.redis_url, workers or _default_workers(session.home)).run()


@click.command(hidden=True)
@click.option("--number", type=click.IntRange(0, 63), default=0, help="Which of several it is, from 0.")
@click.pass_obj
def serving(settings: Settings, number: int) -> None:
    """Answer predictions at once, on a socket of the home, for its page; in the foreground."""
    from singlepoint.worker.serving.process import serve

    log_to_stderr()
    serve(open_session(settings).home, number)


def _default_workers(home: Home) -> int:
    """As many as jobs can run at once, since each needs a core at least."""
    capacity = read_capacity(home)
    if capacity is not None:
        return max(1, capacity.budget.cpu_millis // 1000)
    return usable_cores()


@click.command(epilog="Examples:  singlepoint checkpoints last   |   singlepoint checkpoints wdbc verify")
@click.argument("job")
@click.argument("action", type=click.Choice(["list", "verify"]), default="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_obj
def checkpoints(settings: Settings, job: str, action: str, as_json: bool) -> None:
    """List a job's checkpoints; with `verify`, read each one whole. Exit code 65 when one is damaged."""
    session = open_session(settings)
    job_id = find_job(session.store, job)
    rows = checkpoint_rows(session.home, job_id, verify=action == "verify")
    if as_json:
        click.echo(json.dumps({"schema": 1, "id": job_id, "checkpoints": rows}, indent=2))
    elif not rows:
        click.echo(f"{job_id} has no checkpoints", err=True)
    for row in rows if not as_json else []:
        click.echo(_checkpoint_text(row))
    if any(row.get("sound") is False for row in rows):
        raise SystemExit(EXIT_INVALID)


def checkpoint_rows(home: Home, job_id: str, *, verify: bool) -> list[dict[str, Any]]:
    """What `checkpoints --json` says of a job's checkpoints; `verify` reads each one whole."""
    from singlepoint.worker.checkpoints.checkpoint import in_order, set_aside

    directory = home.job_files(job_id).checkpoints
    rows = [_checkpoint_row(path, verify=verify) for path in in_order(directory)]
    return [
        *rows,
        *({"file": path.name, "sound": False, "problem": "set aside earlier"} for path in set_aside(directory)),
    ]


def _checkpoint_row(path: Path, *, verify: bool) -> dict[str, Any]:
    from singlepoint.worker.checkpoints.checkpoint import Damaged, name_of, verified

    status = path.stat()
    row: dict[str, Any] = {
        "file": path.name,
        "step": name_of(path).step,
        "bytes": status.st_size,
        "saved_at": clock.iso(status.st_mtime),
    }
    if verify:
        try:
            verified(path)
            row["sound"] = True
        except Damaged as problem:
            row.update(sound=False, problem=str(problem))
    return row


def _checkpoint_text(row: dict[str, Any]) -> str:
    verdict = {True: "sound", False: f"DAMAGED: {row.get('problem')}", None: ""}[row.get("sound")]
    where = f"step {row['step']:>8}  {format_bytes(row['bytes']):>10}  {row['saved_at']}  " if "step" in row else ""
    return f"{where}{row['file']}  {verdict}".rstrip()
