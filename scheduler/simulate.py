"""`singlepoint simulate`: what a policy would have done with a trace, through the same decisions as live."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any, TextIO

import click

from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.errors import InvalidInput, NotFound, Problem, UsageError
from singlepoint.scheduler.machine.budget import Machine, parse_budget
from singlepoint.scheduler.policy.named import DEFAULT, POLICIES
from singlepoint.scheduler.simulation import bound
from singlepoint.scheduler.simulation.figures import figures
from singlepoint.scheduler.simulation.history import from_histories
from singlepoint.scheduler.simulation.machine import Replay, knows_all, knows_nothing, replay
from singlepoint.scheduler.simulation.page import page
from singlepoint.scheduler.simulation.workload import Workload, read_swf

SWITCH_S = 10.0
ANY_MACHINE = Machine(cores=tuple(range(2**20)), memory_bytes=2**62)


@click.command(
    epilog="\b\nExamples:\n  singlepoint simulate KTH-SP2-1996-2.swf.gz --policy easy\n"
    "  singlepoint simulate --history --policy fifo --html fifo.html"
)
@click.argument("trace", metavar="[TRACE.swf]", required=False, type=click.Path(path_type=Path))
@click.option("--history", is_flag=True, help="Replay what this home has run, instead of a trace.")
@click.option("--policy", type=click.Choice([*POLICIES, bound.RULES.name]), default=DEFAULT, show_default=True)
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
    settings: Settings, /, trace: Path | None, history: bool, csv_path: Path | None, html_path: Path | None, **how: Any
) -> None:
    """Replay a workload through a policy, and print what came of it: utilisation, waits, slowdown, switches.

    TRACE is a file in the Standard Workload Format, plain or gzipped, replayed on the machine of its header.
    """
    if (trace is None) is not history:
        raise click.UsageError("give a TRACE, or --history for what this home has run")
    workload = _of_home(settings) if trace is None else _of_file(trace, kill=not how["no_kill"])
    if how["budget"]:
        workload = workload.on(parse_budget(how["budget"], ANY_MACHINE).cpu_millis // 1000)
    played = _play(workload.squeezed(how["squeeze"]).giving_way(how["preemptible"]), how["policy"], how["switch_cost"])
    try:
        document = {"schema": 1, **figures(played)}
    except ValueError as error:
        raise InvalidInput(Problem(workload.name, str(error), "choose another trace or a larger --budget")) from None
    if csv_path is not None:
        with csv_path.open("w", newline="") as file:
            write_csv(played, file)
    if html_path is not None:
        html_path.write_text(page(played, document))
    click.echo(json.dumps(document, indent=1) if how["as_json"] else text(document))


def _play(workload: Workload, policy: str, switch_s: float) -> Replay:
    if policy == bound.RULES.name:
        return replay(workload, bound.RULES, 0.0, knows_all)
    return replay(workload, POLICIES[policy], switch_s, knows_nothing)


def _of_file(path: Path, *, kill: bool) -> Workload:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            return read_swf(file, path.name, kill=kill)
    except FileNotFoundError:
        raise NotFound(f"no trace {path}") from None
    except (ValueError, EOFError) as error:
        raise InvalidInput(Problem(str(path), str(error), "a Standard Workload Format file is needed")) from None


def _of_home(settings: Settings) -> Workload:
    session = open_session(settings)
    workload = from_histories(session.store, session.home)
    if not workload.arrivals:
        raise UsageError("nothing has run in this home yet", hint="give a TRACE, or come back after some work")
    return workload


def write_csv(played: Replay, file: TextIO) -> None:
    """A line for each job, in the order of arrival; times in seconds since the first arrival."""
    rows = csv.writer(file)
    rows.writerow(("job", "submit_s", "start_s", "end_s", "wait_s", "run_s", "cores", "preemptions"))
    for life in played.lives:
        arrival, start_s = life.arrival, life.stints[0][0]
        times = (arrival.submit_s, start_s, life.ended_at, life.wait_s, arrival.run_s)
        rows.writerow((arrival.id, *(round(at, 3) for at in times), arrival.cores, life.preemptions))


def text(document: dict[str, Any]) -> str:
    """The document for people."""
    hours = {name: f"{document[name] / 3600:.2f} h" for name in document if name.endswith("_s") and document[name]}
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
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in shown.items())


def _waits(name: str, hours: dict[str, str]) -> str:
    return ", ".join(f"{what} {hours.get(f'{name}_{what}_s', '0 h')}" for what in ("mean", "p95", "max"))
