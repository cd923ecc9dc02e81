"""A job as the policy sees it, waiting or running, and where it stands among the others. Values only.

A `Task` says nothing of data, files or processes: what it needs, since when it wants it, what it has had, what it may
still take. The live world makes tasks of jobs, a simulation of the lines of a trace; the policy can't tell them apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from singlepoint.jobs.lifecycle.records import Resources, Units

NOTHING = Resources()


@dataclass(frozen=True, slots=True)
class Task:
    """need: what starting it takes; of a paused one, the cores it lacks.  since: from when on its waiting counts.
    attempt: the newest so far.

    served_s: seconds it has run, all attempts together.  expected_s: seconds it should still run, None where nothing
    is known.  longest_s: seconds it will run at most, as far as anybody says.  gives_way: whether it can be put down
    with its work saved, and pauses: with its memory kept.  switch_s: what putting it down and taking it up costs.
    paused: it stands still, holding its memory.  stands_back: its project has had more than its share.
    """

    id: str
    need: Resources
    submitted_at: float
    since: float
    attempt: int = 0
    priority: int = 0
    project: str = ""
    served_s: float = 0.0
    expected_s: float | None = None
    longest_s: float = math.inf
    gives_way: bool = True
    pauses: bool = False
    switch_s: float = 0.0
    paused: bool = False
    stands_back: bool = False

    @property
    def cores(self) -> int:
        return self.need.cpu_millis // 1000

    def waited_s(self, now: float) -> float:
        """Seconds it has waited, all told; of one that waits now."""
        return now - self.since - self.served_s


@dataclass(frozen=True, slots=True)
class Holding:
    """A task that holds something: what, on which cores, and since when.

    begun: somebody works on it; before that, its grant can be taken back.  leaving: what of it comes free in a moment,
    since it was asked to go or is on its way out.  units: which ones of what is counted.  A paused task holds all but
    its cores.
    """

    task: Task
    granted: Resources
    cores: tuple[int, ...]
    since: float
    begun: bool = True
    leaving: Resources = NOTHING
    units: Units = field(default_factory=dict)

    @property
    def ends_at(self) -> float:
        """When it has run as long as anybody said it would."""
        return self.since + self.task.longest_s


Rank = tuple[int, int, int]
"""Who may be put down for whom: the smaller one goes first. What the numbers mean is the policy's affair."""


@dataclass(frozen=True, slots=True)
class Standing:
    """rank: see there.  order: the place in line, the rank first.  until: when time alone may change them, and quiet:
    so that nobody can start for it."""

    rank: Rank
    order: tuple[float | str, ...]
    until: float = math.inf
    quiet: bool = False
