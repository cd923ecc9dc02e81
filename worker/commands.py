"""The commands of the worker: `worker`, `checkpoints`, `models`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from singlepoint.jobs import clock
from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.client.find import find_job, find_model
from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.commands.text import fields, table
from singlepoint.jobs.errors import EXIT_INVALID, UsageError
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.service_log import log_to_stderr
from singlepoint.jobs.store.home import Home

from .ground.process import usable_cores
from .models import registry


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


@click.command(epilog="Examples:  singlepoint models   |   singlepoint models show wdbc")
@click.argument("action", type=click.Choice(["list", "show"]), default="list")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_obj
def models(settings: Settings, action: str, name: str | None, as_json: bool) -> None:
    """List the models that jobs made, or show one: its layers, metrics and origin."""
    session = open_session(settings)
    if action == "show":
        if name is None:
            raise UsageError("models show needs a NAME", hint="`singlepoint models` lists them")
        document = model_document(Path(find_model(session.store, name)))
        click.echo(json.dumps({"schema": 1, **document}, indent=2) if as_json else _model_text(document))
        return
    rows = model_documents(session.home)
    if as_json:
        click.echo(json.dumps({"schema": 1, "models": rows}, indent=2))
    elif not rows:
        click.echo("no models yet; `singlepoint submit train SPEC.toml` makes one", err=True)
    else:
        click.echo(table([_model_cells(row) for row in rows], ("model", "size", "task", "scores")))


def _model_cells(row: dict[str, Any]) -> dict[str, str]:
    scores = ", ".join(f"{key} {value:.4g}" for key, value in row["metrics"].items())
    return {"model": row["model"], "size": format_bytes(row["bytes"]), "task": row["task"] or "", "scores": scores}


def model_documents(home: Home) -> list[dict[str, Any]]:
    """What `models --json` says of every model in a home."""
    return [
        model_document(home.models / name / str(number))
        for name in registry.names(home)
        for number in registry.versions(home, name)
    ]


def model_document(place: Path) -> dict[str, Any]:
    """What `models --json` says of the model in a directory. Reads no weights."""
    document = registry.description(place)
    weights = place / "model.safetensors"
    return {
        "model": f"{place.parent.name}/{place.name}",
        "path": str(place),
        "bytes": weights.stat().st_size if weights.exists() else 0,
        **{key: document.get(key) for key in ("task", "classes", "input_shape", "layers", "provenance")},
        "metrics": document.get("metrics") or {},
    }


def _model_text(document: dict[str, Any]) -> str:
    lines = [document["model"], f"  path     {document['path']}", f"  size     {format_bytes(document['bytes'])}"]
    lines += [f"  task     {document['task']}", f"  classes  {', '.join(map(str, document['classes'] or [])) or '-'}"]
    for layer in document["layers"] or []:
        options = ", ".join(f"{key} {value}" for key, value in layer.items() if key != "type" and value is not None)
        lines.append(f"  layer    {layer['type']}{': ' if options else ''}{options}")
    origin = {key: value for key, value in (document["provenance"] or {}).items() if key != "environment"}
    asked = {key: value for key, value in _flat(origin.pop("spec", {})) if not key.startswith("model.")}
    told = {key: f"{value:.6g}" for key, value in document["metrics"].items()}
    told |= {key: _listed(value) for key, value in (asked | origin).items()}
    return "\n".join([*lines, *(f"  {line}" for line in fields(told).splitlines())])


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _flat(document: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """`training.epochs` and its value, for everything that a spec says; what it leaves open is left out."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        elif value is not None:
            yield f"{before}{name}", value
