"""The kernel lock on a job's directory, held by an attempt from claim to settle, so that no job runs twice at once.

Every child inherits it, so it is free only once all of them are gone; the kernel lets go of it however they end.
Nobody ever breaks it. Whether somebody holds it is asked by `JobStore.is_being_worked_on`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from singlepoint.jobs.errors import NotFound
from singlepoint.jobs.store.job_store import JobStore

LOCK_PATIENCE_S = 2.0
"""How long a claim waits for the job's lock: somebody may be probing it for an instant."""


@contextlib.contextmanager
def held_lock(store: JobStore, job_id: str) -> Iterator[int | None]:
    """Hold the job's kernel lock, by a descriptor; None when another attempt, or a child it left, has it.

    Children inherit the descriptor, so the lock is free only once all of them are gone.
    """
    try:
        descriptor = os.open(store.lock_path(job_id), os.O_RDWR | os.O_CREAT, 0o600)
    except (FileNotFoundError, NotFound):  # the job was removed, or never was
        yield None
        return
    try:
        yield descriptor if _locked(descriptor) else None
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        else:
            return True
