"""What attempts leave behind, and when it goes: so that a job takes no more disk the more often it dies.

    when an attempt begins   temporary files and stages of the attempts before it
    when an attempt ends     its own stage; once the job has succeeded, also checkpoints and parts, which only a
                             further attempt would need

Damaged checkpoints stay, two at most, for whoever wants to know. All the rest goes with the job (`rm`, `prune`).
Nothing here ever fails: what cannot be removed now is removed later.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from singlepoint.jobs.errors import HistoryDamaged
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.spec.job import outputs
from singlepoint.jobs.store.job_files import staged_outputs
from singlepoint.worker.checkpoints import checkpoint
from singlepoint.worker.ground.workplace import Work


def sweep(work: Work) -> None:
    """Remove what earlier attempts did not finish. Raises Superseded unless this attempt is the newest."""
    files = work.files
    with work.fence():  # so that no newer attempt can have begun, whose files these might be
        for place in (files.directory, files.checkpoints, files.result, files.parts):
            for path in place.glob(".*.tmp"):
                _remove(path)
        for path in files.stages():
            _remove(path)
        _remove_staged_outputs(work)
        for path in checkpoint.set_aside(files.checkpoints)[: -checkpoint.KEPT]:
            _remove(path)


def clear_away(work: Work, job: Job) -> None:
    """Remove what nobody needs after the end of `work`, which left `job` as it is."""
    files = work.files
    _remove(files.stage(work.attempt))
    if job.state is not State.PENDING:
        _remove_staged_outputs(work)
    if job.state is State.SUCCEEDED:
        _remove(files.result)
        for path in checkpoint.in_order(files.checkpoints):
            _remove(path)


def _remove_staged_outputs(work: Work) -> None:
    with contextlib.suppress(HistoryDamaged):  # then nobody knows where they would be
        for output in outputs(work.spec):
            for path in staged_outputs(Path(output), work.job.id):
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
