"""The commands on models: `models`, to list, show, compare and remove them, and `evaluate`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from singlepoint.jobs import clock
from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.client.find import find_model, model_of
from singlepoint.jobs.client.query import listing
from singlepoint.jobs.client.session import Session, Settings, open_session
from singlepoint.jobs.commands.options import ListsFiles, as_json, examples
from singlepoint.jobs.commands.text import fields, table
from singlepoint.jobs.errors import NotFound, NotNow, SinglepointError, UsageError
from singlepoint.jobs.spec.job import PredictSpec, from_json
from singlepoint.jobs.spec.predict import is_model_name
from singlepoint.jobs.store.home import Home

from .models import registry


@click.group(
    invoke_without_command=True, epilog=examples("singlepoint models --sort -accuracy", "singlepoint models show wdbc")
)
@click.option("--sort", metavar="F", help="By name, created, size or a metric; -accuracy: largest first.  [name]")
@as_json
@click.pass_context
def models(ctx: click.Context, sort: str | None, as_json: bool) -> None:
    """List the models that jobs made; or show, compare or remove some."""
    if ctx.invoked_subcommand is None:
        _list(ctx.obj, sort, as_json)
    elif sort is not None or as_json:
        raise UsageError(f"options stand behind `models {ctx.invoked_subcommand}`")


def _list(settings: Settings, sort: str | None, as_json: bool) -> None:
    rows = in_order(model_documents(open_session(settings).home), sort)
    if as_json:
        click.echo(json.dumps({"schema": 1, "models": rows}, indent=2))
    elif not rows:
        click.echo("no models yet; `singlepoint submit train SPEC.toml` makes one", err=True)
    else:
        click.echo(table([_model_cells(row) for row in rows], ("model", "size", "task", "scores")))


SORTS = {"name": "model", "created": "created_at", "size": "bytes"}


def in_order(rows: Sequence[dict[str, Any]], sort: str | None) -> list[dict[str, Any]]:
    """Documents of models, sorted as `--sort` says, None as they are; those without the metric stand last. Pure.

    Raises UsageError for what none of them has.
    """
    if sort is None or not rows:
        return list(rows)
    name = sort.removeprefix("-")
    values = [row[SORTS[name]] if name in SORTS else row["metrics"].get(name) for row in rows]
    known = [(value, row) for value, row in zip(values, rows, strict=True) if value is not None]
    if not known:
        metrics = sorted({metric for row in rows for metric in row["metrics"]})
        raise UsageError(f"cannot sort by {name!r}", hint=f"one of {', '.join([*SORTS, *metrics])}")
    known.sort(key=lambda pair: pair[0], reverse=sort.startswith("-"))
    return [*(row for _, row in known), *(row for value, row in zip(values, rows, strict=True) if value is None)]


@models.command(name="list", hidden=True)
@as_json
@click.pass_obj
def list_(settings: Settings, as_json: bool) -> None:
    """The same as `models` alone."""
    _list(settings, None, as_json)


@models.command(epilog=examples("singlepoint models show wdbc", "singlepoint models show wdbc~1 --json"))
@click.argument("name")
@as_json
@click.pass_obj
def show(settings: Settings, name: str, as_json: bool) -> None:
    """Show one: its layers, metrics and origin."""
    document = model_document(_place(open_session(settings), name))
    click.echo(json.dumps({"schema": 1, **document}, indent=2) if as_json else _model_text(document))


def _place(session: Session, word: str) -> Path:
    """Where the model lies that a word means. Raises NotFound, UsageError; NotNow for a training under way."""
    place = Path(find_model(session.store, word if is_model_name(word) else os.path.abspath(word)))
    if not place.is_absolute():
        raise NotNow(f"training {place} has not ended, so it has no model yet", hint=f"`singlepoint wait {place}`")
    return place


# --- compare ------------------------------------------------------------------------------------------------


@models.command(epilog=examples("singlepoint models compare wdbc wdbc~1", "singlepoint models compare a/1 b/3 --json"))
@click.argument("names", metavar="A B...", nargs=-1, required=True)
@as_json
@click.pass_obj
def compare(settings: Settings, names: tuple[str, ...], as_json: bool) -> None:
    """Show models beside each other: what they are, how good they are, and where what was asked for differs."""
    if len(names) < 2:
        raise UsageError("models compare takes two models at least")
    session = open_session(settings)
    document = compared([_measured(_place(session, name)) for name in names])
    if as_json:
        click.echo(json.dumps({"schema": 1, **document}, indent=2))
        return
    rows = document["models"]
    metrics = dict.fromkeys(name for row in rows for name in row["metrics"])
    click.echo(table([_compared_cells(row) for row in rows], ("model", "task", "rows", "parameters", "size", *metrics)))
    if document["differs"]:
        asked = {name: "  |  ".join(map(_said, values)) for name, values in document["differs"].items()}
        click.echo(f"\nasked for otherwise:\n{fields(asked)}")


def _measured(place: Path) -> dict[str, Any]:
    """The document of a model, and how many parameters it has. Raises ModelFormatError for a damaged one."""
    from .models.files import load

    return {**model_document(place), "parameters": int(load(place).network.parameters.size)}


def compared(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `models compare --json` says. differs: by field of the spec what each model's training was asked for, None
    where it said nothing. Pure."""
    asked = [dict(_flat((document["provenance"] or {}).get("spec") or {})) for document in documents]
    differs = {}
    for name in dict.fromkeys(name for one in asked for name in one):
        values = [one.get(name) for one in asked]
        if any(value != values[0] for value in values):
            differs[name] = values
    kept = ("model", "task", "parameters", "bytes", "metrics")
    rows = [
        {**{name: document[name] for name in kept}, "rows": (document["provenance"] or {}).get("rows")}
        for document in documents
    ]
    return {"models": rows, "differs": differs}


def _compared_cells(row: Mapping[str, Any]) -> dict[str, str]:
    known = {name: f"{row[name]:,}" for name in ("rows", "parameters") if row[name] is not None}
    metrics = {name: f"{value:.4g}" for name, value in row["metrics"].items()}
    return {**metrics, **known, "model": row["model"], "task": row["task"] or "", "size": format_bytes(row["bytes"])}


def _said(value: Any) -> str:
    return "-" if value is None else _listed(value)


# --- remove -------------------------------------------------------------------------------------------------


@models.command(epilog=examples("singlepoint models rm wdbc~1", "singlepoint models rm wdbc --all-versions"))
@click.argument("name")
@click.option("--all-versions", is_flag=True, help="All of that name, not only the newest.")
@click.pass_obj
def rm(settings: Settings, name: str, all_versions: bool) -> None:
    """Delete a model of the home: the newest of that NAME, NAME~1 or NAME/n. The job that made it stays.

    One with which a job that has not ended is to predict is refused (75).
    """
    session = open_session(settings)
    places = _versions(session.home, name) if all_versions else [_place(session, name)]
    for place in places:
        if place.parent.parent != session.home.models.absolute():
            raise UsageError(f"{place} is no model of this home", hint="delete its directory yourself")
    _require_unused(session, places)
    for place in places:
        size_bytes = model_document(place)["bytes"]
        registry.remove(place)
        click.echo(f"{place.parent.name}/{place.name} removed, {format_bytes(size_bytes)}")


def _versions(home: Home, name: str) -> list[Path]:
    if "/" in name or "~" in name:
        raise UsageError(f"--all-versions takes a name alone, not {name}")
    places = [home.models.absolute() / name / str(number) for number in registry.versions(home, name)]
    if not places:
        raise NotFound(f"no model {name}", hint="`singlepoint models` lists them")
    return places


def _require_unused(session: Session, places: Sequence[Path]) -> None:
    """Raises NotNow while a job that has not ended made one of them, or is to predict with it."""
    makers = {(registry.description(place).get("provenance") or {}).get("job"): place for place in places}
    by_path = {os.path.realpath(place): place for place in places}
    for row in listing(session).rows:
        job_id = row["id"]
        used = by_path.get(_predicts_with(session, job_id)) if row["kind"] == "predict" else makers.get(job_id)
        if used is not None:
            what = f"model {used.parent.name}/{used.name} is in use by job {job_id}, which has not ended"
            raise NotNow(what, hint=f"`singlepoint wait {job_id}`, or cancel it")


def _predicts_with(session: Session, job_id: str) -> str:
    """Where the model of a prediction really lies: its spec names it by itself, or by the training that makes it. ""
    where nobody can tell."""
    try:
        spec = from_json(session.store.spec(job_id))
        assert isinstance(spec, PredictSpec)
        place = spec.model if os.path.isabs(spec.model) else model_of(session.store.load(spec.model))
    except SinglepointError:
        return ""  # one that is gone or damaged will predict with nothing
    return os.path.realpath(place) if place else ""


# --- evaluate -----------------------------------------------------------------------------------------------


@click.command(
    cls=ListsFiles,
    epilog=examples(
        "singlepoint evaluate --model wdbc --input held_out.csv",
        "singlepoint evaluate --model wdbc~1 --input parts/*.csv --json",
    ),
)
@click.option("--model", metavar="MODEL", required=True, help="NAME, NAME/n, a directory, or the id of a training job.")
@click.option("--input", "inputs", multiple=True, required=True, metavar="FILE...", help="Rows with the target.")
@as_json
@click.pass_obj
def evaluate(settings: Settings, model: str, inputs: tuple[str, ...], as_json: bool) -> None:
    """Say how good a model is on rows that hold what it predicts: here and now, without a job.

    The figures are those that a prediction with the same input has in its result.
    """
    from .models.files import load
    from .scoring.answered import input_files
    from .scoring.evaluation import evaluate

    place = _place(open_session(settings), model)
    found = evaluate(load(place), input_files(list(map(os.path.abspath, inputs))))
    document = {"model": f"{place.parent.name}/{place.name}", "path": str(place), **asdict(found)}
    if as_json:
        click.echo(json.dumps({"schema": 1, **document}, indent=2))
        return
    click.echo(fields({name: f"{value:.6g}" for name, value in found.metrics.items()}))
    for column, cells in found.unseen.items():
        click.echo(f"warning: {column}: {cells} cells hold what no row of the training did", err=True)


# --- documents ----------------------------------------------------------------------------------------------


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
        "created_at": clock.iso((place / "model.json").stat().st_mtime) if document else None,
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
