"""What others read: why those wait that do, when each should start and end, and the line to play forward themselves.

Said now and then, not after every one of a hundred short jobs, but never long after.
"""

from __future__ import annotations

from dataclasses import replace

from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.clock import Clock
from singlepoint.jobs.lifecycle.reasons import Told
from singlepoint.scheduler.policy.plan import Plan
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.policy.shortage import told
from singlepoint.scheduler.simulation.forecast import Foresight, foresee
from singlepoint.scheduler.simulation.scene import scene_of
from singlepoint.scheduler.simulation.scene_document import to_json
from singlepoint.scheduler.world.places import Place
from singlepoint.scheduler.world.world import World

TELL_EVERY_S = 0.25
FORECAST_EVERY_S = 0.5
FORECAST_SHARE = 0.02


class Publishing:
    """is_behind: what was said is not what holds, and is due before long. monotonic: seconds."""

    def __init__(self, world: World, monotonic: Clock) -> None:
        self._world = world
        self._monotonic = monotonic
        self._told: Told | None = None
        self._next_told = 0.0
        self._foresight = Foresight()
        self._next_forecast = 0.0
        self.is_behind = False

    def begin_anew(self) -> None:
        """Whatever was said may be gone."""
        self._told = None

    def publish(self, index: Index, plan: Plan, rules: Rules) -> None:
        """Say what has changed, if it is time. Raises redis.RedisError."""
        self._look_ahead(index, rules)
        say = told(self._world, plan, self._world.lines[Place.ENDING])
        say = replace(say, eta=self._foresight.eta, in_time=self._foresight.in_time)
        self.is_behind = say != self._told
        if self.is_behind and self._monotonic() >= self._next_told:
            index.publish_told(say)
            self._told, self.is_behind = say, False
            self._next_told = self._monotonic() + TELL_EVERY_S

    def _look_ahead(self, index: Index, rules: Rules) -> None:
        """Play the line forward, now and then, and publish what was played: it may take its share of the time and no
        more. Of a home that is being drained nothing is foreseen."""
        began = self._monotonic()
        if began >= self._next_forecast:
            scene = scene_of(self._world, rules)
            self._foresight = Foresight() if self._world.draining else foresee(scene)
            index.publish_scene(to_json(scene))
            ended = self._monotonic()
            self._next_forecast = ended + max(FORECAST_EVERY_S, (ended - began) / FORECAST_SHARE)
