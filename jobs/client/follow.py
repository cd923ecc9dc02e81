"""Waiting for jobs to end, and reading their logs as they grow.

Both look at the directories alone (a file's size, twenty times a second), so they go on while Redis is away.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from singlepoint.jobs.errors import EXIT_CANCELLED, EXIT_JOB_FAILED, EXIT_OK
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.store.job_store import JobStore

LOOK_EVERY_S = 0.05

_UTF_8 = codecs.getincrementaldecoder("utf-8")

EXIT_CODES: dict[State, int] = {
    State.SUCCEEDED: EXIT_OK,
    State.FAILED: EXIT_JOB_FAILED,
    State.CANCELLED: EXIT_CANCELLED,
}
"""The code of a command that answers for a job."""


def wait_for(
    store: JobStore,
    ids: Iterable[str],
    timeout_s: float | None = None,
    *,
    between: Callable[[], None] = lambda: time.sleep(LOOK_EVERY_S),
    clock: Callable[[], float] = time.monotonic,
) -> list[Job]:
    """The jobs, once all are final or the time is up; raises NotFound for one that is removed meanwhile."""
    sizes: dict[str, int] = {}
    jobs: dict[str, Job] = {job_id: store.load(job_id) for job_id in ids}
    until = None if timeout_s is None else clock() + timeout_s
    while True:
        for job_id in [job.id for job in jobs.values() if not job.is_final]:
            size = store.size(job_id)
            if sizes.get(job_id) != size:
                sizes[job_id] = size
                jobs[job_id] = store.load(job_id)
        if all(job.is_final for job in jobs.values()) or (until is not None and clock() >= until):
            return list(jobs.values())
        between()


class Log:
    """A job's log, read from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self._decoder = _UTF_8(errors="replace")

    def rest(self, *, last: bool = False) -> str:
        """What has been written since; all of it again when the file was cut. last: nothing will follow, for which the
        first bytes of a character would have to wait."""
        try:
            with open(self.path, "rb") as file:
                if file.seek(0, 2) < self.position:
                    self.position = 0
                    self._decoder.reset()
                file.seek(self.position)
                content = file.read()
        except FileNotFoundError:
            return ""
        self.position += len(content)
        return self._decoder.decode(content, final=last)


def follow(store: JobStore, job_id: str, write: Callable[[str], None]) -> Job:
    """Pass a job's log on to `write` as it grows, until the job has ended; the job as it ended."""
    log = Log(log_path(store, job_id))

    def read_on(*, last: bool = False) -> None:
        if text := log.rest(last=last):
            write(text)

    def between() -> None:
        read_on()
        time.sleep(LOOK_EVERY_S)

    [job] = wait_for(store, [job_id], between=between)
    read_on(last=True)
    return job


def log_path(store: JobStore, job_id: str) -> Path:
    return store.home.job_files(job_id).log
