"""The front door: one command whose parts load when they are called, and the public Python names.

    singlepoint --help                      needs click and nothing else, so it answers at once
    from singlepoint import Model, Classifier, Regressor, submit   the numpy core is loaded by the first use of a model

Here stands which services `up` starts; and here, and only here, the three packages meet: what `worker` says of a spec
is handed to the client commands.
An error of ours ends a command with its own exit code, its message and a hint; a mistake of the user's never
shows a traceback (`SINGLEPOINT_DEBUG=1` shows them all).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

# In a checkout this file is no folder, but the folders beside it have its name: `singlepoint.jobs` is `jobs/`.
# Installed it is the __init__.py of a folder, and Python has set this already.
if Path(__file__).name == "singlepoint.py":
    __path__ = [str(Path(__file__).parent)]

try:
    import click

    from singlepoint.jobs.errors import EXIT_CANCELLED, EXIT_OK, EXIT_USAGE, NotFound, SinglepointError
except KeyboardInterrupt:  # Ctrl-C while this loads, most of the time that a command takes: nobody asks where it was
    sys.exit(130)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from singlepoint.jobs.client.session import Session, Settings
    from singlepoint.jobs.client.submit import JobId
    from singlepoint.jobs.lifecycle.outlook import Outlook
    from singlepoint.jobs.page.service import Sources
    from singlepoint.jobs.spec.common import Checked
    from singlepoint.jobs.spec.job import Spec
    from singlepoint.jobs.store.home import Home
    from singlepoint.worker.kinds.checking_child import CheckingChild

# The classes are loaded by __getattr__.
__all__ = ["Classifier", "Model", "Regressor", "submit", "submit_many"]  # noqa: F822

EXIT_DEFECT = 70

# section -> command -> where it is, and its line in --help; a section without a name is not listed
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Jobs": {
        "submit": ("singlepoint.jobs.commands.submit:submit", "Hand in a training, a prediction or any command."),
        "ps": ("singlepoint.jobs.commands.ps:ps", "List the jobs, with the reason for which each one waits."),
        "show": ("singlepoint.jobs.commands.show:show", "Show one job, its attempts and its result."),
        "logs": ("singlepoint.jobs.commands.logs:logs", "Print a job's log; -f follows it."),
        "wait": ("singlepoint.jobs.commands.logs:wait", "Wait for jobs to end."),
        "cancel": ("singlepoint.jobs.commands.stop:cancel", "End jobs for good."),
        "pause": ("singlepoint.jobs.commands.stop:pause", "Keep jobs from going on until `resume`."),
        "resume": ("singlepoint.jobs.commands.stop:resume", "Let paused jobs go on."),
        "retry": ("singlepoint.jobs.commands.stop:retry", "Run failed or cancelled jobs again."),
        "priority": ("singlepoint.jobs.commands.stop:priority", "Give a job another priority."),
        "rm": ("singlepoint.jobs.commands.remove:rm", "Delete jobs that have ended."),
        "prune": ("singlepoint.jobs.commands.remove:prune", "Delete old jobs."),
    },
    "Results and reasons": {
        "models": ("singlepoint.worker.model_commands:models", "List, compare and remove the trained models."),
        "evaluate": ("singlepoint.worker.model_commands:evaluate", "Say how good a model is on rows with the target."),
        "checkpoints": ("singlepoint.worker.commands:checkpoints", "List or verify a job's checkpoints."),
        "explain": ("singlepoint.scheduler.explain:explain", "Say why a job waits."),
        "eta": ("singlepoint.scheduler.explain:eta", "Say when a job should start and end."),
        "report": ("singlepoint.scheduler.commands:report", "Show failure rate, reliability and what crashes cost."),
        "simulate": (
            "singlepoint.scheduler.simulate:simulate",
            "Replay a trace through a policy.",
        ),
    },
    "Services": {
        "up": ("singlepoint:up", "Start Redis, the scheduler and the workers."),
        "down": ("singlepoint.jobs.commands.down:down", "Stop what `up` started; running work is checkpointed."),
        "drain": (
            "singlepoint.scheduler.commands:drain",
            "Start nothing and have running work handed back, until --off.",
        ),
        "budget": ("singlepoint.scheduler.commands:budget", "Show or change what all jobs together may use."),
        "doctor": ("singlepoint.worker.doctor:doctor", "Say what is there, what is missing, and what to do."),
        "scheduler": ("singlepoint.scheduler.commands:scheduler", "Run the scheduler in the foreground."),
        "worker": ("singlepoint.worker.commands:worker", "Run the workers in the foreground."),
        "page": ("singlepoint:page", "Serve the page and the HTTP interface in the foreground."),
        "open": ("singlepoint.jobs.page.command:open_page", "Print an address that lets a browser in."),
        "demo": ("singlepoint.jobs.demo:demo", "Train, kill, resume and predict, on real data."),
        "completion": ("singlepoint.jobs.commands.completion:completion", "Let your shell complete all of this."),
    },
    "": {
        "broker": ("singlepoint.jobs.commands.down:broker", "Run the home's Redis in the foreground."),
        "serving": ("singlepoint.worker.commands:serving", "Answer predictions at once, for the page."),
    },
}

REMOTE: dict[str, str] = {
    "submit": "singlepoint.jobs.commands.submit:submit",
    **{
        name: f"singlepoint.jobs.commands.remote:{name}"
        for name in ("ps", "show", "logs", "wait", "cancel", "pause", "resume", "retry", "priority", "rm")
    },
    **{name: f"singlepoint.scheduler.explain:{name}" for name in ("explain", "eta")},
}
"""The commands that can be asked of another machine, with --server."""

WHERE: dict[str, str] = {name: target for section in COMMANDS.values() for name, (target, _) in section.items()}


class FrontDoor(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(WHERE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in WHERE:
            return None
        where = _table(ctx)
        if cmd_name not in where:
            raise click.UsageError(f"{cmd_name} is done on the machine itself; --server has {', '.join(where)}", ctx)
        module, _, attribute = where[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if ctx.resilient_parsing and args[0] not in _table(ctx):
            return None, None, args  # a shell asks: there is nobody to tell of a misspelt command
        if args and args[0] not in WHERE:
            from difflib import get_close_matches

            like = get_close_matches(args[0], WHERE, n=1)
            raise click.UsageError(f"no command {args[0]!r}" + (f"; did you mean {like[0]!r}?" if like else ""), ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the table: click's own would load every command, to ask it whether it is hidden."""
        from click.shell_completion import CompletionItem

        lines = {name: line for section in COMMANDS if section for name, (_, line) in COMMANDS[section].items()}
        names = [name for name in lines if name in _table(ctx) and name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=lines[name]) for name in names), *options]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # `singlepoint ps | head`: the reader has what it wanted. click would answer 1, like a job that failed.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return EXIT_OK

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in COMMANDS.items():
            if section:
                with formatter.section(section):
                    formatter.write_dl([(name, line) for name, (_, line) in commands.items()])


def _table(ctx: click.Context) -> dict[str, str]:
    """The commands there are, here or on the machine that --server names."""
    return REMOTE if ctx.params.get("server") else WHERE


def _print_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"singlepoint {version('singlepoint')}")
        except PackageNotFoundError:
            click.echo("singlepoint (not installed)")
        ctx.exit()


@click.group(
    cls=FrontDoor,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n  singlepoint up --detach\n  singlepoint submit train wdbc.toml --follow",
)
@click.option(
    "--home",
    metavar="PATH",
    envvar="SINGLEPOINT_HOME",
    help="Where everything lies.  [$SINGLEPOINT_HOME]",
)
@click.option(
    "--redis-url",
    metavar="URL",
    envvar="SINGLEPOINT_REDIS_URL",
    help="A Redis of your own.  [$SINGLEPOINT_REDIS_URL]",
)
@click.option(
    "--server",
    metavar="URL",
    envvar="SINGLEPOINT_SERVER",
    help="A singlepoint elsewhere, by its page.  [$SINGLEPOINT_SERVER]",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show it.")
@click.pass_context
def front_door(ctx: click.Context, home: str | None, redis_url: str | None, server: str | None) -> None:
    """A job queue for training and batch inference on one machine.

    It fills the machine and never overruns its budget, and no crash costs more than seconds.
    --home, --redis-url and --server may also stand behind a command.
    """
    from singlepoint.jobs.client.session import Settings

    if home == "":  # the value of a variable that is not set; `.` would be made a home
        raise click.UsageError("--home says nothing: give it a directory, or leave it out", ctx)
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    place = Path(home) if home is not None else None
    ctx.obj = Settings(place, redis_url, _check_within_limits, server or None, _foresee, _require_budget)


def _check_apart(spec: Spec) -> Checked | None:
    """What `worker` says of a spec's data and shapes, looked at in a process beside this one; raises InvalidInput."""
    return _checking_child().check(spec)


@cache
def _checking_child() -> CheckingChild:
    from singlepoint.worker.kinds.checking_child import CheckingChild

    return CheckingChild()


def _check_within_limits(spec: Spec) -> Checked | None:
    """The same in this process, which is ours and waits and gives memory only so long."""
    from singlepoint.worker.kinds.within_limits import check_within_limits

    return check_within_limits(spec)


def _foresee(session: Session, checked: Checked, at: float) -> Outlook | None:
    """When a job that is about to be handed in should start and end."""
    from singlepoint.scheduler.explain import expectation

    return expectation(session, checked, at)


def _require_budget(words: str) -> None:
    """Raises UsageError for words that mean no budget on this machine."""
    from singlepoint.scheduler.machine.budget import parse_budget, this_machine

    parse_budget(words, this_machine())


_GLOBAL_OPTIONS = ("--home", "--redis-url", "--server")


def hoisted(arguments: Sequence[str]) -> list[str]:
    """The arguments with global options moved in front of the command, wherever they stood before a `--`."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*front, *rest, word, *words]
        name, equals, _ = word.partition("=")
        into = front if name in _GLOBAL_OPTIONS else rest
        into.append(word)
        if into is front and not equals:
            front.extend(islice(words, 1))
    return [*front, *rest]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Everything it has to say of an error is on stderr."""
    try:
        from singlepoint.jobs.commands.terminal import guarded_output

        with guarded_output():
            return _run(arguments)
    except KeyboardInterrupt:
        return EXIT_CANCELLED


def _run(arguments: Sequence[str] | None) -> int:
    try:
        words = hoisted(sys.argv[1:] if arguments is None else arguments)
        code = front_door.main(words, "singlepoint", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_OK
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_CANCELLED
    except Exception as error:
        if os.environ.get("SINGLEPOINT_DEBUG"):
            raise
        return _explained(error)


def _explained(error: Exception) -> int:
    from singlepoint.jobs.client.session import redis_error
    from singlepoint.jobs.commands.text import complaint
    from singlepoint.jobs.store.durable import refusal

    known = error if isinstance(error, SinglepointError) else redis_error(error) or refusal(error) or _nowhere(error)
    if known is not None:
        click.echo(complaint(known), err=True)
        return known.exit_code
    click.echo(
        f"singlepoint: a defect of singlepoint, not of yours: {type(error).__name__}: {error}\n"
        "  hint: SINGLEPOINT_DEBUG=1 shows where it happened",
        err=True,
    )
    return EXIT_DEFECT


def _nowhere(error: Exception) -> SinglepointError | None:
    """What to say of an error that came of standing in a directory that was deleted."""
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()
        except FileNotFoundError:
            return NotFound("the directory that this was called in has been deleted", hint="call it in another: cd")
    return None


@click.command(
    epilog="\b\nExamples:\n  singlepoint up --detach\n  singlepoint up --workers 2 --budget cpu=2,memory=4GiB"
)
@click.option("--detach", is_flag=True, help="Return when all is at work; the output goes to up.log in the home.")
@click.option("--workers", type=click.IntRange(1, 1024), help="How many jobs may run at once. Default: the cpu budget.")
@click.option("--budget", metavar="cpu=2,memory=4GiB", help="What all jobs may use together.")
@click.option("--policy", help="Who goes first: feedback, easy, fifo or best-effort; also while it runs.")
@click.option("--http", metavar="[HOST:]PORT", help="Serve the page and the HTTP interface there, too.")
@click.option("--print-unit", is_flag=True, help="Print a systemd unit (launchd agent on macOS), start nothing.")
@click.pass_obj
def up(
    settings: Settings,
    detach: bool,
    workers: int | None,
    budget: str | None,
    policy: str | None,
    http: str | None,
    print_unit: bool,
) -> int:
    """Start Redis, the scheduler and the workers, and keep them alive until told to stop."""
    from singlepoint.jobs.store.home import open_home
    from singlepoint.scheduler.machine.budget import parse_budget, this_machine
    from singlepoint.worker.supervision import starting
    from singlepoint.worker.supervision.up import services

    home = open_home(settings.home_path)
    # -P: whatever lies where we were started is none of ours.
    command = (sys.executable, "-P", "-m", "singlepoint", "--home", str(home.path))
    limit = ("--budget", budget) if budget else ()
    environment = {"SINGLEPOINT_REDIS_URL": settings.redis_url} if settings.redis_url else {}
    if policy:
        from singlepoint.jobs.services.policy_choice import choose_policy
        from singlepoint.scheduler.policy.named import require_policy

        choose_policy(home, require_policy(policy))
    count = workers or parse_budget(budget, this_machine()).cpu_millis // 1000
    place = ("--http", http) if http else ()
    if print_unit:
        from singlepoint.worker.supervision import unit_files

        again = (*command, "up", *limit, *(("--workers", str(workers)) if workers else ()), *place)
        click.echo(unit_files.unit(home, again, environment))
        return EXIT_OK
    if http:
        _require_free(http)
    ours = starting.ready_broker(home, settings.redis_url)
    children = services(
        home,
        command,
        environment,
        workers=count,
        redis_is_ours=ours,
        budget=limit,
        page=place if http else None,
    )
    if not detach:
        return starting.keep_alive(home, children)
    page = _page_at(home, http) if http else None
    return starting.up_detached(home, settings.redis_url, lambda: starting.keep_alive(home, children), count, page)


def _require_free(place: str) -> None:
    """Say now that the page cannot listen there: the supervisor would only try again and again."""
    from singlepoint.jobs.page.place import bound, parse_place

    bound(*parse_place(place)).close()


def _page_at(home: Home, place: str) -> Callable[[], bool]:
    """Whether the page answers there; at port 0, where it told that it listens."""
    from urllib.parse import urlsplit

    from singlepoint.jobs.client.entry import read_address
    from singlepoint.jobs.page.place import is_answered, parse_place

    host, port = parse_place(place)

    def answers() -> bool:
        told = None if port else read_address(home)
        found = urlsplit(told.url).port if told else port
        return is_answered(host, found) if found else False

    return answers


@click.command(epilog="\b\nExamples:\n  singlepoint page\n  singlepoint page --http 0.0.0.0:8080")
@click.option("--http", "place", metavar="[HOST:]PORT", default="8080", show_default=True, help="Where it answers.")
@click.pass_obj
def page(settings: Settings, place: str) -> None:
    """Serve the page and the HTTP interface in the foreground, until SIGTERM; `up --http` starts it too.

    Without a host, only this machine can reach it. Every request needs the token: $SINGLEPOINT_TOKEN, what the file
    $SINGLEPOINT_TOKEN_FILE holds, or the one kept in the home. `singlepoint open` lets a browser in.
    """
    from singlepoint.jobs.client.session import open_session
    from singlepoint.jobs.host.service_log import log_to_stderr
    from singlepoint.jobs.page.server import serve

    log_to_stderr()
    serve(open_session(settings, brief=False), _sources(settings), place)


def _sources(settings: Settings) -> Sources:
    """What the page shows of scheduler and worker, neither of which it may know."""
    from singlepoint.jobs.page.service import Sources
    from singlepoint.jobs.services.doctor import Patient, examine
    from singlepoint.scheduler.commands import report_document
    from singlepoint.scheduler.explain import explanation
    from singlepoint.worker import commands, model_commands
    from singlepoint.worker.doctor import ALL

    def doctor() -> list[dict[str, Any]]:
        patient = Patient(settings.home_path, settings.redis_url, _require_budget)
        return [one.to_json() for one in examine(patient, ALL.values())]

    return Sources(
        check=_check_apart,
        foresee=_foresee,
        explanation=explanation,
        report=report_document,
        models=lambda session: model_commands.model_documents(session.home),
        model=lambda place: model_commands.model_document(Path(place)),
        checkpoints=lambda session, job_id, verify: commands.checkpoint_rows(session.home, job_id, verify=verify),
        doctor=doctor,
    )


def submit(
    spec: dict[str, Any] | str | Path,
    home: Path | str | None = None,
    redis_url: str | None = None,
    server: str | None = None,
) -> JobId:
    """Submit a job from Python, and return its id once it is kept: a str, whose `told` are lines on data and shapes.

    spec: the path of a .toml or .json file, or its content as a dict (paths relative to the current directory).
    server: the address of a singlepoint elsewhere; files that the spec names are uploaded to it.
    Warnings among the lines go to the log `singlepoint.submit` as well, which Python shows where nobody set it up.
    Raises what the command would say: InvalidInput with every problem, BrokerAway, StorageFull, …
    """
    import logging

    from singlepoint.jobs.client.session import Settings, open_session
    from singlepoint.jobs.client.submit import JobId
    from singlepoint.jobs.client.submit import submit as hand_in
    from singlepoint.jobs.clock import now

    parsed = _parsed(spec)
    settings = Settings(Path(home) if home is not None else None, redis_url, server=server)
    if server is not None:
        from singlepoint.jobs.client.remote import open_server

        answer = open_server(settings).submit(parsed)
        job = JobId(answer["id"], answer.get("told", ()))
    else:
        lines: list[str] = []
        kept = hand_in(open_session(settings), parsed, now(), _check_apart, lambda checked: lines.extend(checked.lines))
        job = JobId(kept.job.id, lines)
    for line in job.told:
        if line.startswith("warning: "):
            logging.getLogger("singlepoint.submit").warning(line.removeprefix("warning: "))
    return job


def submit_many(
    specs: Iterable[dict[str, Any] | str | Path],
    home: Path | str | None = None,
    redis_url: str | None = None,
) -> list[str]:
    """Submit many jobs from Python at the price of a few, and return their ids once all are kept.

    specs: as for `submit`. Raises what the command would say: InvalidInput with every problem of every spec, none of
    which was submitted then; BrokerAway, StorageFull, …, and then some may have been: those in front.
    """
    from singlepoint.jobs.client.session import Settings, open_session
    from singlepoint.jobs.client.submit_many import submit_many as hand_in
    from singlepoint.jobs.clock import now

    session = open_session(Settings(Path(home) if home is not None else None, redis_url))
    reading = (
        (f"specs[{n}]" if isinstance(spec, dict) else str(spec), partial(_parsed, spec)) for n, spec in enumerate(specs)
    )
    return hand_in(session, reading, now(), _check_apart)


def _parsed(spec: dict[str, Any] | str | Path) -> Spec:
    from singlepoint.jobs.spec.file import parse_document, parse_file

    return parse_document(spec, Path.cwd(), "job") if isinstance(spec, dict) else parse_file(spec)


_ESTIMATORS = {
    "Model": "singlepoint.worker.estimator.model",
    "Classifier": "singlepoint.worker.estimator.tabular",
    "Regressor": "singlepoint.worker.estimator.tabular",
}
"""Public classes, and where they are; loaded by the first use, since they need numpy."""


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(importlib.import_module(_ESTIMATORS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    sys.exit(main())
