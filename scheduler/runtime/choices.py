"""What the owner of the home has chosen, as of now: policy, budget, what projects are worth, a drain.

What cannot be read is said once, and leaves what held before.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection

from singlepoint.jobs.clock import Clock
from singlepoint.jobs.errors import SinglepointError
from singlepoint.jobs.services.draining import planned_drain
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.settings import read_settings
from singlepoint.scheduler.machine.in_force import InForce
from singlepoint.scheduler.policy.named import DEFAULT, POLICIES
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.world.world import World

log = logging.getLogger("singlepoint.scheduler")

BUDGET_EVERY_S = 1.0

BudgetAt = Callable[[float, Collection[int]], InForce]
"""What holds at a time, while these cores are held; raises SinglepointError when that cannot be told."""


class Choices:
    """Keeps a world in line with them.

    rules: of the policy in force. drain_changes_at: when a drain begins or ends next. policy: the name of the one that
    was chosen. budget_at: None where the budget never changes. clock, monotonic: seconds. budget_words: those of
    `singlepoint budget` that are taken in.
    """

    def __init__(
        self,
        home: Home,
        world: World,
        policy: Callable[[], str],
        budget_at: BudgetAt | None,
        clock: Clock,
        monotonic: Clock,
    ) -> None:
        self._home = home
        self._world = world
        self._policy = policy
        self._budget_at = budget_at
        self._clock = clock
        self._monotonic = monotonic
        self._next_budget = 0.0
        self._trouble = ""
        self.budget_words = ""
        self.drain_changes_at = math.inf
        self.rules = self._chosen_rules()
        world.books.rank_by(self.rules.ranking, self.rules.sharing)

    def look(self, at_once: bool = False) -> bool:
        """Take in what was chosen since; True when another budget holds, or one by other words. at_once: somebody rang,
        so that the budget is looked at before its time."""
        if at_once:
            self._next_budget = 0.0
        self._look_for_drain()
        self._look_for_policy()
        return self._look_for_budget()

    def look_for_shares(self) -> None:
        """What projects are worth; all the same while that cannot be read."""
        try:
            chosen = read_settings(self._home).shares
        except SinglepointError as error:
            log.error("settings_unreadable error=%r: every project is worth the same", str(error))
            return
        usage = self._world.books.usage
        usage.weights, usage.half_life_s = dict(chosen.projects), chosen.half_life_s

    def _look_for_drain(self) -> None:
        at, world = self._clock(), self._world
        plan = planned_drain(self._home, at)
        draining = plan is not None and plan.holds(at)
        self.drain_changes_at = plan.next_change(at) if plan is not None else math.inf
        world.books.drains_at = plan.begins_at if plan is not None and not draining else math.inf
        if draining != world.draining:
            world.draining = draining
            log.info("drain_began" if draining else "drain_ended")

    def _chosen_rules(self) -> Rules:
        """Of the policy that was chosen; the default for a name that is none."""
        return POLICIES.get(self._policy(), POLICIES[DEFAULT])

    def _look_for_policy(self) -> None:
        rules = self._chosen_rules()
        if rules is not self.rules:
            self.rules = rules
            self._world.books.rank_by(rules.ranking, rules.sharing)
            log.info("policy_changed policy=%s", rules.name)

    def _look_for_budget(self) -> bool:
        """Whether another budget holds by now, or one by other words. When it is lowered, work is put down until it
        fits."""
        if self._budget_at is None or self._monotonic() < self._next_budget:
            return False
        self._next_budget = self._monotonic() + BUDGET_EVERY_S
        try:
            found = self._budget_at(self._clock(), self._world.books.held_cores)
        except SinglepointError as error:
            self._complain(str(error))
            return False
        self._trouble = ""
        before = InForce(self._world.budget, self._world.cores, self.budget_words)
        if found == before:
            return False
        self.budget_words = found.chosen
        if (found.budget, found.cores) != (before.budget, before.cores):
            self._world.budget_changed(found.budget, self._world.reserve, found.cores)
            log.info("budget_changed cpu_millis=%d memory_bytes=%d", found.budget.cpu_millis, found.budget.memory_bytes)
        return True

    def _complain(self, trouble: str) -> None:
        """Say once that the budget that should hold cannot be told."""
        if trouble != self._trouble:
            log.error("budget_unreadable error=%r", trouble)
        self._trouble = trouble
