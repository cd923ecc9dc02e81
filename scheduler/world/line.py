"""Lines: job ids in the order they are served, and tasks so that whoever can't start is passed over at once. Pure.

`Line`: higher priority first, then first come. A sorted list of keys: adding, removing and finding one takes O(log n)
comparisons (and moves up to n pointers, 20 microseconds for 100 000), and the first ones are simply the first ones.

`Queue`: by the order that a policy gives, in blocks. A block knows the least that anybody in it asks for, so one
question rules all of it out: with 100,000 tasks of as many shapes, a walk for the few that may start asks some hundred
blocks. What a block knows may be less than what is true after somebody left it, never more: it is reckoned anew when
it is next opened.
"""

from __future__ import annotations

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


BLOCK = 256
"""Tasks in a block, at most twice as many: about the root of the longest line that is worth being quick for."""

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


class Queue:
    """A sorted set of tasks; iterating gives them, first in line first."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._firsts: list[Order] = []  # of each block, nobody in it stands before that

    def add(self, order: Order, task: Task) -> None:
        """order: its place, beginning with its rank; nobody else has the same."""
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
        self._blocks[at].remove(order)
        if not self._blocks[at].orders:
            del self._blocks[at], self._firsts[at]

    def __iter__(self) -> Iterator[Task]:
        return (task for block in self._blocks for task in block.tasks)

    def which(self, question: Question) -> Iterator[Task]:
        """Those of whom the answer is yes when it is their turn, in order."""
        for block in self._blocks:
            if block.has(question):
                for order, task in zip(block.orders, block.tasks, strict=True):
                    if question(order[:3], task):
                        yield task
