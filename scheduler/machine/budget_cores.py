"""Which cores the budget means where it is not all of the machine's, and our own processes on no others.

An attempt has cores to itself. What scheduler, broker and workers use besides would come on top of that, were it on
other cores: on the same ones the kernel sees to it that all together never use more than the budget. Whoever keeps us
alive (the supervisor) stays where it was: it uses nothing to speak of, by it one sees which cores we might have, and
what it starts anew begins there until it is moved, half a minute later at most. Page and predictions stay, too: whoever
leaves a core out of the budget leaves it to them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence

from singlepoint.jobs.host.processes import use_cores
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.store.home import Home
from singlepoint.scheduler.policy.host.state import Core, Host

from .budget import Machine
from .cores import core_load
from .own_processes import own_processes, words_of

ANSWERING = frozenset({"page", "serving"})
"""Commands of what answers at once, by which they are known before they have told that they are there."""


class BudgetCores:
    """Chosen when the budget is, and kept: work that runs is not moved.

    before: those of the scheduler that was here before, whose attempts may run still.  layout: where each core is.
    load: how busy each is just now, whoever uses it; asked only where there is something to choose.
    """

    def __init__(
        self, before: Sequence[int], layout: Mapping[int, Core], load: Callable[[], Mapping[int, float]] = core_load
    ) -> None:
        self._cores = tuple(before)
        self._layout = layout
        self._load = load

    def __call__(self, budget: Resources, machine: Machine, held: Collection[int] = ()) -> tuple[int, ...]:
        """The ids of this budget's cores: those it had, unless it has fewer now, else those that are held; and the
        least busy ones besides."""
        count = budget.cpu_millis // 1000
        if count >= len(machine.cores):
            self._cores = machine.cores
            return self._cores
        stay = self._cores if len(self._cores) <= count else held
        kept = [core for core in machine.cores if core in stay][:count]
        if len(kept) < count:
            free = [core for core in machine.cores if core not in kept]
            kept += Host(layout=self._layout, load=self._load()).picked(free, count - len(kept))
        self._cores = tuple(sorted(kept))
        return self._cores


def keeper(home: Home) -> int:
    """The process that started this one and keeps it alive; 0, which means this one, where there is none."""
    supervisor = holder(home.lock("supervisor"))
    return supervisor.pid if supervisor is not None and supervisor.pid == os.getppid() else 0


def keep_own_to(home: Home, cores: Sequence[int]) -> None:
    """Have our own processes run on these cores, but for those that answer at once; without a keeper all stay where
    they are."""
    kept_by = keeper(home)
    if kept_by:
        ours = [process.pid for process in own_processes(home) if ANSWERING.isdisjoint(words_of(process))]
        use_cores(cores, [pid for pid in ours if pid != kept_by])
