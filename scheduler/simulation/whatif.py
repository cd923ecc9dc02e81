"""What would make a job start sooner, or meet its deadline: each change is tried by playing the line with it. Pure.

Changes come from the cheapest to the dearest: asking for no more memory than its like ever used, a higher priority,
being put down for others, another number of cores, fewer epochs, pausing somebody else. Nothing is promised by a rule:
a change is told only with what came of playing it. How long a job runs on other cores is known from its like alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.lifecycle.outlook import GOOD, Change, Outlook
from singlepoint.jobs.lifecycle.reasons import Eta
from singlepoint.scheduler.world.learned.experience import Estimate
from singlepoint.scheduler.world.tasks import Task

from .forecast import foresee
from .scene import Scene

LEAST_GAIN_S, LEAST_GAIN = 1.0, 0.05
"""By so much, and by which share of its wait, a change must let a job start sooner to be worth telling."""

MOST_PRIORITIES, MOST_PAUSES = 3, 2
HEADROOM = 1.25
"""Memory asked for, over the most that like jobs used."""

HIGHEST_PRIORITY = 1000
"""That a spec may ask for."""

MIB = 2**20


@dataclass(frozen=True)
class Known:
    """What is known of a job besides the scene. on_cores: what its like took, by cores.  peak_memory_bytes: the most
    that any of them used.  epochs: of a training."""

    on_cores: Mapping[int, Estimate] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    epochs: int = 0


@dataclass(frozen=True)
class Option:
    """What could be asked for otherwise. kind: of several of a kind the first that does is told.  scene: with it."""

    kind: str
    words: str
    scene: Scene


def outlook(scene: Scene, job_id: str, known: Known) -> Outlook | None:
    """What is foreseen of a job of the scene, with the cheapest change by which it would meet a deadline that it might
    miss: the first that does, or else the best there is."""
    seen = foresee(scene)
    eta, in_time = seen.eta.get(job_id), seen.in_time.get(job_id)
    if eta is None and in_time is None:
        return None
    if in_time is None or in_time >= GOOD:
        return Outlook(eta, in_time)
    best: list[Change] = []
    for option in _options(scene, job_id, known):
        changed = _tried(option, job_id)
        if changed is not None and (changed.in_time or 0.0) > max(in_time, best[0].in_time or 0.0 if best else 0.0):
            best = [changed]
            if (changed.in_time or 0.0) >= GOOD:
                break
    return Outlook(eta, in_time, tuple(best))


def sooner(scene: Scene, job_id: str, known: Known, eta: Eta | None) -> list[Change]:
    """The changes with which the job would start sooner than it should, one of a kind, the cheapest first.

    eta: when it should; None where it is not foreseen that it does.
    """
    found: dict[str, Change] = {}
    starts_at = eta.start[1] if eta is not None and eta.start is not None else math.inf
    least_s = max(LEAST_GAIN_S, LEAST_GAIN * (starts_at - scene.now)) if starts_at < math.inf else 0.0
    for option in (*_options(scene, job_id, known), *_pauses(scene, job_id)):
        if option.kind in found or option.kind == "epochs":
            continue
        changed = _tried(option, job_id)
        start = changed.eta.start if changed is not None else None
        if changed is not None and start is not None and starts_at - start[1] >= least_s:
            found[option.kind] = changed
    return list(found.values())


def _tried(option: Option, job_id: str) -> Change | None:
    seen = foresee(option.scene)
    eta = seen.eta.get(job_id)
    return None if eta is None else Change(option.words, eta, seen.in_time.get(job_id))


# --- what could be changed ----------------------------------------------------------------------------------


def _options(scene: Scene, job_id: str, known: Known) -> Iterator[Option]:
    task = scene.task(job_id)
    if task is None:
        return
    yield from _less_memory(scene, task, known)
    yield from _higher_priority(scene, task)
    if not task.gives_way:
        yield Option("preemptible", "preemptible = true", scene.with_task(replace(task, gives_way=True)))
    yield from _other_cores(scene, task, known)
    yield from _fewer_epochs(scene, task, known)


def _less_memory(scene: Scene, task: Task, known: Known) -> Iterator[Option]:
    enough = -(-round(HEADROOM * known.peak_memory_bytes) // MIB) * MIB
    if 0 < enough < 0.9 * task.need.memory_bytes:
        less = replace(task, need=replace(task.need, memory_bytes=enough))
        yield Option("memory", f"--memory {format_bytes(enough).replace(' ', '')}", scene.with_task(less))


def _higher_priority(scene: Scene, task: Task) -> Iterator[Option]:
    others = [*scene.tasks(), *(one.task for one in scene.holding)]
    known = {one.priority + 1 for one in others if one.id != task.id and one.priority >= task.priority}
    above = sorted(priority for priority in known if priority <= HIGHEST_PRIORITY)
    for priority in above[:MOST_PRIORITIES]:
        yield Option("priority", f"--priority {priority}", scene.with_task(replace(task, priority=priority)))


def _other_cores(scene: Scene, task: Task, known: Known) -> Iterator[Option]:
    """As many as its like have run on, and no more than there are; the fewest first."""
    for cores in sorted(known.on_cores):
        if cores != task.cores and cores <= len(scene.cores):
            left = known.on_cores[cores]
            need = replace(task.need, cpu_millis=1000 * cores)
            other = replace(task, need=need, expected_s=left.median_s, longest_s=left.high_s)
            yield Option("cpu", f"--cpu {cores}", scene.with_task(other).with_left(task.id, left))


def _fewer_epochs(scene: Scene, task: Task, known: Known) -> Iterator[Option]:
    """Time goes with the epochs; what it starts with is little."""
    left = scene.left[task.id]
    for part in (2, 4):
        epochs = known.epochs // part
        if epochs and left.source != "nothing":
            less = Estimate(left.low_s / part, left.median_s / part, left.high_s / part, left.source)
            fewer = replace(task, expected_s=less.median_s, longest_s=less.high_s)
            words = f"--set training.epochs={epochs}"
            yield Option("epochs", words, scene.with_task(fewer).with_left(task.id, less))


def _pauses(scene: Scene, job_id: str) -> Iterator[Option]:
    """Of those that run, the ones that should run longest."""
    running = sorted((one for one in scene.holding if one.cores), key=lambda one: -scene.left[one.task.id].median_s)
    for one in running[:MOST_PAUSES]:
        yield Option("pause", f"singlepoint pause {one.task.id}", scene.without(one.task.id))
