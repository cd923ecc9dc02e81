"""`singlepoint simulate`: what a policy would have done with a trace, or would do with the line as it stands, through
the same decisions as live."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.client.submit import prepare
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import InvalidInput, NotFound, NotNow, Problem, UsageError
from singlepoint.jobs.lifecycle.outlook import foreseen_lines
from singlepoint.jobs.regular_files import regular
from singlepoint.jobs.spec.file import parse_file
from singlepoint.jobs.store.durable import write_asked
from singlepoint.scheduler.foresight import read_scene, with_spec
from singlepoint.scheduler.machine.budget import Machine, parse_budget
from singlepoint.scheduler.policy.named import DEFAULT, POLICIES
from singlepoint.scheduler.simulation import bound
from singlepoint.scheduler.simulation.figures import figures
from singlepoint.scheduler.simulation.forecast import foresee
from singlepoint.scheduler.simulation.history import from_histories
from singlepoint.scheduler.simulation.machine import Replay, knows_all, knows_nothing, replay
from singlepoint.scheduler.simulation.page import page
from singlepoint.scheduler.simulation.standing import from_now_on, later_by
from singlepoint.scheduler.simulation.workload import Workload, read_swf

SWITCH_S = 10.0
_SWF = "a Standard Workload Format file is needed"
ANY_MACHINE = Machine(cores=tuple(range(2**20)), memory_bytes=2**62)


@click.command(
    epilog="\b\nExamples:\n  singlepoint simulate KTH-SP2-1996-2.swf.gz --policy easy\n"
    "  singlepoint simulate --history --policy fifo --html fifo.html\n"
    "  singlepoint simulate --now --add large.toml --policy easy"
)
@click.argument("trace", metavar="[TRACE.swf]", required=False, type=click.Path(path_type=Path))
@click.option("--history", is_flag=True, help="Replay what this home has run, instead of a trace.")
@click.option("--now", "as_it_stands", is_flag=True, help="Play the queue as it stands to its end, instead of a trace.")
@click.option("--add", metavar="SPEC", multiple=True, help="With --now: as if this were handed in now, too.")
@click.option(
    "--policy",
    type=click.Choice([*POLICIES, bound.RULES.name]),
    help=f"The policy that decides  [{DEFAULT}; with --now the one that does]",
)
@click.option("--switch-cost", type=click.FloatRange(min=0), default=SWITCH_S, show_default=True, help="Seconds lost.")
@click.option(
    "--preemptible", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Share that gives way."
)
@click.option("--no-kill", is_flag=True, help="Let jobs run past the time they asked for, as logged.")
@click.option("--squeeze", type=click.FloatRange(min=0.01), default=1.0, help="Arrivals in this share of their time.")
@click.option("--budget", metavar="cpu=N", help="Another machine than the trace's.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write a line for each job.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write the pictures: one page, no scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (schema 1).")
@click.pass_obj
def simulate(
    settings: Settings,
    /,
    trace: Path | None,
    history: bool,
    as_it_stands: bool,
    csv_path: Path | None,
    html_path: Path | None,
    **how: Any,
) -> None:
    """Replay a workload through a policy, and print what came of it: utilisation, waits, slowdown, switches.

    TRACE is a file in the Standard Workload Format, plain or gzipped, replayed on the machine of its header. With --now
    waits count from now on, and each --add is told when it should start and end, and whom it would make later.
    """
    if sum((trace is not None, history, as_it_stands)) != 1:
        raise click.UsageError("give a TRACE, or --history for what this home has run, or --now for its queue")
    if how["add"] and not as_it_stands:
        raise click.UsageError("--add is for --now")
    if as_it_stands:
        played, added = _on_from_now(settings, how)
    else:
        workload = _of_home(settings) if trace is None else _of_file(trace, kill=not how["no_kill"])
        played, added = _replayed(workload, how), {}
    try:
        document = {"schema": 1, **figures(played), **added}
    except ValueError as error:
        hint = "choose another trace or a larger --budget"
        raise InvalidInput(Problem(played.workload.name, str(error), hint)) from None
    if csv_path is not None:
        write_asked(csv_path, csv_of(played))
    if html_path is not None:
        write_asked(html_path, page(played, document))
    click.echo(json.dumps(document, indent=1) if how["as_json"] else text(document))


def _replayed(workload: Workload, how: Mapping[str, Any]) -> Replay:
    if how["budget"]:
        workload = workload.on(parse_budget(how["budget"], ANY_MACHINE).cpu_millis // 1000)
    workload = workload.squeezed(how["squeeze"]).giving_way(how["preemptible"])
    return _play(workload, how["policy"] or DEFAULT, how["switch_cost"])


def _on_from_now(settings: Settings, how: Mapping[str, Any]) -> tuple[Replay, dict[str, Any]]:
    """The queue played on, and what is to be said of the jobs that were added."""
    session, at = open_session(settings), now()
    scene = read_scene(session)
    if scene is None:
        raise NotNow("no scheduler has told of its queue", hint="start one with `singlepoint up`, or replay --history")
    if how["policy"] == bound.RULES.name:
        raise UsageError(f"--now: nobody knows the future, so not --policy {bound.RULES.name}")
    scene = replace(scene, policy=how["policy"] or scene.policy)
    if how["budget"]:
        room = parse_budget(how["budget"], ANY_MACHINE)
        scene = replace(scene, room=room, cores=tuple(range(room.cpu_millis // 1000)))
    before, names = from_now_on(scene), []
    for count, path in enumerate(how["add"], 1):
        checked = prepare(session, parse_file(path), at, settings.check)
        names.append(checked.spec.name if len(how["add"]) == 1 else f"{checked.spec.name} ({count})")
        with_it = with_spec(session, scene, checked, at, names[-1])
        if with_it is None:
            raise NotNow(f"{path}: it is not foreseen that it can start", hint="see its resources and --after")
        scene = with_it
    after = from_now_on(scene)
    if not after.lives:
        raise NotNow("nothing runs or waits that should end", hint="--add SPEC plays a job that is yet to be handed in")
    eta = foresee(scene).eta
    added = [{"name": name, "eta": eta[name].to_json() if name in eta else None} for name in names]
    return after, {"added": added, "later_s": dict(later_by(before, after))} if names else {}


def _play(workload: Workload, policy: str, switch_s: float) -> Replay:
    if policy == bound.RULES.name:
        return replay(workload, bound.RULES, 0.0, knows_all)
    return replay(workload, POLICIES[policy], switch_s, knows_nothing)


def _of_file(path: Path, *, kill: bool) -> Workload:
    try:
        with open(path, "rb", opener=regular) as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            return read_swf(io.TextIOWrapper(file), path.name, kill=kill)
    except FileNotFoundError:
        raise NotFound(f"no trace {path}") from None
    except PermissionError:
        raise
    except OSError as error:
        raise InvalidInput(Problem(str(path), str(error.strerror or error), _SWF)) from None
    except (ValueError, EOFError) as error:
        raise InvalidInput(Problem(str(path), str(error), _SWF)) from None


def _of_home(settings: Settings) -> Workload:
    session = open_session(settings)
    workload = from_histories(session.store, session.home)
    if not workload.arrivals:
        raise UsageError("nothing has run in this home yet", hint="give a TRACE, or come back after some work")
    return workload


def csv_of(played: Replay) -> str:
    """A line for each job, in the order of arrival; times in seconds since the first arrival."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("job", "submit_s", "start_s", "end_s", "wait_s", "run_s", "cores", "preemptions"))
    for life in played.lives:
        arrival, start_s = life.arrival, life.stints[0][0]
        times = (arrival.submit_s, start_s, life.ended_at, life.wait_s, arrival.run_s)
        rows.writerow((arrival.id, *(round(at, 3) for at in times), arrival.cores, life.preemptions))
    return text.getvalue()


def text(document: dict[str, Any]) -> str:
    """The document for people."""
    numbers = {name: value for name, value in document.items() if isinstance(value, int | float) and value}
    hours = {name: f"{value / 3600:.2f} h" for name, value in numbers.items() if name.endswith("_s")}
    shown = {
        "workload": f"{document['workload']}: {document['jobs']} jobs on {document['cores']} cores",
        "policy": document["policy"],
        "average bounded slowdown": f"{document['average_bounded_slowdown']:.2f}",
        "utilisation": f"{100 * document['utilisation']:.1f}%",
        "wait": _waits("wait", hours),
        f"wait of {document['wide_jobs']} wide jobs": _waits("wide_wait", hours),
        "switches": f"{document['preemptions']}, {document['preemptions_per_job']:.2f} a job",
        "work lost": f"{document['work_lost_core_s'] / 3600:.1f} core-hours",
        "makespan": hours.get("makespan_s", "0 h"),
    }
    width = max(map(len, shown))
    return "\n".join([*(f"{name.ljust(width)}  {value}" for name, value in shown.items()), *_of_added(document)])


def _of_added(document: dict[str, Any]) -> Iterator[str]:
    for one in document.get("added", ()):
        yield f"{one['name']}: {'; '.join(foreseen_lines(one, now())) or 'nobody can tell when'}"
    if later_s := document.get("later_s"):
        job_id, most_s = next(iter(later_s.items()))
        yield f"makes {len(later_s)} other{'s' * (len(later_s) > 1)} later, {job_id} most: by {most_s:.0f} s"


def _waits(name: str, hours: dict[str, str]) -> str:
    return ", ".join(f"{what} {hours.get(f'{name}_{what}_s', '0 h')}" for what in ("mean", "p95", "max"))
