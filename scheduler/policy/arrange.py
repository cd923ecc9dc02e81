"""Who starts, who is put down for whom, and whose place is kept: one pass over the line, by the rules. Pure.

In order of the line: whoever fits starts. For one that does not, work of a worse rank is put down, if the rules allow
it and enough of it can be. Else its place may be kept: it gets a reservation for the time when enough of what runs will
have ended, and from there on nobody starts who would still hold then what it needs. What those who leave hold
counts as free for whoever it is freed for, and for nobody else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.scheduler.world.line import Claim, Order, Question
from singlepoint.scheduler.world.tasks import NOTHING, Holding, Rank, Standing, Task

from .ageing import LIFTED
from .plan import Reservation, Wait
from .rules import Overtaking, Rules


class Floor(Protocol):
    """What a pass reads: who waits and who holds what. `Books` is one."""

    now: float
    room: Resources
    free: Resources
    leaving: Resources
    drains_at: float

    @property
    def free_cores(self) -> Sequence[int]: ...
    @property
    def next_change(self) -> float: ...
    @property
    def held_by_rank(self) -> Mapping[Rank, Resources]: ...
    def __len__(self) -> int: ...
    def waiting(self, question: Question, behind: Order) -> Iterator[Task]: ...
    def holders(self) -> Iterator[Holding]: ...
    def by_end(self) -> Iterator[Holding]: ...
    def standing(self, task_id: str) -> Standing: ...
    def held_rank(self, task_id: str) -> Rank: ...
    def task(self, task_id: str) -> Task | None: ...


@dataclass(frozen=True)
class Start:
    task: Task


@dataclass(frozen=True)
class PutDown:
    """pause: its memory is kept.  for_id: whom it makes room for."""

    holding: Holding
    pause: bool
    for_id: str


@dataclass
class Arrangement:
    """What a pass found. blocked: those it looked at and did not start, with what they wait for."""

    starts: list[Start] = field(default_factory=list)
    put_down: list[PutDown] = field(default_factory=list)
    reservation: Reservation | None = None
    blocked: dict[str, Wait] = field(default_factory=dict)
    look_again_at: float | None = None


SOON_S = 60.0
"""Core-seconds: of work that is done so soon, who goes first matters to nobody. Whoever comes meanwhile waits so much
longer at most: without a bound the mean wait on 4 and 8 cores under Lublin's loads rose by up to 7 %."""

_End = tuple[float, int, str, Resources]


def arrange(floor: Floor, rules: Rules, explained: int = 0) -> Arrangement:
    """One pass. Nothing is changed; told what came of it, the next pass goes on from there.

    explained: so many that can't start are looked at all the same, so that it can be said why.
    """
    return _Pass(floor, rules, explained).run()


class _Pass:
    """free: what can be taken at once.  soon: that and what comes free, less what was promised of it.

    yields: what those hold who may be put down, all of a rank together.  room_for: as reckoned so far.  head: the first
    that can't start, whose place is kept.  extra: what will still be free when its time comes and it has started;
    reckoned when somebody wants to start who was behind it.
    """

    def __init__(self, floor: Floor, rules: Rules, explained: int) -> None:
        self.floor, self.rules, self.explained = floor, rules, explained
        self.free = floor.free
        self.soon = floor.free + floor.leaving
        self.yields = dict(floor.held_by_rank) if rules.gives_way else {}
        self.room_for: dict[Rank, Resources] = {}
        self.head: Task | None = None
        self.extra = Resources()
        self.chosen: set[str] = set()
        self.found = Arrangement()

    def run(self) -> Arrangement:
        for task in self._in_turn():
            self._consider(task)
            if self._is_over(task):
                break
        if self.found.blocked and self.floor.next_change < math.inf:
            self.found.look_again_at = self.floor.next_change
        return self.found

    def _in_turn(self) -> Iterator[Task]:
        """Those that are worth looking at. Work that is put down may leave room for some that were passed over already,
        so all behind are asked anew."""
        if self.rules.last_round and (last := self._last_round()):
            yield from (task for task in last if self._may_start(self._rank(task), task))
            return
        behind: Order | None = ()
        while behind is not None:
            since, start, behind = len(self.found.put_down), behind, None
            for task in self.floor.waiting(self._may_start, start):
                yield task
                if len(self.found.put_down) > since:
                    behind = self.floor.standing(task.id).order
                    break

    def _last_round(self) -> list[Task]:
        """All that wait, if each will get cores of its own as these come free, else none. Unless somebody comes
        meanwhile, who of equal rank goes first makes no difference then to when they are done on average; and the
        earlier the longest begins, the sooner all are done."""
        cores = self.floor.room.cpu_millis // 1000
        if not 1 < len(self.floor) <= cores:
            return []
        tasks = list(self.floor.waiting(lambda _rank, _claim: True, ()))
        return sorted(tasks, key=self._longest_first) if sum(task.cores for task in tasks) <= cores else []

    def _longest_first(self, task: Task) -> tuple[Rank, float, Order]:
        rank, work = self._rank(task), task.cores * (task.expected_s or 0.0)
        return rank, -work if rank[0] != LIFTED and work <= SOON_S else 0.0, self.floor.standing(task.id).order

    def _may_start(self, rank: Rank, claim: Claim) -> bool:
        """Whether it is worth looking at. The first that can't start is, whose place is kept."""
        keeps_a_place = self.rules.overtaking is Overtaking.HARMLESS and self.head is None
        if keeps_a_place or len(self.found.blocked) <= self.explained:
            return True
        if not claim.need.fits_in(self._room_for(rank)):
            return False
        if self.found.reservation is None or (self.rules.gives_way and claim.gives_way):
            return True
        return self._ends_before(self.found.reservation, claim) or claim.need.fits_in(self.extra)

    def _is_over(self, task: Task) -> bool:
        """Whether nobody behind this one can start: nobody may overtake it, or there is no core and none to be had."""
        if task.id in self.found.blocked and self.rules.overtaking is Overtaking.NOBODY:
            return True
        return self.free.cpu_millis < 1000 and self._room_for(self._rank(task)).cpu_millis < 1000

    def _rank(self, task: Task) -> Rank:
        return self.floor.standing(task.id).rank

    def _room_for(self, rank: Rank) -> Resources:
        """All that somebody of this rank can have, by putting work of a worse one down."""
        room = self.room_for.get(rank)
        if room is None:
            room = sum((held for other, held in self.yields.items() if other > rank), self.soon)
            self.room_for[rank] = room
        return room

    def _victims(self, rank: Rank) -> Iterator[Holding]:
        """Those that may be put down for somebody of this rank, the least important first."""
        for holding in self.floor.holders():
            if self.floor.held_rank(holding.task.id) <= rank:
                return
            if holding.leaving == NOTHING and holding.task.id not in self.chosen:
                yield holding

    def _is_in_time(self, task: Task) -> bool:
        """Whether it should have ended when the home is drained, or can be put down then."""
        return task.gives_way or self.floor.now + task.longest_s <= self.floor.drains_at

    def _consider(self, task: Task) -> None:
        if self.floor.drains_at < math.inf and not self._is_in_time(task):
            self.found.blocked[task.id] = Wait.DRAINS
        elif not task.need.fits_in(self._room_for(self._rank(task))):
            self.found.blocked[task.id] = Wait.LACKS
            if self.rules.overtaking is Overtaking.HARMLESS and self.head is None:
                self.head = task
        elif self._would_delay(task):  # before anybody is put down for it: it could not start then
            self.found.blocked[task.id] = Wait.WOULD_DELAY
        elif task.need.fits_in(self.soon):
            self._promise(task)
        else:
            self._make_room(task)
            self.found.blocked[task.id] = Wait.COMES_FREE

    def _promise(self, task: Task) -> None:
        self._leave(self.soon - task.need)
        if not task.need.fits_in(self.free):
            self.found.blocked[task.id] = Wait.COMES_FREE
            return
        self.free = self.free - task.need
        self.found.starts.append(Start(task))

    def _leave(self, soon: Resources) -> None:
        """So much is left for those behind."""
        self.soon = soon
        self.room_for.clear()

    # --- keeping a place ---------------------------------------------------------------------------------

    def _reserve(self, task: Task) -> Reservation:
        """Source: EASY, Lifka 1995: running work in the order in which it should end, until the head fits."""
        room, at = self.soon, self.floor.now
        for ends_at, *_, granted in sorted(chain(self._ends(self._rank(task)), self._new_ends())):
            room = room + granted
            at = max(at, ends_at)
            if task.need.fits_in(room):
                break
        self.extra = room - task.need
        self.found.reservation = Reservation(task, at)
        return self.found.reservation

    def _ends(self, rank: Rank) -> Iterator[_End]:
        """When what runs should come free for somebody of this rank, and what it holds; those who leave are counted
        already."""
        for holding in self.floor.by_end():
            if holding.leaving == NOTHING and holding.task.id not in self.chosen:
                at = self._comes_free_at(holding, rank)
                yield at, holding.granted.cpu_millis, holding.task.id, holding.granted

    def _comes_free_at(self, holding: Holding, rank: Rank) -> float:
        """When it ends, or may be put down for this rank: for lifted work whatever is not, once its quantum is over."""
        if not self.rules.gives_way or not holding.cores:
            return holding.ends_at
        if self.floor.held_rank(holding.task.id) > rank:
            return self.floor.now
        until = self.floor.standing(holding.task.id).until
        return min(until, holding.ends_at) if rank[0] == LIFTED else holding.ends_at

    def _new_ends(self) -> Iterator[_End]:
        for start in self.found.starts:
            yield self.floor.now + start.task.longest_s, start.task.need.cpu_millis, start.task.id, start.task.need

    def _would_delay(self, task: Task) -> bool:
        """Whether starting it now would keep the holder of the reservation from starting in time."""
        if self.head is None or self._gives_way_to(self.head, task):
            return False
        if self._ends_before(self.found.reservation or self._reserve(self.head), task):
            return False
        if task.need.fits_in(self.extra):
            self.extra = self.extra - task.need
            return False
        return True

    def _ends_before(self, reservation: Reservation, claim: Claim) -> bool:
        return self.floor.now + claim.longest_s <= reservation.at < math.inf  # an end nobody can tell is never kept to

    def _gives_way_to(self, head: Task, task: Task) -> bool:
        """Whether it may start before the head because it can be put down again.

        A lifted head has waited its time out: for that, only work of a worse rank will be put down.
        """
        if not self.rules.gives_way or not task.gives_way:
            return False
        first, other = self.floor.standing(head.id).rank, self.floor.standing(task.id).rank
        return first[0] != LIFTED or other > first

    # --- giving way --------------------------------------------------------------------------------------

    def _make_room(self, task: Task) -> None:
        """Have work of a worse rank put down, as much as it needs to start."""
        room, picked = self.soon, []
        for victim in self._victims(self._rank(task)):
            lacking = task.need.lacking_in(room)
            if any(victim.granted.of(name) for name in lacking):
                picked.append(victim)
                room = room + victim.granted
                if task.need.fits_in(room):
                    break
        for victim in picked[:-1]:  # the later ones may have made an earlier one needless
            if task.need.fits_in(room - victim.granted):
                room = room - victim.granted
                picked.remove(victim)
        for victim in picked:
            kept = replace(victim.granted, cpu_millis=0)
            pause = victim.task.pauses and bool(victim.cores) and task.need.fits_in(room - kept)
            room = room - kept if pause else room
            self._put_down(PutDown(victim, pause, task.id))
        self._leave(room - task.need)

    def _put_down(self, one: PutDown) -> None:
        """It is no longer among those that may be."""
        rank = self.floor.held_rank(one.holding.task.id)
        self.yields[rank] = self.yields[rank] - one.holding.granted
        self.chosen.add(one.holding.task.id)
        self.found.put_down.append(one)
