"""At most one living job bears a key: who submits, or sends round again, looks and writes under one lock of the home.

The key stands in the first line of a job's history and nowhere else, so there is nothing that a crash could leave
behind: whoever looks reads the beginnings of the jobs that go on. The lock is the kernel's, and ends with its holder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from singlepoint.jobs.errors import HistoryDamaged, NotFound, NotNow
from singlepoint.jobs.lifecycle.records import Job

from .durable import explained
from .job_store import JobStore

PATIENCE_S = 10.0
"""How long to wait while others accept jobs that have a key; each takes some milliseconds."""


@contextlib.contextmanager
def alone_with(store: JobStore, key: str) -> Iterator[Job | None]:
    """Nobody else accepts a job with a key meanwhile. The living job that bears this one, None when none does.

    `""` is no key, and needs no lock. Raises NotNow when patience is over.
    """
    if not key:
        yield None
        return
    path = store.home.lock("unique")
    with explained(path):
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(lock)
        yield next(_living(store, key), None)
    finally:
        os.close(lock)


def _wait_for(lock: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                hint = "a process that submits stands still: wake it (kill -CONT) or end it (kill -KILL)"
                raise NotNow(f"unique.lock has been held for {PATIENCE_S:g} s", hint=hint) from None
            time.sleep(0.002)


def _living(store: JobStore, key: str) -> Iterator[Job]:
    for job_id in store.unlisted_ids():
        if store.began(job_id).get("unique") == key:
            with contextlib.suppress(NotFound, HistoryDamaged):
                job = store.load(job_id)
                if not job.is_final:
                    yield job
