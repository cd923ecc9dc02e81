"""The line at one moment, played to its end once: each job runs as long as it should, by the median. Pure.

What comes of it has the figures of a replay, with waits counted from that moment on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from .forecast import staged
from .machine import Life, Replay
from .scene import Scene
from .workload import Workload

NAME = "the queue as it stands"


def from_now_on(scene: Scene) -> Replay:
    """All times in seconds from the scene's on. What does not end before a drain that was planned is not in it."""
    machine = staged(scene, {job_id: left.median_s for job_id, left in scene.left.items()})
    machine.play((), begins_at=scene.now, until=scene.drains_at)
    comes_at = {one.task.id: one.at for one in scene.coming}
    ended = [life for life in machine.lives.values() if life.ended_at < math.inf]
    lives = tuple(_seen_from(scene.now, life, comes_at.get(life.arrival.id, scene.now)) for life in ended)
    workload = Workload(NAME, len(scene.cores), tuple(life.arrival for life in lives))
    return Replay(workload, scene.policy, 0.0, lives, machine.decided)


def _seen_from(now: float, life: Life, comes_at: float) -> Life:
    arrival = replace(life.arrival, submit_s=comes_at - now)
    stints = [(begun - now, until - now, core) for begun, until, core in life.stints]
    return replace(life, arrival=arrival, stints=stints, ended_at=life.ended_at - now)


def later_by(before: Replay, after: Replay) -> Mapping[str, float]:
    """By how many seconds jobs of both end later in the second, the most first; without those that do not."""
    ends = {life.arrival.id: life.ended_at for life in before.lives}
    late = {life.arrival.id: life.ended_at - ends[life.arrival.id] for life in after.lives if life.arrival.id in ends}
    return dict(sorted(((name, s) for name, s in late.items() if s > 0), key=lambda one: -one[1]))
