"""What a dead attempt left on disk: how far it was, when it last gave a sign of life, what has to be done again.

Read by whoever writes down a death that the attempt could not: the process above it, or the scheduler.
Nothing of that is needed for the job to go on; it is for the ledger. Here too: what an attempt may leave
outside its job's directory.
"""

from __future__ import annotations

import glob
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle.records import Attempt

_CHECKPOINT = re.compile(r"^(\d+)-(\d+)\.safetensors$")
_SIGNS = ("progress.json", "metrics.jsonl", "log.txt")


@dataclass(frozen=True)
class Remains:
    """first_step, steps: where it began and how many steps it told of (None: it told nothing).

    last_sign_at: when it last wrote anything.  saved_at: when its work was last safe: its newest
    checkpoint, or its start.
    """

    first_step: int
    steps: int | None
    last_sign_at: float
    saved_at: float

    def facts(self, ended_at: float) -> dict[str, Any]:
        """The ledger's fields for an attempt that ended then."""
        steps = {} if self.steps is None else {"steps": self.steps}
        lost_s = round(max(0.0, ended_at - self.saved_at), 6)
        return {"first_step": self.first_step, **steps, "lost_s": lost_s, "ended_at": iso(ended_at)}


def examine(directory: Path, attempt: Attempt) -> Remains:
    """What `attempt` left in its job's `directory`. Missing or damaged files only mean that less is known."""
    began_at = attempt.started_at or attempt.dispatched_at
    progress = _progress(directory, attempt.number)
    first_step = int(progress.get("first_step", attempt.first_step))
    saves = _own_checkpoints(directory / "checkpoints", attempt.number)
    step = max([int(progress["step"])] if "step" in progress else [], default=None)
    reached = max([step, *(saved for saved, _ in saves)], default=None, key=lambda one: -1 if one is None else one)
    saved_at = max([began_at, *(at for _, at in saves), *_counted(directory, began_at)])
    return Remains(
        first_step=first_step,
        steps=None if reached is None else max(0, reached - first_step),
        last_sign_at=max([began_at, saved_at, *_written(directory, began_at)]),
        saved_at=saved_at,
    )


def staged_output(output: Path, job_id: str, attempt: int) -> Path:
    """Where an attempt puts a prediction together: beside its output, so that one rename gives it its name."""
    return output.with_name(f".{output.name}.{job_id}-{attempt}.tmp")


def staged_outputs(output: Path, job_id: str) -> list[Path]:
    """What attempts of a job have staged beside its output and not renamed."""
    return sorted(output.parent.glob(f".{glob.escape(output.name)}.{job_id}-*.tmp"))


def _progress(directory: Path, number: int) -> dict[str, Any]:
    try:
        document = json.loads((directory / "progress.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) and document.get("attempt") == number else {}


def _own_checkpoints(directory: Path, number: int) -> list[tuple[int, float]]:
    """(step, time) of the checkpoints that this attempt wrote."""
    found = []
    try:
        for entry in os.scandir(directory):
            match = _CHECKPOINT.match(entry.name)
            if match and int(match[2]) == number:
                found.append((int(match[1]), entry.stat().st_mtime))
    except OSError:
        pass  # none yet, or one was dropped while we looked
    return found


def _counted(directory: Path, after: float) -> list[float]:
    """When a prediction last counted rows, if that was since it began."""
    try:
        at = os.stat(directory / "result" / "parts" / "manifest.jsonl").st_mtime
    except OSError:
        return []
    return [at] if at > after else []


def _written(directory: Path, after: float) -> list[float]:
    """When the files that an attempt keeps writing were last written, if that was since it began."""
    times = []
    for name in _SIGNS:
        try:
            at = os.stat(directory / name).st_mtime
        except OSError:
            continue
        if at > after:
            times.append(at)
    return times
