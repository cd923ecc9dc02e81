"""Who waits in which order, and who holds what: the indexes that a decision reads. Pure.

Waiting tasks stand in a `Queue`, where those that can't start are passed over by the hundred. Holders stand by rank and
by when they should end, with what all of a rank hold. Ranks are the policy's; those that time changes are renewed when
their time comes (`seen_at`), so everything else is found where it was put.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from singlepoint.jobs.lifecycle.records import Resources

from .line import Order, Question, Queue
from .sharing.usage import Sharing, Usage, nobody
from .tasks import NOTHING, Holding, Rank, Standing, Task

MOSTLY_GONE = 100
"""Whoever leaves keeps its times to look; they are swept once they outnumber those that count by this many."""

Ranking = Callable[[Task, float, "float | None"], Standing]
"""Where a task stands at a time: waiting, or (third: since when) running."""


def by_arrival(task: Task, _now: float, _since: float | None) -> Standing:
    """Higher priority first, then first come."""
    rank = (0, -task.priority, 0)
    return Standing(rank, (*rank, not task.paused, task.submitted_at, task.id))


class Books:
    """room: what tasks may have, all together.  cores: the ids of the cores that may be granted."""

    def __init__(self, room: Resources, cores: Iterable[int], ranking: Ranking, sharing: Sharing = nobody) -> None:
        self.now = 0.0
        self.drains_at = math.inf
        """From when on nothing shall run, as was planned: what could not be put down then has to have ended."""
        self.room = room
        self.free = room
        self.leaving = NOTHING
        """What those who were asked to leave hold: it will be free in a moment."""
        self._cores = frozenset(cores)
        self._used: set[int] = set()
        self._used_again: Counter[int] = Counter()  # by one more, while an attempt may live that was taken for dead
        self._free_cores: list[int] | None = None  # in order; None until somebody asks again
        self._ranking = ranking
        self._sharing = sharing
        self.usage = Usage()
        self._projects: Counter[str] = Counter()  # of those that wait or hold something
        self._above: frozenset[str] = frozenset()
        self._shared_until = math.inf
        self._waiting: dict[str, tuple[Task, Standing]] = {}
        self._holding: dict[str, tuple[Holding, Standing]] = {}
        self._queue = Queue()
        self.held_by_rank: dict[Rank, Resources] = {}
        """What those hold who do not leave yet, all of a rank together."""
        self._by_rank: list[tuple[Any, ...]] = []
        self._by_end: list[tuple[float, int, str]] = []
        self._due: list[tuple[float, str]] = []  # when to look, and whose standing changes then
        self._due_quietly: list[tuple[float, str]] = []

    # --- what happened -----------------------------------------------------------------------------------

    def wait(self, task: Task) -> None:
        """It wants to run. Told again, it stands where it belongs now."""
        self.stop_waiting(task.id)
        task = self._shared(task)
        self._projects[task.project] += 1
        standing = self._ranking(task, self.now, None)
        self._waiting[task.id] = (task, standing)
        self._queue.add(standing.order, task)
        self._renew_at(standing, task.id)
        if self._projects[task.project] == 1 and self._is_shared():
            self._share_out()  # there is one more to share with, or somebody alone stands elsewhere

    def stop_waiting(self, task_id: str) -> None:
        known = self._waiting.pop(task_id, None)
        if known is not None:
            self._forget_project(known[0].project)
            self._queue.remove(known[1].order, known[0])

    def hold(self, holding: Holding) -> None:
        """It holds what it was granted. Told again, the newest word counts."""
        known = self._holding.get(holding.task.id)
        self.let_go(holding.task.id)
        task = self._shared(holding.task)
        holding = holding if task is holding.task else replace(holding, task=task)
        if known is None and holding.since < self.now:  # by the time that somebody looks, it has had this
            self.usage.had(task.project, len(holding.cores) * (self.now - holding.since), self.now)
        self.usage.holds(task.project, len(holding.cores))
        self._projects[task.project] += 1
        standing = self._ranking(task, self.now, holding.since)
        self._holding[task.id] = (holding, standing)
        self._place(holding, standing)
        self.take(holding.granted, holding.cores)
        self.leaving = self.leaving + holding.leaving

    def let_go(self, task_id: str) -> None:
        """It holds nothing any more."""
        known = self._holding.pop(task_id, None)
        if known is not None:
            holding, standing = known
            self._displace(holding, standing)
            self._forget_project(holding.task.project)
            self.usage.holds(holding.task.project, -len(holding.cores))
            self.give_back(holding.granted, holding.cores)
            self.leaving = self.leaving - holding.leaving

    def take(self, granted: Resources, cores: Iterable[int]) -> None:
        """So much is used, by a task that holds it or by one that is not known any more."""
        self.free, self._free_cores = self.free - granted, None
        taken = set(cores)
        if taken & self._used:
            self._used_again.update(taken & self._used)
        self._used |= taken

    def give_back(self, granted: Resources, cores: Iterable[int]) -> None:
        """What was taken is used no more."""
        self.free, self._free_cores = self.free + granted, None
        given_back = set(cores)
        if self._used_again and (still := given_back & self._used_again.keys()):
            self._used_again -= Counter(still)  # and who is used no more is out of it
            given_back -= still
        self._used -= given_back

    def seen_at(self, now: float) -> None:
        """It is `now`: whoever's rank time has changed is moved to where it belongs."""
        self.now = now
        self.usage.seen_at(now)
        for due in (self._due, self._due_quietly):
            while due and due[0][0] <= now:
                self._renew(*heapq.heappop(due))
        if self._is_shared():
            self._share_out()

    def _renew(self, until: float, task_id: str) -> None:
        """Whoever has stood as it does until now is moved to where it belongs."""
        waiting, holding = self._waiting.get(task_id), self._holding.get(task_id)
        if waiting is not None and waiting[1].until == until:
            self.wait(waiting[0])
        if holding is not None and holding[1].until == until:
            self._displace(*holding)
            standing = self._ranking(holding[0].task, self.now, holding[0].since)
            self._holding[task_id] = (holding[0], standing)
            self._place(holding[0], standing)

    def _is_shared(self) -> bool:
        return len(self._projects) > 1 and self._sharing is not nobody

    def _shared(self, task: Task) -> Task:
        """The same, as its project stands."""
        stands_back = task.project in self._above
        return task if task.stands_back is stands_back else replace(task, stands_back=stands_back)

    def _share_out(self) -> None:
        """Who has had more than its share stands back; all of a project for which that changed are moved."""
        projects = frozenset(self._projects)
        above, changes_s = self._sharing(self.usage.per_weight(projects), self.usage.rates(projects), self._above)
        changed, self._above, self._shared_until = above ^ self._above, above, self.now + changes_s
        if not changed:
            return
        for task in [task for task, _ in self._waiting.values() if task.project in changed]:
            self.wait(task)
        for holding in [holding for holding, _ in self._holding.values() if holding.task.project in changed]:
            self.hold(holding)

    def _forget_project(self, project: str) -> None:
        self._projects[project] -= 1
        if not self._projects[project]:
            del self._projects[project]

    def resize(self, room: Resources, cores: Iterable[int]) -> None:
        """The budget changed, or our own needs: what is held stays held."""
        self.free = self.free + room - self.room
        self.room, self._cores = room, frozenset(cores)
        self._free_cores = None

    def rank_by(self, ranking: Ranking, sharing: Sharing = nobody) -> None:
        """Another policy: everybody stands where it says."""
        self._ranking, self._sharing, self._due, self._due_quietly = ranking, sharing, [], []
        self._above = frozenset()
        for task, _ in list(self._waiting.values()):
            self.wait(task)
        for holding, _ in list(self._holding.values()):
            self.hold(holding)

    # --- questions ---------------------------------------------------------------------------------------

    def waiting(self, question: Question | None = None, behind: Order = ()) -> Iterator[Task]:
        """Those that wait, first in line first; of whom the answer is yes, when a question is asked."""
        return iter(self._queue) if question is None else self._queue.which(question, behind)

    def holders(self) -> Iterator[Holding]:
        """Those that hold something, the least important first."""
        return (self._holding[entry[-1]][0] for entry in reversed(self._by_rank))

    def by_end(self) -> Iterator[Holding]:
        """Those that hold something, whoever should end first first."""
        return (self._holding[task_id][0] for _, _, task_id in self._by_end)

    def standing(self, task_id: str) -> Standing:
        """Where a task that waits, else one that holds, stands."""
        return (self._waiting.get(task_id) or self._holding[task_id])[1]

    def held_rank(self, task_id: str) -> Rank:
        """The rank of one that holds something; one that stands paused and waits for cores has another for that."""
        return self._holding[task_id][1].rank

    def is_waiting(self, task_id: str) -> bool:
        return task_id in self._waiting

    def task(self, task_id: str) -> Task | None:
        """A task that waits."""
        known = self._waiting.get(task_id)
        return known[0] if known else None

    def holding(self, task_id: str) -> Holding | None:
        known = self._holding.get(task_id)
        return known[0] if known else None

    @property
    def free_cores(self) -> list[int]:
        """Ids of the cores nobody has, lowest first; not to be changed."""
        if self._free_cores is None:
            self._free_cores = sorted(self._cores - self._used)
        return self._free_cores

    @property
    def held_cores(self) -> Collection[int]:
        """Ids of those that somebody has; not to be changed."""
        return self._used

    @property
    def next_change(self) -> float:
        """When time alone may change a rank so that somebody can start; infinity when it will not."""
        due = self._due
        while due and not self._stands_until(*due[0]):
            heapq.heappop(due)
        shared_until = max(self._shared_until, math.nextafter(self.now, math.inf)) if self._is_shared() else math.inf
        return min(due[0][0] if due else math.inf, shared_until)

    def _stands_until(self, until: float, task_id: str) -> bool:
        """Whether that is still so of one that waits or holds something."""
        known = (self._waiting.get(task_id), self._holding.get(task_id))
        return any(one is not None and one[1].until == until for one in known)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    # --- keeping the indexes true ------------------------------------------------------------------------

    def _place(self, holding: Holding, standing: Standing) -> None:
        insort(self._by_rank, (standing.rank, *_first_put_down(holding)))
        insort(self._by_end, _end(holding))
        if holding.leaving == NOTHING:
            self.held_by_rank[standing.rank] = self.held_by_rank.get(standing.rank, NOTHING) + holding.granted
        self._renew_at(standing, holding.task.id)

    def _displace(self, holding: Holding, standing: Standing) -> None:
        _take_out(self._by_rank, (standing.rank, *_first_put_down(holding)))
        _take_out(self._by_end, _end(holding))
        if holding.leaving == NOTHING:
            left = self.held_by_rank.pop(standing.rank, NOTHING) - holding.granted
            if left != NOTHING:
                self.held_by_rank[standing.rank] = left

    def _renew_at(self, standing: Standing, task_id: str) -> None:
        if standing.until < math.inf:
            due = self._due_quietly if standing.quiet else self._due
            heapq.heappush(due, (standing.until, task_id))
            if len(due) > MOSTLY_GONE + 2 * (len(self._waiting) + len(self._holding)):
                due[:] = {entry for entry in due if self._stands_until(*entry)}
                heapq.heapify(due)


def _first_put_down(holding: Holding) -> tuple[float, float, float, str]:
    """Among equals of rank the last is put down first: the cheapest to switch, then the one that began last."""
    return (-holding.task.switch_s, holding.since, holding.task.submitted_at, holding.task.id)


def _end(holding: Holding) -> tuple[float, int, str]:
    return (holding.ends_at, holding.granted.cpu_millis, holding.task.id)


def _take_out(ordered: list[Any], one: Any) -> None:
    at = bisect_left(ordered, one)
    if at < len(ordered) and ordered[at] == one:
        del ordered[at]
