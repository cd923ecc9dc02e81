"""What a dead attempt left on disk: how far it was, when it last gave a sign of life, what has to be done again.

Read by whoever writes down a death that the attempt could not: the process above it, or the scheduler.
Nothing of that is needed for the job to go on; it is for the ledger.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singlepoint.jobs import documents
from singlepoint.jobs.clock import iso
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.lifecycle.records import Attempt, Sample, Usage

from .job_files import CheckpointName, JobFiles


@dataclass(frozen=True)
class Remains:
    """first_step, steps: where it began and how many steps it told of (None: it told nothing).  usage: what it had used
    when it last told; None when it never did.

    last_sign_at: when it last wrote anything.  saved_at: when its work was last safe: its newest
    checkpoint, or its start.
    """

    first_step: int
    steps: int | None
    last_sign_at: float
    saved_at: float
    usage: Usage | None = None

    def facts(self, ended_at: float) -> dict[str, Any]:
        """The ledger's fields for an attempt that ended then."""
        steps = {} if self.steps is None else {"steps": self.steps}
        usage = {} if self.usage is None else {"usage": self.usage.to_json()}
        lost_s = round(max(0.0, ended_at - self.saved_at), 6)
        return {"first_step": self.first_step, **steps, "lost_s": lost_s, **usage, "ended_at": iso(ended_at)}


def examine(files: JobFiles, attempt: Attempt) -> Remains:
    """What `attempt` left among its job's `files`. Missing or damaged files only mean that less is known."""
    began_at = attempt.started_at or attempt.dispatched_at
    progress, sample = _progress(files, attempt.number)
    first_step = int(progress.get("first_step", attempt.first_step))
    saves = _own_checkpoints(files.checkpoints, attempt.number)
    step = max([int(progress["step"])] if "step" in progress else [], default=None)
    reached = max([step, *(saved for saved, _ in saves)], default=None, key=lambda one: -1 if one is None else one)
    saved_at = max([began_at, *(at for _, at in saves), *_written_since(began_at, files.manifest)])
    return Remains(
        first_step=first_step,
        steps=None if reached is None else max(0, reached - first_step),
        last_sign_at=max([began_at, saved_at, *_written_since(began_at, files.progress, files.metrics, files.log)]),
        saved_at=saved_at,
        usage=None if sample is None else Usage(sample.wall_s, sample.cpu_s, sample.memory_bytes),
    )


def _progress(files: JobFiles, number: int) -> tuple[dict[str, int], Sample | None]:
    """How far this attempt told it was, and its last sample."""
    try:
        document = documents.parse_object(files.progress.read_bytes())
        steps = {name: documents.whole(document, name, None) for name in ("first_step", "step", "attempt")}
    except (OSError, Malformed):
        return {}, None
    if steps["attempt"] != number:
        return {}, None
    sample = None
    with contextlib.suppress(Malformed):
        sample = Sample.from_json(documents.mapping(document, "sample"))
    return {name: step for name, step in steps.items() if step is not None}, sample


def _own_checkpoints(directory: Path, number: int) -> list[tuple[int, float]]:
    """(step, time) of the checkpoints that this attempt wrote."""
    found = []
    with contextlib.suppress(OSError):  # there is none yet, or one was dropped while we looked
        for entry in os.scandir(directory):
            name = CheckpointName.parse(entry.name)
            if name is not None and name.attempt == number:
                found.append((name.step, entry.stat().st_mtime))
    return found


def _written_since(after: float, *paths: Path) -> list[float]:
    """When each of these files was last written, if that was since."""
    times = []
    for path in paths:
        try:
            at = os.stat(path).st_mtime
        except OSError:
            continue
        if at > after:
            times.append(at)
    return times
