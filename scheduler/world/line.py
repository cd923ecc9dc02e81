"""Lines: job ids in the order they are served, and tasks so that whoever can't start is passed over at once. Pure.

`Line`: higher priority first, then first come. A sorted list of keys: adding, removing and finding one takes O(log n)
comparisons (and moves up to n pointers, 20 microseconds for 100 000), and the first ones are simply the first ones.

`Queue`: by the order that a policy gives. Tasks of about as many cores stand in a lane of their own, so one question
rules out all that are too wide; and in a lane in blocks. A block knows the least that anybody in it asks for, so one
question rules all of it out: with 100,000 tasks of as many shapes, a walk for the few that may start asks some hundred
blocks. What a block knows may be less than what is true after somebody left it, never more: it is reckoned anew when
it is next opened.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from singlepoint.jobs.lifecycle.records import Job, Resources

from .tasks import Rank, Task

Key = tuple[int, float, str]


def key(job: Job) -> Key:
    return (-job.priority, job.submitted_at, job.id)


class Line:
    """A sorted set of keys; iterating gives ids, first in line first."""

    def __init__(self) -> None:
        self._keys: list[Key] = []

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return (job_id for _, _, job_id in self._keys)

    def add(self, one: Key) -> None:
        insort(self._keys, one)

    def remove(self, one: Key) -> None:
        del self._keys[self.position(one)]

    def position(self, one: Key) -> int:
        """How many stand in front of `one`, whether it stands here itself or not."""
        return bisect_left(self._keys, one)

    @property
    def first(self) -> str | None:
        return self._keys[0][2] if self._keys else None


BLOCK = 64
"""Tasks in a block, at most twice as many: of the size of the root of a lane in the longest line that is worth being
quick for."""

Order = tuple[Any, ...]


class Claim(Protocol):
    """What can be asked of a task and of a whole block."""

    @property
    def need(self) -> Resources: ...
    @property
    def longest_s(self) -> float: ...
    @property
    def gives_way(self) -> bool: ...


Question = Callable[[Rank, Claim], bool]
"""Whether whoever has this rank, or a worse one, and asks for this, or for more, may start."""


@dataclass(frozen=True, slots=True)
class _Least:
    """need: without what is counted; that is asked of each task."""

    need: Resources
    longest_s: float
    gives_way: bool

    def with_another(self, task: Task) -> _Least:
        return _Least(
            Resources.made_of(map(min, self.need.amounts(), task.need.amounts())),
            min(self.longest_s, task.longest_s),
            self.gives_way or task.gives_way,
        )


class _Block:
    def __init__(self, orders: list[Order], tasks: list[Task]) -> None:
        self.orders, self.tasks = orders, tasks
        self.reckon()

    def reckon(self) -> None:
        tasks = self.tasks
        needs = zip(*(task.need.amounts() for task in tasks), strict=True)
        self.least = _Least(
            Resources.made_of(map(min, needs)), min(t.longest_s for t in tasks), any(t.gives_way for t in tasks)
        )
        self.is_exact = True

    def add(self, order: Order, task: Task) -> None:
        at = bisect_left(self.orders, order)
        self.orders.insert(at, order)
        self.tasks.insert(at, task)
        self.least = self.least.with_another(task)

    def remove(self, order: Order) -> None:
        at = bisect_left(self.orders, order)
        del self.orders[at], self.tasks[at]
        self.is_exact = False

    def has(self, question: Question) -> bool:
        rank = self.orders[0][:3]
        if not question(rank, self.least):
            return False
        if self.is_exact:
            return True
        self.reckon()
        return question(rank, self.least)


class _Lane:
    """A sorted set of tasks. least: what each of them asks for at the least, known from outside."""

    def __init__(self, least: _Least) -> None:
        self.least = least
        self._blocks: list[_Block] = []
        self._firsts: list[Order] = []  # of each block

    def __len__(self) -> int:
        """Of blocks; 0 when nobody stands here."""
        return len(self._blocks)

    def __iter__(self) -> Iterator[tuple[Order, Task]]:
        return ((order, task) for block in self._blocks for order, task in zip(block.orders, block.tasks, strict=True))

    @property
    def first(self) -> Order:
        return self._firsts[0]

    def add(self, order: Order, task: Task) -> None:
        if not self._blocks:
            self._blocks, self._firsts = [_Block([order], [task])], [order]
            return
        at = max(0, bisect_right(self._firsts, order) - 1)
        block = self._blocks[at]
        block.add(order, task)
        self._firsts[at] = min(order, self._firsts[at])
        if len(block.orders) > 2 * BLOCK:
            self._blocks[at : at + 1] = halves = [
                _Block(block.orders[:BLOCK], block.tasks[:BLOCK]),
                _Block(block.orders[BLOCK:], block.tasks[BLOCK:]),
            ]
            self._firsts[at : at + 1] = [half.orders[0] for half in halves]

    def remove(self, order: Order) -> None:
        at = bisect_right(self._firsts, order) - 1
        block = self._blocks[at]
        block.remove(order)
        if block.orders:
            self._firsts[at] = block.orders[0]
        else:
            del self._blocks[at], self._firsts[at]

    def which(self, question: Question, behind: Order) -> Iterator[tuple[Order, Task]]:
        for at in range(max(0, bisect_right(self._firsts, behind) - 1), len(self._blocks)):
            block = self._blocks[at]
            if block.has(question):
                for order, task in zip(block.orders, block.tasks, strict=True):
                    if order > behind and question(order[:3], task):
                        yield order, task


class Queue:
    """A sorted set of tasks; iterating gives them, first in line first."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}  # by width; none is empty

    def add(self, order: Order, task: Task) -> None:
        """order: its place, beginning with its rank; nobody else has the same."""
        width = _width(task)
        lane = self._lanes.get(width)
        if lane is None:
            lane = self._lanes[width] = _Lane(_Least(Resources(1000 * width), 0.0, gives_way=True))
        lane.add(order, task)

    def remove(self, order: Order, task: Task) -> None:
        width = _width(task)
        self._lanes[width].remove(order)
        if not self._lanes[width]:
            del self._lanes[width]

    def __iter__(self) -> Iterator[Task]:
        return (task for _, task in heapq.merge(*self._lanes.values()))

    def which(self, question: Question, behind: Order = ()) -> Iterator[Task]:
        """Those behind a place of whom the answer is yes when it is their turn, in order.

        An answer may turn to no on the way: it is asked again. Not to yes: then this has to be begun anew, from there.
        """
        turns: list[_Turn] = [(lane.first, width, None, None) for width, lane in self._lanes.items()]
        heapq.heapify(turns)
        while turns:
            order, width, walk, task = turns[0]
            if walk is None and question(order[:3], self._lanes[width].least):
                walk = self._lanes[width].which(question, behind)
            elif task is not None and question(order[:3], task):
                yield task
            following = next(walk, None) if walk is not None else None
            if following is None:
                heapq.heappop(turns)
            else:
                heapq.heapreplace(turns, (following[0], width, walk, following[1]))


_Turn = tuple[Order, int, "Iterator[tuple[Order, Task]] | None", "Task | None"]
"""The next of a lane, by its width; before the lane is opened, where it begins."""


def _width(task: Task) -> int:
    """Its cores, rounded down to three binary digits."""
    spare = max(0, task.cores.bit_length() - 3)
    return task.cores >> spare << spare
