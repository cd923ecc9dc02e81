"""How the machine is just now, whoever uses it; and which of the free cores an attempt gets by that. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .strain import Strain


@dataclass(frozen=True, slots=True)
class Core:
    """Where a core is. physical: the same for those that share one (SMT).  node: of memory (NUMA)."""

    physical: int
    node: int = 0


@dataclass(frozen=True)
class Host:
    """strain: that the machine is short of memory.  layout: where each core is, as far as known.  load: which share of
    the last second it was busy, 0..1, whoever had it busy."""

    strain: Strain | None = None
    layout: Mapping[int, Core] = field(default_factory=dict)
    load: Mapping[int, float] = field(default_factory=dict)

    def picked(self, free: Sequence[int], count: int) -> tuple[int, ...]:
        """So many of these free cores: together on one node, on physical cores that nobody else has, the least busy.

        Differences in load of less than a tenth are none; then the lowest number.
        """
        if not self.layout and not self.load:
            return tuple(free[:count])
        found: list[int] = []
        shared = {self._where(core).physical for core in self.layout if core not in free}
        while len(found) < count and len(found) < len(free):
            node = self._where(found[0]).node if found else self._roomiest(free, count)
            taken = shared | {self._where(core).physical for core in found}
            found.append(
                min((core for core in free if core not in found), key=lambda core: self._cost(core, node, taken))
            )
        return tuple(sorted(found))

    def _where(self, core: int) -> Core:
        return self.layout.get(core, Core(core))

    def _cost(self, core: int, node: int | None, taken: set[int]) -> tuple[bool, bool, int, int]:
        where = self._where(core)
        return node is not None and where.node != node, where.physical in taken, self._busy(core), core

    def _busy(self, core: int) -> int:
        return round(10 * self.load.get(core, 0.0))

    def _roomiest(self, free: Sequence[int], count: int) -> int | None:
        """The node with room for all of it that is the least busy; None when one core will do, or no node has."""
        nodes = {self._where(core).node for core in free}
        if count == 1 or len(nodes) == 1:
            return None
        rooms = {node: [core for core in free if self._where(core).node == node] for node in nodes}
        enough = [node for node, cores in rooms.items() if len(cores) >= count]
        return min(enough, key=lambda node: (sum(map(self._busy, rooms[node])) / len(rooms[node]), node), default=None)


UNKNOWN = Host()
"""Of which nothing is known: the lowest numbers are picked."""
