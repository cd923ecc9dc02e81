"""What every kind of job may say, and what there is to know of a kind before one runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from singlepoint.jobs.amounts import parse_bytes, parse_length_s, parse_moment_s
from singlepoint.jobs.errors import Problem
from singlepoint.jobs.lifecycle.dependencies import parse_after
from singlepoint.jobs.lifecycle.records import MOST_COUNTED, RESOURCE_NAMES, Resources, as_counted

from .base import Part, Positive

MIB = 2**20

MEMORY_DEFAULT_BYTES = 512 * MIB
MEMORY_LEAST_BYTES = 32 * MIB  # below this an attempt dies before it has read a row


def _amount(value: Any) -> Any:
    """A size with its unit as a number of bytes; anything but text is left to the next check."""
    return parse_bytes(value.removesuffix("/s")) if isinstance(value, str) else value


_Amount = Annotated[int, BeforeValidator(_amount)]


def _length(value: Any) -> Any:
    """A length of time such as "2h" in seconds; anything but text is left to the next check."""
    return parse_length_s(value) if isinstance(value, str) else value


def _moment(value: Any) -> Any:
    """What is a date or a time of day in TOML already, as text; anything else is left to the next check."""
    return value.isoformat() if hasattr(value, "isoformat") else value


def _point_in_time(text: str) -> str:
    parse_moment_s(text, now=0.0)
    return text


Moment = Annotated[str, BeforeValidator(_moment), AfterValidator(_point_in_time)]
"""A point in time as people write it; of an accepted job, in UTC."""

Key = Annotated[str, Field(min_length=1, max_length=200)]


def _condition(text: str) -> str:
    parse_after(text)
    return text


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


BUDGETED = ("cpu", "memory", "storage", "network")
"""What every machine has, as it is called in a spec and in a budget; besides, the owner may name what is counted."""


def _not_budgeted(name: str) -> str:
    if name in (*BUDGETED, *RESOURCE_NAMES):
        raise ValueError("is no name for what is counted: it has a field of its own")
    return name


MemoryFrom = Literal["spec", "learned", "estimate", "default"]
"""Where a request for memory comes from: what the spec says; what like jobs used; what a training is reckoned to take;
nothing of that."""

Counted = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$"), AfterValidator(_not_budgeted)]


class ResourceSpec(Part):
    """`[resources]`: what a job asks of the budget. Sizes as "512MiB" or a number of bytes.

    cpu: threads of a training, children of a prediction.  memory: anonymous and shared memory; None: as much as like
    jobs used, else what a training is reckoned to take, else MEMORY_DEFAULT_BYTES.  memory_from: which of these.
    storage: disk it may add.  network: bytes a second.  counted: how many of what the budget counts: `{ gpu = 1 }`.
    """

    earlier: ClassVar[Mapping[str, Any]] = {"counted": None, "memory_from": "spec"}

    cpu: Annotated[int, Field(strict=True, ge=1, le=4096)] = 1
    memory: Annotated[_Amount, Field(ge=MEMORY_LEAST_BYTES)] | None = None
    memory_from: MemoryFrom = "spec"
    storage: Annotated[_Amount, Field(ge=0)] = 0
    network: Annotated[_Amount, Field(ge=0)] = 0
    counted: dict[Counted, Annotated[int, Field(strict=True, ge=0, le=MOST_COUNTED)]] | None = None

    def amounts(self) -> Resources:
        """The same as the scheduler counts it."""
        memory_bytes = MEMORY_DEFAULT_BYTES if self.memory is None else self.memory
        return Resources(1000 * self.cpu, memory_bytes, self.storage, self.network, as_counted(self.counted or {}))

    def with_memory(self, memory_bytes: int, source: MemoryFrom) -> ResourceSpec:
        """The same, with the memory that its owner left open."""
        return self.model_copy(update={"memory": memory_bytes, "memory_from": source})


class JobSpec(Part):
    """What every kind of job may say.

    project: what its share of the machine is counted under.  after: jobs that must have ended first: `ID` or `ID:ok`
    with success, `ID:failed` without, `ID:any` in any way.
    begin: not to be started earlier.  deadline: when it should have ended; a wish, told and reckoned with at submit.
    unique: a key that at most one job that has not ended bears; True: all else that the spec says.
    preemptible: whether it may be put down for other work. Its owner may in any case: pause, drain, a lower budget.
    checkpoint_interval_s: seconds of work between saves; None: what the reliability model finds best.
    time_limit_s: how long one attempt may run, pauses not counted; then it is asked to stop, and killed if it does not.
    """

    earlier: ClassVar[Mapping[str, Any]] = {
        "time_limit_s": None,
        "begin": None,
        "deadline": None,
        "unique": False,
        "preemptible": True,
    }

    name: Name
    resources: ResourceSpec = ResourceSpec()
    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] = 0  # higher runs earlier
    retries: Annotated[int, Field(strict=True, ge=0, le=100)] = 0  # own failures that are tried again
    project: Name | None = None
    after: tuple[Annotated[str, AfterValidator(_condition)], ...] = ()
    begin: Moment | None = None
    deadline: Moment | None = None
    unique: Annotated[bool, Field(strict=True)] | Key = False
    preemptible: Annotated[bool, Field(strict=True)] = True
    checkpoint_interval_s: Positive | None = None
    time_limit_s: Annotated[Positive | None, BeforeValidator(_length)] = None


Check = tuple[tuple[str, ...], Callable[..., Iterator[Problem]]]
"""Sections by name, and what must agree between them; asked only when all of them are sound in themselves, so that
one mistake does not hide another."""


def _name(name: str) -> Iterator[Problem]:
    if name == "last":  # see `client.find`
        yield Problem("name", f"{name!r} means the newest job in every command", "give another: --name NAME")


CHECKS: tuple[Check, ...] = ((("name",), _name),)
"""Of every kind, before its own."""


def always_a_path(_word: str) -> bool:
    return True


@dataclass(frozen=True)
class Kind:
    """One kind of job: its spec, and what the rest of the house needs to know of it.

    paths: the fields that name files, by their place, and whether a word there does (a model may be a name).
    outputs: what a job makes outside of the home, and may leave half made beside it.
    decisive: of a spec as a document, what jobs that take alike have in common.
    work: how much of it there is to do, in a unit that like jobs share; 0 where nothing but having run tells.
    environment: of that of whoever submits, what has to be kept for the job; None: nothing.
    """

    spec: type[JobSpec]
    checks: tuple[Check, ...]
    paths: Mapping[tuple[str, ...], Callable[[str], bool]]
    decisive: Callable[[Mapping[str, Any]], Any]
    work: Callable[[Any], float] = lambda _spec: 0.0
    outputs: Callable[[Any], tuple[str, ...]] = lambda _spec: ()
    environment: Callable[[Any, Mapping[str, str]], Mapping[str, str]] | None = None


@dataclass(frozen=True)
class Checked:
    """spec: with what was left open (how a file is written, which files a pattern means) settled for good.

    summary: lines on what was found and how it was understood.  warnings: what usually goes wrong.
    reckoned_s: seconds of one core that it should take, by a plain model of the work; 0 where there is none.
    """

    spec: Any
    summary: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reckoned_s: float = 0.0

    @property
    def lines(self) -> tuple[str, ...]:
        """All there is to tell."""
        return (*self.summary, *(f"warning: {line}" for line in self.warnings))
