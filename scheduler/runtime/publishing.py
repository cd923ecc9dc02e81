"""What others read: why those wait that do, when each should start and end, and the line to play forward themselves.

Said now and then, not after every one of a hundred short jobs, but never long after. To look ahead is a duty, done in
slices: no decision waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.clock import Clock
from singlepoint.jobs.lifecycle.reasons import Told
from singlepoint.scheduler.policy.plan import Plan
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.policy.shortage import told
from singlepoint.scheduler.runtime.upkeep.duties import Duty, Pace, Upkeep
from singlepoint.scheduler.simulation.forecast import Foresight, foresight, plays
from singlepoint.scheduler.simulation.scene import scene_of
from singlepoint.scheduler.simulation.scene_document import to_json
from singlepoint.scheduler.world.places import Place
from singlepoint.scheduler.world.world import World

TELL_EVERY_S = 0.25
SCENE = Pace(every_s=TELL_EVERY_S, share=0.008)  # within a second, of a hundred that wait
FORECAST = Pace(every_s=0.5, share=0.006)  # what is not foreseen yet, whoever asks for it plays


class Publishing:
    """is_behind: what was said is not what holds, and is due before long. monotonic: seconds."""

    def __init__(self, world: World, monotonic: Clock) -> None:
        self._world = world
        self._monotonic = monotonic
        self._told: Told | None = None
        self._next_told = 0.0
        self._foresight = Foresight()
        self._said_to: tuple[Index, Rules] | None = None
        scene = Duty("scene", self._show, SCENE)
        forecast = Duty("forecast", self._look_ahead, FORECAST)
        self._ahead = Upkeep([scene, forecast], monotonic)
        self.is_behind = False

    def begin_anew(self) -> None:
        """Whatever was said may be gone."""
        self._told = None

    def publish(self, index: Index, plan: Plan, rules: Rules) -> bool:
        """Say what has changed, if it is time; True when more is to be looked ahead now. Raises redis.RedisError."""
        self._said_to = index, rules
        more_to_do = self._ahead.run()
        say = told(self._world, plan, self._world.lines[Place.ENDING])
        say = replace(say, eta=self._foresight.eta, in_time=self._foresight.in_time)
        self.is_behind = say != self._told
        if self.is_behind and self._monotonic() >= self._next_told:
            index.publish_told(say)
            self._told, self.is_behind = say, False
            self._next_told = self._monotonic() + TELL_EVERY_S
        return more_to_do

    def _show(self) -> Iterator[None]:
        """Publish the line, for whoever wants to play it with something changed."""
        assert self._said_to is not None
        index, rules = self._said_to
        index.publish_scene(to_json(scene_of(self._world, rules)))
        yield

    def _look_ahead(self) -> Iterator[None]:
        """Play the line forward. Of a home that is being drained nothing is foreseen."""
        assert self._said_to is not None
        scene, played = scene_of(self._world, self._said_to[1]), []
        for play in () if self._world.draining else plays(scene):
            played.append(play)
            yield
        self._foresight = foresight(scene, played)
