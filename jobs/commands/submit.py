"""`singlepoint submit train`, `singlepoint submit predict` and `singlepoint submit run`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from singlepoint.jobs.client.follow import EXIT_CODES, follow, wait_for
from singlepoint.jobs.client.query import room
from singlepoint.jobs.client.session import Session, Settings, open_session
from singlepoint.jobs.client.submit import Submitted, accept, prepare
from singlepoint.jobs.client.submit_many import Called, accept_all, prepare_all
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import EXIT_OK, UsageError
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.standstill import scheduler_complaint
from singlepoint.jobs.lifecycle.outlook import Outlook, foreseen_lines
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.lifecycle.summary import SCHEMA
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.file import parse_document, parse_file
from singlepoint.jobs.spec.job import Spec, is_model_name

from . import remote
from .logs import detaching
from .options import ListsFiles, examples
from .text import coloured, plural

COUNTED = "resources.counted"


def key_or_none(text: str) -> str | bool:
    """The key of `--unique KEY`; of `--unique` alone, True. A click type."""
    return text or True


def count_of(text: str) -> tuple[str, int]:
    """The name and the count of `gpu=1`. A click type."""
    name, _, count = text.partition("=")
    if not name or not count.isdecimal():
        raise click.BadParameter(f"{text!r} is not NAME=N; write it like gpu=1")
    return name, int(count)


# option, path in the spec, what click needs to know of it
_FIELDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("--name", "name", {"metavar": "NAME", "help": "Name of the job (and of its model)  [the file's name]"}),
    ("--priority", "priority", {"type": int, "metavar": "N", "help": "Higher runs earlier  [0]"}),
    ("--cpu", "resources.cpu", {"type": int, "metavar": "N", "help": "Cores  [1]"}),
    ("--memory", "resources.memory", {"metavar": "SIZE", "help": "Memory, such as 2GiB  [512MiB]"}),
    ("--storage", "resources.storage", {"metavar": "SIZE", "help": "Disk that it may add, such as 10GiB  [0]"}),
    ("--network", "resources.network", {"metavar": "SIZE", "help": "Bytes a second, such as 20MB  [0]"}),
    (
        "--resource",
        COUNTED,
        {"multiple": True, "metavar": "NAME=N", "type": count_of, "help": "Of what the budget counts: gpu=1"},
    ),
    ("--project", "project", {"metavar": "NAME", "help": "What its share of the machine is counted under."}),
    (
        "--after",
        "after",
        {
            "multiple": True,
            "metavar": "ID",
            "help": "Run once this job has succeeded; ID:failed, ID:any: once it has not, or ended.",
        },
    ),
    ("--begin", "begin", {"metavar": "T", "help": "Not earlier: +2h, 18:00 (the next), 2026-11-27T18:00."}),
    ("--deadline", "deadline", {"metavar": "T", "help": "When it should have ended; how likely that is, is told."}),
    ("--time-limit", "time_limit_s", {"metavar": "T", "help": "How long an attempt may run, such as 90, 10m or 2h."}),
    ("--retries", "retries", {"type": int, "metavar": "N", "help": "Own failures that are tried again  [0]"}),
    (
        "--unique",
        "unique",
        {
            "type": key_or_none,
            "is_flag": False,
            "flag_value": "",
            "metavar": "[KEY]",
            "help": "While a job with this key lives, answer its id. Without KEY: with the same spec.",
        },
    ),
    (
        "--no-preempt",
        "preemptible",
        {"flag_value": False, "type": bool, "default": None, "help": "Never put it down for other work."},
    ),
)


def _parameter(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every kind of submission takes."""
    how = [
        click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change the spec: training.epochs=5"),
        *(click.option(option, **facts) for option, _, facts in _FIELDS),
        click.option("--wait", is_flag=True, help="Wait for the end; exit with the job's code."),
        click.option("--follow", is_flag=True, help="Wait, and print the job's log on stderr."),
        click.option("--dry-run", is_flag=True, help="Check all of it and print the spec; submit nothing."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document (schema 1) instead of the id."),
        click.option("-q", "--quiet", is_flag=True, help="Print the id and nothing else."),
    ]
    for decorate in reversed(how):
        command = decorate(command)
    return command


@click.group(no_args_is_help=True)
def submit() -> None:
    """Hand in a job; its id is printed once it is kept for good.

    With --wait or --follow the exit code is the job's: 0 succeeded, 1 failed, 130 cancelled; Ctrl-C only
    detaches (75). A spec that will not do is refused with every problem in it (65).
    """


@submit.command(
    epilog=examples(
        "singlepoint submit train wdbc.toml",
        "singlepoint submit train wdbc.toml --set training.epochs=5 --follow",
        "singlepoint submit train sweep/*.toml -q",
    )
)
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@_common
@click.pass_obj
def train(settings: Settings, /, specs: tuple[Path, ...], sets: tuple[str, ...], **options: Any) -> None:
    """Train the model that SPEC (.toml or .json) describes; of several, all or none are handed in."""
    given = _given(options)
    if len(specs) == 1:
        _submit(settings, parse_file(specs[0], sets, given, kind="train"), options)
    else:
        _submit_all(
            settings, [(str(path), partial(parse_file, path, sets, given, kind="train")) for path in specs], options
        )


@submit.command(
    cls=ListsFiles,
    epilog=examples(
        "singlepoint submit predict --model wdbc --input new.csv --output answers.csv",
        "singlepoint submit predict --model wdbc --input parts/*.csv --output answers.csv",
        "singlepoint submit predict score.toml --set tile=4096 --wait",
    ),
)
@click.argument("spec", metavar="[SPEC]", required=False, type=click.Path(path_type=Path, readable=False))
@click.option("--model", metavar="MODEL", help="NAME, NAME/n, a directory, or the id of a training job.")
@click.option("--input", "inputs", multiple=True, metavar="FILE...", help="The rows: files, folders, patterns.")
@click.option("--output", metavar="FILE", help="Where the answers go: .csv or .npy.")
@_common
@click.pass_obj
def predict(
    settings: Settings,
    /,
    spec: Path | None,
    sets: tuple[str, ...],
    model: str | None,
    inputs: tuple[str, ...],
    output: str | None,
    **options: Any,
) -> None:
    """Score a data set with a model.

    What to score is said by SPEC (.toml or .json), by options, or by both. The rows of several files are scored
    one file after another, into one output.
    """
    given = _given(options)
    if model is not None:
        given["model"] = model if is_model_name(model) else os.path.abspath(model)
    if inputs:
        sources = list(map(os.path.abspath, inputs))
        given["input"] = sources if len(sources) > 1 else sources[0]
    if output:
        given["output"] = os.path.abspath(output)
    if spec is not None:
        _submit(settings, parse_file(spec, sets, given, kind="predict"), options)
    else:
        name = Path(output).stem if output else "predict"
        _submit(settings, parse_document({}, Path.cwd(), name, sets, given, kind="predict"), options)


class WithCommand(ListsFiles):
    """A command whose words after `--` are another command's; they are left as they are, in the context."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[COMMAND] = tuple(args[end + 1 :])
        return super().parse_args(ctx, args[:end])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND ARG..."]


COMMAND = "singlepoint.command"


@submit.command(
    cls=WithCommand,
    epilog=examples(
        "singlepoint submit run --cpu 2 -- python train.py --lr 0.1",
        "singlepoint submit run --env TOKEN=s3cret --output results -- ./sort.sh data.csv",
    ),
)
@click.argument("spec", metavar="[SPEC]", required=False, type=click.Path(path_type=Path, readable=False))
@click.option("--env", "env", multiple=True, metavar="K=V", help="A variable of its own; K alone takes yours. Masked.")
@click.option("--cwd", metavar="DIR", help="Where it runs  [here, or where SPEC is]")
@click.option("--input", "inputs", multiple=True, metavar="FILE...", help="What it reads: no attempt runs on others.")
@click.option("--output", metavar="DIR", help="Where its output directory ends up  [outputs/NAME/N in the home]")
@_common
@click.pass_context
def run(
    ctx: click.Context,
    /,
    spec: Path | None,
    sets: tuple[str, ...],
    env: tuple[str, ...],
    cwd: str | None,
    inputs: tuple[str, ...],
    output: str | None,
    **options: Any,
) -> None:
    """Run any command under the budget, as it stands after `--`; no shell reads it.

    It goes on from $SINGLEPOINT_CHECKPOINT_DIR by itself when it was stopped, and writes to $SINGLEPOINT_OUTPUT_DIR.
    """
    settings, command = ctx.obj, ctx.meta[COMMAND]
    if spec is None and not command:
        raise UsageError("there is nothing to run", hint="singlepoint submit run -- COMMAND ARG...")
    given = {**_given(options), **dict(map(_variable, env))}
    if command:
        given["command"] = list(command)
    if inputs:
        given["inputs"] = [os.path.abspath(path) for path in inputs]
    given.update({name: os.path.abspath(path) for name, path in (("cwd", cwd), ("output", output)) if path})
    if spec is not None:
        _submit(settings, parse_file(spec, sets, given, kind="run"), options)
    else:
        _submit(settings, parse_document({}, Path.cwd(), _called(command), sets, given, kind="run"), options)


def _variable(text: str) -> tuple[str, str]:
    """`K=V`, or K with the value it has here; as a place in the spec and what stands there."""
    name, equals, value = text.partition("=")
    if not equals and name not in os.environ:
        raise UsageError(f"--env {name}: there is no such variable here", hint="give it a value: --env NAME=VALUE")
    return f"env.{name}", value if equals else os.environ[name]


def _called(command: Sequence[str]) -> str:
    """A name for a command: of the script it runs, else of the program."""
    script = next((word for word in command if Path(word).suffix in (".py", ".sh", ".R", ".jl", ".pl")), command[0])
    return Path(script).stem


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of the spec that options change."""
    values = {path: options[_parameter(option)] for option, path, _ in _FIELDS}
    values |= {f"{COUNTED}.{name}": count for name, count in values.pop(COUNTED)}
    return {path: value for path, value in values.items() if value not in (None, ())}


def _submit(settings: Settings, spec: Spec, options: dict[str, Any]) -> None:
    if settings.server:
        remote.submit(settings, spec, options)
        return
    session = open_session(settings)
    checked = prepare(session, spec, now(), settings.check, _teller(options))
    outlook = None if options["quiet"] or settings.foresee is None else settings.foresee(session, checked, now())
    if options["dry_run"]:
        _print_plan(session, checked.spec, outlook)
        return
    submitted = accept(session, checked, now())
    outlook = outlook if submitted.is_new else None  # of the one that lives, `ps` and `eta` tell
    click.echo(json.dumps(_answer(submitted, outlook)) if options["as_json"] else submitted.job.id)
    waits = options["follow"] or options["wait"]
    if not options["quiet"]:
        next_steps = _next_steps(session, submitted, waits=waits)
        click.echo("\n".join([*([next_steps] if next_steps else []), *_foreseen(checked.spec, outlook)]), err=True)
    if waits:
        _await(session, submitted, follow_log=options["follow"], quiet=options["quiet"])


def _answer(submitted: Submitted, outlook: Outlook | None) -> dict[str, Any]:
    """What `--json` prints of a submission. is_new: False for a job that was there, and bears the same unique key."""
    job = submitted.job
    known = {"id": job.id, "name": job.name, "state": job.state.value, "is_new": submitted.is_new}
    return {"schema": SCHEMA, **known, "ahead": submitted.ahead, "outlook": outlook.to_json() if outlook else None}


def _foreseen(spec: Spec, outlook: Outlook | None) -> list[str]:
    return list(foreseen_lines({**outlook.to_json(), "deadline_at": spec.deadline}, now())) if outlook else []


def _teller(options: Mapping[str, Any]) -> Callable[[Checked], None] | None:
    return None if options["quiet"] else _tell


def _tell(checked: Checked) -> None:
    for line in checked.lines:
        click.echo(line, err=True)


def _submit_all(settings: Settings, specs: Sequence[Called], options: dict[str, Any]) -> None:
    """Check every one of them before any is kept. Raises UsageError, or InvalidInput with all problems of all files."""
    if options["follow"]:
        raise click.UsageError("--follow is for one job: --wait waits for all")
    session = open_session(settings)
    sound = prepare_all(session, specs, now(), settings.check, _teller(options))
    if options["dry_run"]:
        for one in sound:
            _print_plan(session, one.spec, None)
        return
    ids = _keep_all(session, sound, as_json=options["as_json"])
    if options["wait"]:
        _await_all(session, ids)


def _keep_all(session: Session, specs: Sequence[Checked], *, as_json: bool) -> list[str]:
    """Accept them, and print the id of each as soon as it is kept, or one document of all."""
    kept = []
    for submitted in accept_all(session, specs, now()):
        kept.append(submitted)
        if not as_json:
            click.echo(kept[-1].job.id)
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "jobs": [_answer(one, None) for one in kept]}))
    return [one.job.id for one in kept]


def _await_all(session: Session, ids: Sequence[str]) -> None:
    with detaching(*ids):
        ended = wait_for(session.store, ids)
    bad = [job for job in ended if job.state is not State.SUCCEEDED]
    raise click.exceptions.Exit(EXIT_CODES[bad[0].state] if bad else EXIT_OK)


def _print_plan(session: Session, spec: Spec, outlook: Outlook | None) -> None:
    requests = spec.resources.amounts().to_json()
    capacity = read_capacity(session.home)
    budget = capacity.budget.to_json() if capacity is not None else None
    document = {"schema": SCHEMA, "spec": spec.model_dump(mode="json"), "requests": requests, "budget": budget}
    click.echo(json.dumps({**document, "outlook": outlook.to_json() if outlook else None}, indent=1))
    click.echo("\n".join(["the spec is sound; nothing was submitted", *_foreseen(spec, outlook)]), err=True)


def _next_steps(session: Session, submitted: Submitted, *, waits: bool) -> str:
    """What to know of a job that was just kept; with `waits`, only what makes the wait long."""
    if not submitted.is_new:
        return f"nothing was submitted: this one, with the same key {submitted.job.unique!r}, has not ended"
    if submitted.ahead is None:
        return "Redis went away just now: the job is kept, and queued when Redis returns"
    if room(session) is None:
        return "kept; nothing is running: `singlepoint up --detach` starts it"
    if complaint := scheduler_complaint(session.home):
        return f"kept; {complaint}"
    ahead = [f"{plural(submitted.ahead, 'job')} waited before it"] if submitted.ahead else []
    return "; ".join([*ahead, *([] if waits else [f"follow it with `singlepoint logs -f {submitted.job.id}`"])])


def _await(session: Session, submitted: Submitted, *, follow_log: bool, quiet: bool) -> None:
    job_id = submitted.job.id
    with detaching(job_id):
        if follow_log:
            job = follow(session.store, job_id, lambda text: click.echo(text, nl=False, err=True))
        else:
            [job] = wait_for(session.store, [job_id])
    if not quiet:
        click.echo(f"{job_id} {coloured(job.state.value)}{f': {job.reason}' if job.reason else ''}", err=True)
    raise click.exceptions.Exit(EXIT_CODES[job.state])
