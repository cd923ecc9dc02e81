"""Which budget holds at a moment: what the machine has, cut by what people said, the later in this list the stronger.

    the machine          all cores, 80 % of the memory
    settings.toml        [budget] base
    --budget             of `up` or `scheduler`
    settings.toml        [budget.times], the first span that holds now
    `singlepoint budget`    until it is taken back

Each layer names the resources it has something to say about; for the others the layers before it stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.services.budget_choice import chosen_budget
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.settings import read_settings
from singlepoint.jobs.timetable import parse_span

from .budget import Machine, parse_budget

CHOSEN = "singlepoint budget"


@dataclass(frozen=True)
class Layer:
    """Who says it, and what: `cpu=2,memory=4GiB`."""

    source: str
    words: str


@dataclass(frozen=True)
class Budget:
    """C_max as it holds now, and the layers it comes from, the strongest last."""

    amounts: Resources
    layers: tuple[Layer, ...]

    @property
    def chosen(self) -> str:
        """The words of `singlepoint budget`; `""` while it has nothing to say."""
        return next((layer.words for layer in self.layers if layer.source == CHOSEN), "")


@dataclass(frozen=True)
class InForce:
    """What a scheduler goes by.  cores: the ids of those that may be granted.  chosen: the words of `singlepoint
    budget` that it has taken in."""

    budget: Resources
    cores: tuple[int, ...]
    chosen: str = ""


def budget_at(home: Home, option: str | None, machine: Machine, at: float, before: Machine | None = None) -> Budget:
    """The budget of this home at a time. option: what `--budget` said.  before: see `parse_budget`.

    Raises UsageError for words that mean no budget on this machine, InvalidInput for settings that cannot be read.
    """
    layers = tuple(_layers(home, option, datetime.fromtimestamp(at)))
    return Budget(parse_budget(",".join(layer.words for layer in layers), machine, before), layers)


def _layers(home: Home, option: str | None, local: datetime) -> Iterator[Layer]:
    said = read_settings(home).budget
    if said.base:
        yield Layer("settings.toml: budget.base", said.base)
    if option:
        yield Layer("--budget", option)
    if (span := holding(said.times, local.weekday(), 60 * local.hour + local.minute)) is not None:
        yield Layer(f"settings.toml: budget.times: {span}", said.times[span])
    if chosen := chosen_budget(home):
        yield Layer(CHOSEN, chosen)


def holding(times: Mapping[str, str], day: int, minute: int) -> str | None:
    """The first span of a timetable that holds at that minute of the day (Monday is 0); None when none does."""
    return next((span for span in times if parse_span(span).holds(day, minute)), None)
