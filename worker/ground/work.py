"""One attempt under way: the value that goes down the pipeline, and the outcome that comes of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from singlepoint.jobs.errors import HistoryDamaged, InvalidInput, Problem, SinglepointError
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job, Terms
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.spec.job import Spec, from_json
from singlepoint.jobs.store.durable import put_in_place
from singlepoint.jobs.store.job_files import SPEC, JobFiles

from .disk import Disk
from .stop_requests import Stop, StopRequests
from .usage import Meter
from .workplace import Workplace


class Stopped(Exception):
    """The work has stopped, on request, with its state saved."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.value)
        self.stop = stop


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: the move to make, its facts, and what to publish in the same breath.

    publish runs while the history's lock is held and this attempt is known to be the newest; what it returns
    becomes part of the move's facts.
    """

    event: Event
    facts: Mapping[str, Any]
    publish: Callable[[], Mapping[str, Any]] | None = None


@dataclass
class Work:
    """One attempt under way, passed along the pipeline.

    lock: the descriptor that holds the job's kernel lock.
    step, first_step: where it stands and where it began, for the ledger, whatever happens to it.
    """

    place: Workplace
    job: Job
    attempt: int
    lock: int
    stops: StopRequests
    meter: Meter
    log: logging.Logger
    first_step: int = 0
    step: int = 0
    _next_report: float = field(default=0.0)

    @cached_property
    def spec(self) -> Spec:
        """What was asked for. Raises HistoryDamaged when that is not what is stored, or cannot be read."""
        content = self.place.store.accepted_spec(self.job)
        try:
            return from_json(content)
        except (ValueError, KeyError, TypeError):
            problem = Problem(f"jobs/{self.job.id}/{SPEC}", "is damaged", "submit the job again")
            raise HistoryDamaged(problem) from None

    @cached_property
    def _disk(self) -> Disk:
        return Disk.of_job(self.place.home, self.spec, self.job)

    @property
    def files(self) -> JobFiles:
        return self.place.home.job_files(self.job.id)

    @property
    def directory(self) -> Path:
        return self.files.directory

    @property
    def terms(self) -> Terms:
        return self.stops.terms

    @contextmanager
    def fence(self) -> Iterator[None]:
        """Held while something gets its final name; raises Superseded unless this attempt is the newest."""
        with self.place.store.locked_history(self.job.id) as history:
            history.require_newest(self.attempt)
            yield

    def settle_on(self, **facts: Any) -> Mapping[str, Any]:
        """Record facts that every later attempt must obey, once; answers the recorded ones.

        Raises InvalidInput when a recorded fact differs: other data must not continue this job.
        """
        self.stops.look()
        recorded = self.stops.job.facts
        for name, value in facts.items():
            if name in recorded and recorded[name] != value:
                raise InvalidInput(
                    Problem(name, f"was {recorded[name]} when this job first ran and is {value} now", _CHANGED)
                )
        new = {name: value for name, value in facts.items() if name not in recorded}
        if new:
            self.record(**new)
        return {**recorded, **new}

    def record(self, **facts: Any) -> None:
        """Write facts of the job down, whatever was recorded under their names before."""
        with self.place.store.locked_history(self.job.id) as history:
            history.require_newest(self.attempt)
            history.append(Note.RECORD, self.place.clock(), {"attempt": self.attempt, "facts": facts})

    def report(self, total: int, *, every_s: float = 0.5, **more: Any) -> None:
        """Tell how far the work is, at most every `every_s` seconds; never waits for Redis. Raises Superseded."""
        now_s = self.place.monotonic()
        if now_s < self._next_report:
            return
        self._next_report = now_s + every_s
        self.stops.look()  # whoever was stopped for long and replaced must not tell anything any more
        sample = replace(
            self.meter.sample(self.attempt, self.place.clock()),
            progress=round(self.step / total, 6) if total else 0.0,
            began_progress=round(self.first_step / total, 6) if total else 0.0,
            storage_bytes=self._disk.used_bytes(),
        )
        progress = {
            "progress": round(sample.progress, 4),
            "step": self.step,
            "total": total,
            **more,
            "sample": sample.to_json(),
        }
        write_progress(self.files.progress, {**progress, "attempt": self.attempt, "first_step": self.first_step})
        if not self.place.index.report_progress(self.job.id, progress):
            self._next_report = now_s + 5.0  # Redis is away: the file above tells, and the work goes on


_CHANGED = "restore what it was, or submit a new job"


def write_progress(path: Path, document: Mapping[str, Any]) -> None:
    """`progress.json`, whole or not at all; not fsynced, and given up on a full disk: it is but a figure."""
    with (
        suppress(OSError, SinglepointError),
        put_in_place(path, point="progress", lasting=False) as file,
    ):
        file.write(json.dumps(document).encode())
