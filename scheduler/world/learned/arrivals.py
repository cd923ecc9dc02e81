"""Which jobs came of late, whatever became of them: what is yet to come is taken to be like them. Pure.

Told of each once, in any order. Only those are known that a scheduler has seen unfinished since it began.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass

from singlepoint.scheduler.world.tasks import Task

REMEMBERED = 51


@dataclass(frozen=True)
class Arrived:
    """task: as it came.  like: the same for jobs that take alike, "" where none are."""

    task: Task
    like: str


class Arrivals:
    """The newest `REMEMBERED` of them, the oldest first."""

    def __init__(self) -> None:
        self._newest: list[Arrived] = []

    def __iter__(self) -> Iterator[Arrived]:
        return iter(self._newest)

    def came(self, task: Task, like: str) -> None:
        """One came; or came back, which is no news."""
        if all(one.task.id != task.id for one in self._newest):
            insort(self._newest, Arrived(task, like), key=lambda one: one.task.submitted_at)
            del self._newest[:-REMEMBERED]
