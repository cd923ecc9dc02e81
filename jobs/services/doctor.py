"""What `doctor` finds: one function a question, each answering with what there is and what to do about it.

Three grades matter: *broken* (something has to be mended), *away* (a service is not running) and *limited* (this
machine cannot do it; singlepoint works without). Nothing is started or changed, but that a new home is made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from singlepoint.jobs.amounts import amount_text, format_bytes
from singlepoint.jobs.broker import embedded
from singlepoint.jobs.broker.address import Broker, locate
from singlepoint.jobs.broker.connection import connect, memory_level, shortcomings
from singlepoint.jobs.broker.refusals import require_writable
from singlepoint.jobs.broker.server_program import find_server
from singlepoint.jobs.clock import iso, now
from singlepoint.jobs.errors import EXIT_BROKER_AWAY, EXIT_OK, BrokerAway, BrokerRefuses, SinglepointError, UsageError
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.free_space import free_bytes
from singlepoint.jobs.host.neighbours import neighbours as all_neighbours
from singlepoint.jobs.host.standstill import all_halted
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.store.durable import explained
from singlepoint.jobs.store.home import Home, open_home
from singlepoint.jobs.store.settings import read_settings, what_is_set

from .draining import planned_drain
from .live import Services, look

OLDEST_PYTHON = (3, 11)
LITTLE_SPACE_BYTES = 2**30
EXIT_BROKEN = 1


class Grade(StrEnum):
    """OK: as it should be.  LIMITED: works without.  AWAY: not running.  BROKEN: has to be mended."""

    OK = "ok"
    LIMITED = "limited"
    AWAY = "away"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do (`""` when nothing is to be done)."""

    name: str
    grade: Grade
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def exit_code(findings: Iterable[Finding]) -> int:
    """0: can work.  69: something is not running.  1: something is broken."""
    grades = {finding.grade for finding in findings}
    if Grade.BROKEN in grades:
        return EXIT_BROKEN
    return EXIT_BROKER_AWAY if Grade.AWAY in grades else EXIT_OK


class Patient:
    """What is examined: a home and its Redis, opened by the first question that needs them.

    require_budget: raises UsageError for words that mean no budget on this machine.
    """

    def __init__(
        self, home_path: Path | None, redis_url: str | None, require_budget: Callable[[str], object] | None = None
    ) -> None:
        self._home_path = home_path
        self._redis_url = redis_url
        self.require_budget = require_budget or str

    @cached_property
    def home(self) -> Home:
        return open_home(self._home_path)

    @cached_property
    def broker(self) -> Broker:
        return locate(self.home, self._redis_url)

    @cached_property
    def services(self) -> Services:
        return look(self.home, self._redis_url)


def python(_patient: Patient) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= OLDEST_PYTHON
    return Finding(
        "python",
        Grade.OK if good else Grade.BROKEN,
        f"{version} at {sys.executable}",
        "" if good else "install Python 3.11 or newer",
    )


def package(_patient: Patient) -> Finding:
    """Which singlepoint runs, and from where: a checkout or an installation."""
    return Finding("package", Grade.OK, f"singlepoint {version('singlepoint')} in {Path(__file__).parents[2]}")


def home(patient: Patient) -> Finding:
    probe = patient.home.path / f".doctor.{os.getpid()}"
    with explained(probe):
        try:
            probe.write_bytes(b"x")
        finally:
            probe.unlink(missing_ok=True)
    return Finding("home", Grade.OK, f"{patient.home.path} is writable")


def disk(patient: Patient) -> Finding:
    free = free_bytes(patient.home.path)
    found = f"{format_bytes(free)} free at {patient.home.path}"
    if free < embedded.FREE_TO_START_BYTES:
        return Finding("disk", Grade.BROKEN, found, "free some space; singlepoint prune deletes old jobs")
    if free < LITTLE_SPACE_BYTES:
        return Finding("disk", Grade.LIMITED, found, "free some space; singlepoint prune deletes old jobs")
    return Finding("disk", Grade.OK, found)


def settings(patient: Patient) -> Finding:
    """What the owner set, whether it means something on this machine whenever it will hold, and for how long ended jobs
    are kept: the one setting that deletes something."""
    there = what_is_set(patient.home)
    budget = read_settings(patient.home).budget
    for place, words in {
        "base": budget.base or "",
        **{f"times.{when}": it for when, it in budget.times.items()},
    }.items():
        try:
            patient.require_budget(words)
        except UsageError as error:
            found = f"{patient.home.settings}: budget.{place}: {error.message.removeprefix('--budget: ')}"
            return Finding("settings", Grade.BROKEN, found, error.hint or "write what this machine has")
    own = f"{patient.home.settings} sets {', '.join(map(str, there))}" if there else "none, all as by default"
    return Finding("settings", Grade.OK, f"{own}; {read_settings(patient.home).retention}")


def server(patient: Patient) -> Finding:
    if not patient.broker.ours:
        return Finding("server", Grade.OK, f"none needed: {patient.broker} is used")
    try:
        chosen = find_server(patient.home)
    except BrokerAway as error:
        return Finding("server", Grade.BROKEN, error.message, error.hint or "")
    return Finding("server", Grade.OK, f"{chosen} at {chosen.path}")


def broker(patient: Patient) -> Finding:
    try:
        with connect(patient.broker) as connection:
            weak = [] if patient.broker.ours else shortcomings(connection)
            level = memory_level(connection)
            require_writable(connection)
    except BrokerRefuses as error:
        return Finding("broker", Grade.BROKEN, f"{error.message}{level}", error.hint or "")
    except BrokerAway as error:
        return Finding("broker", Grade.AWAY, error.message, error.hint or "")
    if weak:
        return Finding("broker", Grade.LIMITED, f"{patient.broker} answers, but {weak[0]}", "; ".join(weak[1:]))
    return Finding("broker", Grade.OK, f"{patient.broker} answers{level}")


def supervisor(patient: Patient) -> Finding:
    found = patient.services.supervisor
    if found is None:
        # Not a fault: containers and service managers run each part by itself.
        return Finding("supervisor", Grade.LIMITED, "none", "singlepoint up --detach starts one")
    return Finding("supervisor", Grade.OK, f"process {found.pid}")


def scheduler(patient: Patient) -> Finding:
    capacity = read_capacity(patient.home)
    if capacity is None or not capacity.is_live():
        return Finding("scheduler", Grade.AWAY, "not running", "singlepoint up --detach")
    counted = "".join(f" and {amount_text(name, count)}" for name, count in capacity.budget.counted)
    found = f"process {capacity.process.pid}, budget {_cpu_and_memory(capacity.budget)}{counted}"
    if capacity.strain:
        told = f"{found}; nothing is started: {capacity.strain}"
        return Finding("scheduler", Grade.LIMITED, told, "end what else takes memory, or give jobs less of it")
    at = now()
    if (plan := planned_drain(patient.home, at)) is not None:
        when = "draining since" if plan.holds(at) else "to be drained at"
        told = f"{found}, {when} {iso(plan.begins_at)}"
        return Finding("scheduler", Grade.LIMITED, told, "singlepoint drain --off")
    return Finding("scheduler", Grade.OK, found)


def neighbours(patient: Patient) -> Finding:
    """Whether other homes grant what this one grants, too."""
    others = all_neighbours(patient.home)
    if not others:
        return Finding("neighbours", Grade.OK, "no other home is at work here")
    ours = read_capacity(patient.home)
    all_homes = [*others.values(), *([ours] if ours is not None and ours.is_live() else [])]
    together = sum((capacity.budget for capacity in all_homes), Resources())
    told = "; ".join(f"{place} ({_cpu_and_memory(one.budget)})" for place, one in sorted(others.items()))
    found = f"at work as well: {told}; together {_cpu_and_memory(together)}, and none knows of the others"
    return Finding("neighbours", Grade.LIMITED, found, "give each its part: `singlepoint budget cpu=1 memory=2GiB`")


def _cpu_and_memory(amounts: Resources) -> str:
    return " and ".join(amount_text(name, getattr(amounts, name)) for name in ("cpu_millis", "memory_bytes"))


def workers(patient: Patient) -> Finding:
    names = patient.services.workers
    if not names:
        return Finding("workers", Grade.AWAY, "none", "singlepoint up --detach")
    return Finding("workers", Grade.OK, f"{len(names)}: {', '.join(names)}")


def standstill(patient: Patient) -> Finding:
    """Whether a process of ours was stopped: it does not die, so no parent notices."""
    halted = {pid: what for what, pid in all_halted(patient.home)}
    halted = {**dict.fromkeys(patient.services.halted_workers, "worker"), **halted}
    if not halted:
        return Finding("standstill", Grade.OK, "no process of singlepoint stands still")
    found = ", ".join(f"process {pid} ({what})" for pid, what in halted.items())
    stands = "stands" if len(halted) == 1 else "stand"
    return Finding("standstill", Grade.BROKEN, f"{found} {stands} still", f"kill -CONT {' '.join(map(str, halted))}")


Question = Callable[[Patient], Finding]
QUESTIONS: tuple[Question, ...] = (
    python,
    package,
    home,
    disk,
    settings,
    server,
    broker,
    supervisor,
    scheduler,
    neighbours,
    workers,
    standstill,
)


def examine(patient: Patient, questions: Iterable[Question]) -> list[Finding]:
    """Every answer, in order; an error while asking is itself what was found."""
    return [_ask(question, patient) for question in questions]


def _ask(question: Question, patient: Patient) -> Finding:
    try:
        return question(patient)
    except SinglepointError as error:
        return Finding(question.__name__, Grade.BROKEN, error.message, error.hint or "")
    except OSError as error:
        return Finding(question.__name__, Grade.BROKEN, str(error))
