"""What a command left behind whose pool was killed, with no supervisor above to end it: processes that hold their job's
lock, for which the job would wait as long as they like to live, or have got rid of that, too.

They are known by what all processes of a command carry in their environment, the job's id: an attempt, which holds the
lock as well, does not. Found where the system lets us look (Linux).
"""

from __future__ import annotations

import functools
import logging
from collections import defaultdict
from pathlib import Path

import psutil

from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_files import LOCK
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.worker.attempt.job_lock import held_lock
from singlepoint.worker.ground import tree
from singlepoint.worker.programs import memory_group

log = logging.getLogger("singlepoint.worker")


def end_orphans(home: Home) -> None:
    """End the processes of each command of this home that alone hold its job's lock."""
    for job_id, holders in _holders(home.jobs.resolve()).items():
        if holders <= set(tree.carrying(job_id)):
            log.warning("orphans_ended job=%s orphans=%d", job_id, len(holders))
            tree.end_all(functools.partial(tree.carrying, job_id))
    if place := memory_group.place():
        _end_what_is_in(place, JobStore(home))


def _end_what_is_in(place: memory_group.Place, store: JobStore) -> None:
    """What has neither the lock nor the environment is still in its command's control group, where there is one."""
    for job_id in place.names():
        if not (store.home.jobs / job_id).is_dir() or store.is_being_worked_on(job_id):
            continue  # of another home, or at work
        with held_lock(store, job_id) as lock:  # so that no attempt begins meanwhile
            if lock is not None:
                place.group(job_id).end()


def _holders(jobs: Path) -> dict[str, set[int]]:
    """job id -> the processes that have its lock open."""
    found: dict[str, set[int]] = defaultdict(set)
    for process in psutil.process_iter():
        try:
            paths = [Path(file.path) for file in process.open_files()]
        except (psutil.Error, OSError):  # somebody else's, or gone
            continue
        for path in paths:
            if path.name == LOCK and path.parent.parent == jobs:
                found[path.parent.name].add(process.pid)
    return found
