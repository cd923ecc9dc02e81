"""What attempts leave behind, and when it goes: so that a job takes no more disk the more often it dies.

    when an attempt begins   temporary files and stages of the attempts before it
    when an attempt ends     its own stage; once the job has ended, also its prepared rows; once it has succeeded, also
                             checkpoints and parts, which only a further attempt would need, and a command's variables

Damaged checkpoints stay, two at most, for whoever wants to know. All the rest goes with the job (`rm`, `prune`).
Nothing here ever fails: what cannot be removed now is removed later.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from singlepoint.jobs.errors import HistoryDamaged
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.spec.job import outputs
from singlepoint.jobs.store.durable import remove_if_possible
from singlepoint.jobs.store.job_files import staged_outputs
from singlepoint.worker.checkpoints import checkpoint
from singlepoint.worker.fitting import shared
from singlepoint.worker.ground.work import Work
from singlepoint.worker.kinds.table import RUNS_PROGRAMS


def sweep(work: Work) -> None:
    """Remove what earlier attempts did not finish. Raises Superseded unless this attempt is the newest."""
    files = work.files
    saves_itself = work.job.kind in RUNS_PROGRAMS  # what lies among its checkpoints is the program's business
    with work.fence():  # so that no newer attempt can have begun, whose files these might be
        for place in (files.directory, files.result, files.parts, *(() if saves_itself else (files.checkpoints,))):
            for path in place.glob(".*.tmp"):
                remove_if_possible(path)
        for path in files.stages():
            remove_if_possible(path)
        _remove_staged_outputs(work)
        for path in () if saves_itself else checkpoint.set_aside(files.checkpoints)[: -checkpoint.KEPT]:
            remove_if_possible(path)


def clear_away(work: Work, job: Job) -> None:
    """Remove what nobody needs after the end of `work`, which left `job` as it is."""
    files = work.files
    remove_if_possible(files.stage(work.attempt))
    if job.state is not State.PENDING:
        _remove_staged_outputs(work)
        remove_if_possible(files.prepared)
        shared.make_room(work.place.home)
    if job.state is State.SUCCEEDED:
        for path in (files.result, files.told, files.environment):
            remove_if_possible(path)
        for path in [files.checkpoints] if work.job.kind in RUNS_PROGRAMS else checkpoint.in_order(files.checkpoints):
            remove_if_possible(path)


def _remove_staged_outputs(work: Work) -> None:
    with contextlib.suppress(HistoryDamaged):  # then nobody knows where they would be
        for output in outputs(work.spec):
            for path in staged_outputs(Path(output), work.job.id):
                remove_if_possible(path)
