"""What the owner of a home sets, in `settings.toml`: one frozen, validated record, a section for each subject.

Everything has a default, so a home needs no such file. A field that is unknown, or a value that will not do, is an
error that names the field, the value and the remedy; whoever reads the settings to act on them then does nothing rather
than something that was not meant. `doctor` names what is set. Nobody but the owner writes the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from singlepoint.jobs.amounts import parse_bytes, parse_length_s
from singlepoint.jobs.document_files import read_document
from singlepoint.jobs.errors import InvalidInput, NotFound, Problem
from singlepoint.jobs.spec.base import FilePath, Part
from singlepoint.jobs.spec.common import Name
from singlepoint.jobs.spec.problems import explain, shown
from singlepoint.jobs.timetable import parse_span

from .home import Home

NEVER = "never"
ENDS = ("succeeded", "failed", "cancelled")


def _checked_age(text: str) -> str:
    if text != NEVER:
        parse_length_s(text)
    return text


def _length(text: str) -> str:
    if parse_length_s(text) < 1:
        raise ValueError("must be a second at least")
    return text


Age = Annotated[str, Field(strict=True), AfterValidator(_checked_age)]
"""A length of time as people write it (`30d`, `12h`), or `never`."""

Kept = Annotated[int, Field(strict=True, ge=0)]


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must begin with /")
    return path


def _size(value: Any) -> Any:
    return parse_bytes(value) if isinstance(value, str) else value


Directory = Annotated[FilePath, AfterValidator(_absolute)]
HostName = Annotated[str, Field(pattern=r"^(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$")]
"""A host's name in small letters, or an address (in brackets one of version 6), without a port."""


class Rule(Part):
    """Which ended jobs may be deleted: those that ended longer ago than `older_than`, but the newest `keep` never."""

    older_than: Age = "365d"
    keep: Kept = 200_000

    @property
    def older_than_s(self) -> float:
        """Infinite for `never`."""
        return float("inf") if self.older_than == NEVER else parse_length_s(self.older_than)

    def __str__(self) -> str:
        if self.older_than == NEVER:
            return "never deleted"
        return f"deleted once they are older than {self.older_than} and {self.keep:,} newer ones are there"


class Retention(Rule):
    """For how long jobs are kept once they have ended.

    succeeded, failed, cancelled: a rule of its own for the jobs that ended so; they are then counted apart.
    """

    succeeded: Rule | None = None
    failed: Rule | None = None
    cancelled: Rule | None = None

    def __str__(self) -> str:
        """For people: what becomes of the jobs that have ended."""
        own = {end: rule for end in ENDS if (rule := getattr(self, end)) is not None}
        rest = f"{'other ' if own else ''}jobs that ended are {super().__str__()}"
        return "; ".join([*(f"{end} jobs are {rule}" for end, rule in own.items()), rest])


class Http(Part):
    """What the page and the interface on port 8080 allow.

    hosts: names under which the service may be called, besides those of this machine alone and the address it is
    bound to.  roots: directories from which jobs that come this way may read and into which they may write, besides
    the home's own uploads and outputs.  commands: whether they may be commands.  upload: the largest file.
    certificate, key: PEM files; with both the service speaks TLS.  processes: how many answer predictions, a core each.
    """

    hosts: tuple[HostName, ...] = ()
    roots: tuple[Directory, ...] = ()
    commands: bool = False
    upload: Annotated[int, BeforeValidator(_size), Field(ge=1)] = 2 * 2**30
    processes: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    certificate: FilePath | None = None
    key: FilePath | None = None


class PreparedRows(Part):
    """The rows of large tables, kept as trainings prepared them (see docs/files.md).

    most: bytes that they take together once no job holds them, and the largest that is kept at all; 0 keeps none.
    """

    most: Annotated[int, BeforeValidator(_size), Field(ge=0)] = 8 * 2**30


def _part_of_a_week(text: str) -> str:
    parse_span(text)
    return text


Words = Annotated[str, Field(strict=True, pattern=r"^[a-z0-9_]+=[^,=\s]+(,[a-z0-9_]+=[^,=\s]+)*$")]
"""A budget as people write it: `cpu=2,memory=4GiB,gpu=1`."""


class BudgetSettings(Part):
    """What all jobs together may use, besides what `--budget` says.

    base: always, but for `--budget`.  times: in parts of the week, each `nights`, `sat sun` or `mon-fri 9:00-18:00`,
    local time; the first that holds is taken.
    """

    base: Words | None = None
    times: dict[Annotated[str, AfterValidator(_part_of_a_week)], Words] = Field(default_factory=dict)


Price = Annotated[float, Field(ge=0.0, le=1e9)]


class Prices(Part):
    """What the machine costs, for `report`: nothing, unless it is said.

    core_hour, gib_hour: of use.  kwh: of energy, reckoned from watts_idle all the time and watts_core for each core
    that works.
    """

    currency: Annotated[str, Field(pattern=r"^[A-Za-z€$£¥]{1,8}$")] = "EUR"
    core_hour: Price = 0.0
    gib_hour: Price = 0.0
    kwh: Price = 0.0
    watts_idle: Price = 0.0
    watts_core: Price = 0.0

    @property
    def any_set(self) -> bool:
        return bool(self.core_hour or self.gib_hour or self.kwh)


class ShareSettings(Part):
    """How the machine is divided between projects whose work is of equal priority.

    half_life: after so long use counts half.  projects: what a project is worth beside the others, 1 unless said.
    """

    half_life: Annotated[str, Field(strict=True), AfterValidator(_length)] = "7d"
    projects: dict[Name, Annotated[float, Field(gt=0.0, le=1e6)]] = Field(default_factory=dict)

    @property
    def half_life_s(self) -> float:
        return parse_length_s(self.half_life)


class HomeSettings(Part):
    """All that may be set for a home; one field a section."""

    retention: Retention = Field(default_factory=Retention)
    http: Http = Field(default_factory=Http)
    budget: BudgetSettings = Field(default_factory=BudgetSettings)
    prices: Prices = Field(default_factory=Prices)
    shares: ShareSettings = Field(default_factory=ShareSettings)
    prepared: PreparedRows = Field(default_factory=PreparedRows)


@dataclass(frozen=True)
class Setting:
    """One value that the owner set. field: its path, `retention.keep`."""

    field: str
    value: Any

    def __str__(self) -> str:
        return f"{self.field} = {shown(self.value)}"


def read_settings(home: Home) -> HomeSettings:
    """The settings of this home, all defaults where it has no such file.

    Raises InvalidInput with every problem, NotPermitted for a file that may not be read.
    """
    document = _document(home)
    try:
        return HomeSettings.model_validate(document)
    except ValidationError as error:
        problems = explain(HomeSettings, document, error.errors())
        raise InvalidInput([_located(home, problem) for problem in problems]) from None


def what_is_set(home: Home) -> list[Setting]:
    """Every value that stands in the file, in its order; raises as `read_settings`."""
    read_settings(home)
    return list(_leaves(_document(home)))


def _document(home: Home) -> dict[str, Any]:
    try:
        return read_document(home.settings)
    except NotFound:
        return {}


def _located(home: Home, problem: Problem) -> Problem:
    hint = problem.hint or f"correct it in {home.settings}, or leave it out"
    return Problem(f"{home.settings.name}: {problem.field}", problem.message, hint)


def _leaves(table: dict[str, Any], before: str = "") -> Iterator[Setting]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield Setting(f"{before}{name}", value)
