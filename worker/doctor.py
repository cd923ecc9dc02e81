"""`doctor`: what is there, what is missing, what to do; with what this machine can enforce of a budget."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

import click

from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.client.session import Settings
from singlepoint.jobs.commands.options import as_json, examples
from singlepoint.jobs.host.free_space import FLOOR_BYTES
from singlepoint.jobs.host.pressure import measure
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.services.doctor import QUESTIONS, Finding, Grade, Patient, Question, examine, exit_code
from singlepoint.jobs.services.live import SUPERVISOR
from singlepoint.worker.programs import memory_group


def numerics(_patient: Patient) -> Finding:
    import numpy
    from threadpoolctl import threadpool_info

    blas = [info for info in threadpool_info() if info["user_api"] == "blas"]
    found = ", ".join(f"{info['internal_api']} {info['version']} ({info['num_threads']} threads)" for info in blas)
    if not blas:
        # Accelerate, on macOS, has no switch but the environment, which `up` sets.
        return Finding("numerics", Grade.LIMITED, f"numpy {numpy.__version__}, its BLAS threads cannot be set")
    return Finding("numerics", Grade.OK, f"numpy {numpy.__version__}, {found}; a job gets its share when it starts")


def rows(patient: Patient) -> Finding:
    """Whether a predicted row's bits depend on that row alone, and at what price."""
    from singlepoint.worker.models.row_independence import record

    found = record(patient.home)
    kernel = f"{found['environment']['blas']}, kernel {found['environment']['blas_architecture']}"
    if found["lanes_are_equal"]:
        return Finding("rows", Grade.OK, f"the same bits alone and together, tried with {kernel}")
    return Finding("rows", Grade.LIMITED, f"the same bits, but one by one and slowly: not equal together with {kernel}")


def cores(_patient: Patient) -> Finding:
    if hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        return Finding("cores", Grade.OK, f"{len(allowed)} ({', '.join(map(str, allowed))}), held by affinity")
    return Finding("cores", Grade.LIMITED, f"{os.cpu_count()}, held by BLAS threads only: no affinity here")


def memory(patient: Patient) -> Finding:
    """What holds attempts to it: where `up` runs, since its control group decides, and not that of whoever asks."""
    if sys.platform.startswith("linux"):
        looks = "held by looking at all processes of an attempt, 4 times a second; RLIMIT_DATA in our own jobs besides"
        keeper = holder(patient.home.lock(SUPERVISOR))
        group = memory_group.place_of(keeper.pid) if keeper is not None else memory_group.place()
        kernel = f"; a command's by the kernel (control group, version {group.version.number})" if group else ""
        return Finding("memory", Grade.OK, f"{looks}{kernel}")
    return Finding("memory", Grade.LIMITED, "only of the attempt's own process: others cannot be looked at here")


def storage(_patient: Patient) -> Finding:
    return Finding("storage", Grade.OK, f"held by measuring, once a second; {format_bytes(FLOOR_BYTES)} stay free")


def network(_patient: Patient) -> Finding:
    """Control groups count no bytes of a network by themselves: that takes programs in the kernel (eBPF, tc), which an
    administrator's rights load, and which would be no part of a job's process."""
    found = "unmetered: what is asked for counts against the budget, but nothing is measured or held"
    return Finding("network", Grade.LIMITED, f"{found}, which would take eBPF or tc and an administrator's rights")


def control_groups(_patient: Patient) -> Finding:
    writable = os.access("/sys/fs/cgroup/cgroup.subtree_control", os.W_OK)
    found = "writable" if writable else "not writable"
    return Finding(
        "control_groups",
        Grade.OK if writable else Grade.LIMITED,
        f"{found}; limits above us are read, again each second, none are set",
    )


def orphans(_patient: Patient) -> Finding:
    """Whether what an attempt started can get away from it."""
    if sys.platform.startswith("linux"):
        return Finding("orphans", Grade.OK, "adopted and ended with their attempt, whatever they detached from")
    return Finding("orphans", Grade.LIMITED, "a process that detaches itself twice outlives its attempt here")


def deaths(_patient: Patient) -> Finding:
    """Whether the death of a process is told at once, upwards and downwards."""
    from singlepoint.worker.ground.process import prctl

    upwards = hasattr(os, "pidfd_open")
    try:
        prctl(1, 0)  # PR_SET_PDEATHSIG, to nothing
    except OSError:
        downwards = False
    else:
        downwards = True
    if upwards and downwards:
        return Finding("deaths", Grade.OK, "noticed at once (pidfd), and no child outlives its parent (pdeathsig)")
    lacking = [name for name, there in (("pidfd", upwards), ("pdeathsig", downwards)) if not there]
    return Finding("deaths", Grade.LIMITED, f"no {' and no '.join(lacking)}: noticed by looking, every 10 ms")


def pressure(_patient: Patient) -> Finding:
    now = measure()
    available = "" if now.available_bytes is None else f", {format_bytes(now.available_bytes)} of memory to be had"
    if not now.is_told:
        return Finding("pressure", Grade.LIMITED, f"not told by this kernel{available}")
    shares = (("cpu", now.cpu), ("memory", now.memory), ("disk", now.io))
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares if share is not None)
    return Finding("pressure", Grade.OK, f"waited for in the last 10 s: {told}{available}")


ABILITIES: tuple[Question, ...] = (
    *(numerics, rows, cores, memory, storage, network),
    *(control_groups, deaths, orphans, pressure),
)
ALL: dict[str, Question] = {question.__name__: question for question in (*QUESTIONS, *ABILITIES)}


@click.command(epilog=examples("singlepoint doctor", "singlepoint doctor --only broker --json"))
@click.option("--only", type=click.Choice(list(ALL)), multiple=True, help="Ask this only; may be repeated.")
@as_json
@click.pass_obj
def doctor(settings: Settings, only: tuple[str, ...], as_json: bool) -> int:
    """Say what is there, what is missing, and what to do.

    Exit code 0: all is well. 69: something is not running. 1: something is broken.
    """
    patient = Patient(settings.home_path, settings.redis_url, settings.require_budget)
    findings = examine(patient, [ALL[name] for name in only or ALL])
    if as_json:
        answer = {"schema": 1, "healthy": exit_code(findings) == 0, "checks": [one.to_json() for one in findings]}
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo("\n".join(lines(findings)))
    return exit_code(findings)


COLOURS = {Grade.OK: "green", Grade.LIMITED: "yellow", Grade.AWAY: "yellow", Grade.BROKEN: "red"}


def lines(findings: Iterable[Finding]) -> Iterable[str]:
    """The findings for people, a remedy below what needs one."""
    for finding in findings:
        yield f"{click.style(f'{finding.grade:<8}', fg=COLOURS[finding.grade])} {finding.name:<14} {finding.found}"
        if finding.remedy:
            yield f"{'':<24}-> {finding.remedy}"
