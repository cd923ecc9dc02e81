"""The line as the scheduler told it last, for commands to play forward, and jobs yet to be handed in put into it.

Nothing is foreseen where no scheduler runs, or what it told can't be read.
"""

from __future__ import annotations

import math

from singlepoint.jobs.client.query import room
from singlepoint.jobs.client.session import Session, asked
from singlepoint.jobs.clock import seconds
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import HistoryDamaged, InvalidInput, NotFound
from singlepoint.jobs.ledger.entries import Entry, of_likeness
from singlepoint.jobs.lifecycle.checkpoint_interval import UNMEASURED_SAVE_S
from singlepoint.jobs.lifecycle.dependencies import Condition, parse_after
from singlepoint.jobs.lifecycle.records import Job, granted_of
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.job import Spec, from_json, likeness, work
from singlepoint.scheduler.simulation.scene import UNKNOWN, Coming, Hope, Scene, setback_s
from singlepoint.scheduler.simulation.scene_document import from_json as scene_from_json
from singlepoint.scheduler.simulation.whatif import Known
from singlepoint.scheduler.world.learned.experience import REMEMBERED, Estimate, Experience, expected, expected_of_kind
from singlepoint.scheduler.world.tasks import Task

LIKE_JOBS = 3 * REMEMBERED
"""Of them the newest count: of several numbers of cores, some each."""


def read_scene(session: Session) -> Scene | None:
    """The line as the scheduler that runs saw it last; None where none runs, or none can be read."""
    if room(session) is None:
        return None
    document, _ = asked(session, lambda index: index.scene())
    try:
        return scene_from_json(document) if document is not None else None
    except Malformed:
        return None


def with_spec(session: Session, scene: Scene, checked: Checked, at: float, name: str) -> Scene | None:
    """The scene with a job that is handed in at a time; None where it is not foreseen that it can ever start.

    checked: with its times in UTC, and the ids of jobs that it comes after.  name: its id there.
    """
    spec: Spec = checked.spec
    need = granted_of(spec.resources.amounts(), False, scene.room)
    if not need.fits_in(scene.room):
        return None
    after = _open_still(session, spec, scene)
    if after is None:
        return None
    like, of_its_kind = likeness(spec), expected_of_kind(scene.paces, spec.kind, checked.reckoned_s)
    took = _took(_like(session, like), work(spec)) or of_its_kind
    stands_by = expected(scene.paces, like, work(spec)) or took
    task = Task(
        name,
        need,
        submitted_at=at,
        since=at,
        priority=spec.priority,
        project=spec.project or "",
        expected_s=stands_by.median_s if stands_by else None,
        longest_s=stands_by.high_s if stands_by else math.inf,
        gives_way=spec.preemptible,
    )
    hope = None
    if spec.deadline is not None:
        hope = Hope(seconds(spec.deadline), setback_s(spec.kind, UNMEASURED_SAVE_S, scene.survival.rate_per_s))
    coming = Coming(task, max(scene.now, at, seconds(spec.begin) if spec.begin else 0.0), after)
    return scene.with_job(coming, took or UNKNOWN, hope)


def _open_still(session: Session, spec: Spec, scene: Scene) -> tuple[str, ...] | None:
    """The jobs that it still has to come after; None where it is not foreseen that they end as they are to."""
    found = []
    for one in map(parse_after, spec.after):
        try:
            met = one.is_met(session.store.fate(one.job))
        except HistoryDamaged:
            return None
        if not met and (one.when is Condition.FAILED or not scene.knows(one.job)):
            return None
        if not met:
            found.append(one.job)
    return tuple(dict.fromkeys(found))


def known_of(session: Session, job: Job) -> Known:
    """What jobs like this one took; nothing where its spec can't be read."""
    try:
        return known(session, from_json(session.store.spec(job.id)))
    except (ValueError, LookupError, TypeError, NotFound, HistoryDamaged, InvalidInput):
        return Known()


def known(session: Session, spec: Spec) -> Known:
    """What jobs like this one took, on which cores and with how much memory."""
    by_cores: dict[int, list[Entry]] = {}
    entries = _like(session, likeness(spec))
    for entry in entries:
        by_cores.setdefault(entry.cores, []).append(entry)
    on_cores = {
        cores: took for cores, some in by_cores.items() if cores and (took := _took(some, work(spec))) is not None
    }
    peak_memory_bytes = max((entry.account.peak_memory_bytes for entry in entries), default=0)
    epochs = spec.training.epochs if spec.kind == "train" else 0
    return Known(on_cores, peak_memory_bytes, epochs)


def _took(entries: list[Entry], work: float) -> Estimate | None:
    experience = Experience()
    experience.learn(entries)
    return experience.run_time(entries[0].like, work) if entries else None


def _like(session: Session, like: str) -> list[Entry]:
    """The newest jobs like this one that succeeded, oldest first."""
    with session.store.ledger.opened() as content:
        newest = of_likeness(content, like, LIKE_JOBS)
    return [entry for entry in reversed(newest) if entry.state is State.SUCCEEDED]
