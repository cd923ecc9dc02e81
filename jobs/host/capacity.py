"""The budget that the running scheduler enforces, as it publishes it in the home for others to read.

`submit` refuses what can never fit; `doctor` and `up` see that a scheduler is there. The record of a
scheduler that has ended is still an answer for the former (`budget`), and says so for the latter (`is_live`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Self

from singlepoint.jobs import documents
from singlepoint.jobs.amounts import amount_text
from singlepoint.jobs.clock import iso
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import InvalidInput, NeverFits, Problem
from singlepoint.jobs.lifecycle.records import MOST_CORES, Resources
from singlepoint.jobs.regular_files import read_regular
from singlepoint.jobs.store.durable import replace_file
from singlepoint.jobs.store.home import Home

from .processes import ProcessId

SCHEMA = 1


@dataclass(frozen=True)
class Capacity:
    """budget: C_max.  reserve: what of it our own processes use, and page: what of that the page and the processes that
    answer predictions do.  cores: the ids of the cores that may be granted.

    process: the scheduler that published it.  strain: why it starts nothing just now, `""` when it does.
    chosen: the words of `singlepoint budget` that it has taken in.
    """

    budget: Resources
    reserve: Resources
    cores: tuple[int, ...]
    process: ProcessId
    published_at: float
    strain: str = ""
    page: Resources = field(default_factory=Resources)
    chosen: str = ""

    @property
    def room(self) -> Resources:
        """What jobs may have, all together."""
        return self.budget - self.reserve

    @property
    def most(self) -> Resources:
        """What jobs may have while no model is held to answer at once, since those come and go."""
        return self.room + self.page

    def is_live(self) -> bool:
        """Whether the scheduler that published this still runs."""
        return self.process.is_alive()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "budget": self.budget.to_json(),
            "reserve": self.reserve.to_json(),
            "cores": list(self.cores),
            "process": self.process.to_json(),
            "published_at": iso(self.published_at),
            "strain": self.strain,
            "page": self.page.to_json(),
            "chosen": self.chosen,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Raises Malformed."""
        return cls(
            budget=Resources.from_json(documents.mapping(document, "budget")),
            reserve=Resources.from_json(documents.mapping(document, "reserve")),
            cores=documents.wholes(document, "cores", most=MOST_CORES),
            process=ProcessId.from_json(documents.mapping(document, "process")),
            published_at=documents.time(document, "published_at"),
            strain=documents.text(document, "strain", ""),
            page=Resources.from_json(documents.mapping(document, "page", {})),
            chosen=documents.text(document, "chosen", ""),
        )


def publish_capacity(home: Home, capacity: Capacity) -> None:
    """Write the record, whole or not at all."""
    replace_file(home.capacity_record, json.dumps(capacity.to_json()).encode(), point="capacity")


def read_capacity(home: Home) -> Capacity | None:
    """The newest record; None when no scheduler ever ran in this home. Raises InvalidInput for a damaged one."""
    try:
        return Capacity.from_json(documents.parse_object(read_regular(home.capacity_record)))
    except FileNotFoundError:
        return None
    except (Malformed, OSError) as error:
        hint = "delete it; the scheduler writes it anew when it starts"
        raise InvalidInput(Problem(str(home.capacity_record), f"is damaged ({error})", hint)) from error


FIELDS: dict[str, tuple[str, str]] = {
    "cpu_millis": ("resources.cpu", "cpu"),
    "memory_bytes": ("resources.memory", "memory"),
    "storage_bytes": ("resources.storage", "storage"),
    "network_bytes_s": ("resources.network", "network"),
}
"""A resource's field in a spec, and its name in `--budget`."""


def check_fits(requests: Resources, capacity: Capacity) -> None:
    """Raises NeverFits when the whole budget, less what we need ourselves, is too small for `requests`."""
    problems = [_problem(name, requests, capacity) for name in requests.lacking_in(capacity.most)]
    if problems:
        raise NeverFits(problems, hint="see `singlepoint doctor` for the budget")


def _problem(name: str, requests: Resources, capacity: Capacity) -> Problem:
    field, word = FIELDS.get(name, (f"resources.counted.{name}", name))
    asked, budget, reserve = (
        vector.of(name) for vector in (requests, capacity.budget, capacity.budget - capacity.most)
    )
    if not budget:
        what = f"asks for {amount_text(name, asked)}, but the budget has none"
        return Problem(field, what, f"leave it out, or say how many there are: `singlepoint budget {name}=…`")
    own = f", of which singlepoint itself needs {amount_text(name, reserve)}" if reserve else ""
    return Problem(
        field,
        f"asks for {amount_text(name, asked)}, but the whole budget is {amount_text(name, budget)}{own}",
        f"ask for at most {amount_text(name, budget - reserve)}, or give the scheduler a larger --budget {word}=…",
    )
