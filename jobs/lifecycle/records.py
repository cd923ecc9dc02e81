"""The values that scheduler, worker and client exchange. All frozen; nothing here reads a clock or a file.

`Terms` is what the scheduler grants an attempt, `Usage` what the attempt really used. A `Job` is the fold
of its history (`history.fold`), never edited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self, TypeVar

from singlepoint.jobs import documents
from singlepoint.jobs.clock import iso

from .account import Account
from .dependencies import After
from .states import FINAL, Ask, Author, State

UNLIMITED = 2**62
"""A capacity nobody set a limit on."""

_JOB_ID = re.compile(r"[a-z0-9]{1,64}")
MOST_CORES = 2**16
MOST_COUNTED = 4096

Counted = tuple[tuple[str, int], ...]
"""Names of resources that are counted, and how many; sorted by name."""

Units = Mapping[str, tuple[int, ...]]
"""Of resources that are counted, which ones: their numbers, from 0, by name."""


def is_job_id(word: str) -> bool:
    """Whether `word` may be the id of a job: nothing else names a directory, a key or a queue's entry."""
    return _JOB_ID.fullmatch(word) is not None


if TYPE_CHECKING:
    from dataclasses import replace

    changed = replace
else:
    _Record = TypeVar("_Record")

    def changed(record: _Record, **changes: Any) -> _Record:
        """`dataclasses.replace`, in a sixth of its time: a start folds every history there is, field by field."""
        new = object.__new__(type(record))
        new.__dict__.update(record.__dict__, **changes)
        return new


@dataclass(frozen=True)
class Resources:
    """A vector of amounts, in whole numbers so that sums never drift.

    cpu_millis: thousandths of a core.  memory_bytes: anonymous and shared memory, not the page cache.
    storage_bytes: disk the job may add.  network_bytes_s: bytes a second.  counted: of what the owner names besides
    (`gpu`, licences), how many; sorted by name, without those there are none of.
    """

    cpu_millis: int = 0
    memory_bytes: int = 0
    storage_bytes: int = 0
    network_bytes_s: int = 0
    counted: Counted = ()

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.cpu_millis + other.cpu_millis,
            self.memory_bytes + other.memory_bytes,
            self.storage_bytes + other.storage_bytes,
            self.network_bytes_s + other.network_bytes_s,
            _added(self.counted, other.counted, 1),
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.cpu_millis - other.cpu_millis,
            self.memory_bytes - other.memory_bytes,
            self.storage_bytes - other.storage_bytes,
            self.network_bytes_s - other.network_bytes_s,
            _added(self.counted, other.counted, -1),
        )

    def amounts(self) -> tuple[int, ...]:
        """Of RESOURCE_NAMES; what is counted is not among them."""
        return (self.cpu_millis, self.memory_bytes, self.storage_bytes, self.network_bytes_s)

    def fits_in(self, room: Resources) -> bool:
        return (
            self.cpu_millis <= room.cpu_millis
            and self.memory_bytes <= room.memory_bytes
            and self.storage_bytes <= room.storage_bytes
            and self.network_bytes_s <= room.network_bytes_s
            and (not (self.counted or room.counted) or not self.lacking_in(room))
        )

    def of(self, name: str) -> int:
        """The amount of one resource, by its name in RESOURCE_NAMES or as it is counted."""
        return int(getattr(self, name)) if name in RESOURCE_NAMES else dict(self.counted).get(name, 0)

    def names(self) -> tuple[str, ...]:
        """Of all resources that it says something of."""
        return (*RESOURCE_NAMES, *(name for name, _ in self.counted))

    def above_nothing(self) -> Resources:
        """Without what is negative."""
        counted = tuple((name, count) for name, count in self.counted if count > 0)
        return Resources.made_of([max(0, amount) for amount in self.amounts()], counted)

    def lacking_in(self, room: Resources) -> tuple[str, ...]:
        """The names of the resources of which `room` has too little."""
        return tuple(name for name in dict.fromkeys((*self.names(), *room.names())) if self.of(name) > room.of(name))

    def to_json(self) -> dict[str, Any]:
        known = {name: amount for name, amount in zip(RESOURCE_NAMES, self.amounts(), strict=True) if amount}
        return {**known, "counted": dict(self.counted)} if self.counted else known

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Raises documents.Malformed, as the others below do."""
        counted = documents.mapping(document, "counted", {})
        counts = {name: documents.whole(counted, name) for name in counted}
        return cls.made_of([documents.whole(document, name, 0) for name in RESOURCE_NAMES], as_counted(counts))

    @classmethod
    def made_of(cls, amounts: Iterable[int], counted: Counted = ()) -> Self:
        """amounts: of RESOURCE_NAMES, in their order."""
        cpu_millis, memory_bytes, storage_bytes, network_bytes_s = amounts
        return cls(cpu_millis, memory_bytes, storage_bytes, network_bytes_s, counted)


RESOURCE_NAMES: tuple[str, ...] = tuple(f.name for f in fields(Resources) if f.name != "counted")


def as_counted(counts: Mapping[str, int]) -> Counted:
    return tuple(sorted((name, count) for name, count in counts.items() if count))


def _added(counted: Counted, other: Counted, sign: int) -> Counted:
    if not other:
        return counted
    sums = dict(counted)
    for name, count in other:
        sums[name] = sums.get(name, 0) + sign * count
    return as_counted(sums)


def granted_of(asked: Resources, grown: bool, room: Resources) -> Resources:
    """What a dispatch takes of a request: whole cores; memory that grew by itself, at most all there is.

    grown: the request was raised because an attempt ran out of memory.  room: what jobs may have, all together.
    """
    cores = max(1, -(-asked.cpu_millis // 1000))
    memory_bytes = min(asked.memory_bytes, room.memory_bytes) if grown else asked.memory_bytes
    return Resources(1000 * cores, memory_bytes, asked.storage_bytes, asked.network_bytes_s, asked.counted)


@dataclass(frozen=True)
class Terms:
    """What the scheduler grants one attempt.

    cores: the ids of the cores it may run on.  units: of each resource that is counted here, the numbers of those it
    has, from 0; none of those that it did not ask for.  revision: counts up when the terms of a running attempt
    change; it reads them again at each checkpoint.  checkpoint_interval_s: seconds of work between saves, until
    the attempt has measured what a save costs.  failure_rate_per_s: λ as learned on this machine, from which and
    the measured cost the attempt sets its interval afterwards (`interval.checkpoint_interval_s`).
    """

    resources: Resources
    cores: tuple[int, ...] = ()
    checkpoint_interval_s: float = 10.0
    failure_rate_per_s: float = 0.0
    revision: int = 0
    units: Units = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "resources": self.resources.to_json(),
            "cores": list(self.cores),
            "checkpoint_interval_s": self.checkpoint_interval_s,
            "failure_rate_per_s": self.failure_rate_per_s,
            "revision": self.revision,
            **({"units": {name: list(numbers) for name, numbers in self.units.items()}} if self.units else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Terms:
        return cls(
            resources=Resources.from_json(documents.mapping(document, "resources")),
            cores=documents.wholes(document, "cores", most=MOST_CORES),
            checkpoint_interval_s=documents.number(document, "checkpoint_interval_s"),
            failure_rate_per_s=documents.number(document, "failure_rate_per_s"),
            revision=documents.whole(document, "revision"),
            units=_units(documents.mapping(document, "units", {})),
        )


def _units(document: Mapping[str, Any]) -> Units:
    return {name: documents.wholes(document, name, most=MOST_COUNTED) for name in document}


@dataclass(frozen=True)
class Usage:
    """What one attempt used.

    wall_s, cpu_s: seconds.  peak_memory_bytes: high-water mark of its memory.  saves: checkpoints written;
    save_s: seconds of work one of them cost (mean); overhead_s: what all of them cost together.  pauses: how often
    it gave its cores back and kept its memory; pause_s: seconds that took, there and back again (mean).
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    saves: int = 0
    save_s: float = 0.0
    overhead_s: float = 0.0
    pauses: int = 0
    pause_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            wall_s=documents.number(document, "wall_s", 0.0),
            cpu_s=documents.number(document, "cpu_s", 0.0),
            peak_memory_bytes=documents.whole(document, "peak_memory_bytes", 0),
            saves=documents.whole(document, "saves", 0),
            save_s=documents.number(document, "save_s", 0.0),
            overhead_s=documents.number(document, "overhead_s", 0.0),
            pauses=documents.whole(document, "pauses", 0),
            pause_s=documents.number(document, "pause_s", 0.0),
        )


@dataclass(frozen=True)
class Sample:
    """What a running attempt has done and used so far, told about once a second: a figure only, late or lost at times.

    at: when it was taken.  progress: 0..1, and began_progress: where the attempt took it up.  wall_s, cpu_s: seconds
    since the attempt began.  memory_bytes: in use now.  storage_bytes: in its job's directory.
    """

    attempt: int
    at: float
    progress: float = 0.0
    began_progress: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    storage_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"at": iso(self.at)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            attempt=documents.whole(document, "attempt", least=1),
            at=documents.time(document, "at"),
            progress=documents.number(document, "progress", 0.0, most=1.0),
            began_progress=documents.number(document, "began_progress", 0.0, most=1.0),
            wall_s=documents.number(document, "wall_s", 0.0),
            cpu_s=documents.number(document, "cpu_s", 0.0),
            memory_bytes=documents.whole(document, "memory_bytes", 0),
            storage_bytes=documents.whole(document, "storage_bytes", 0),
        )


@dataclass(frozen=True)
class Asked:
    """When an attempt was asked to stop, and by whom: a pause of the scheduler's is no hold of the user's."""

    at: float
    by: Author = Author.USER


@dataclass(frozen=True)
class Attempt:
    """One run of a job.

    end: one word for how it ended (`succeeded`, `failed`, `killed`, `out_of_memory`, `preempted`,
    `drained`, `cancelled`, `lost`: dispatched but never begun, `host_restart`), or None while it goes on.
    first_step, steps: where it began and how many steps it did.  lost_s: seconds of work that have to be
    done again.  recovery_s: from its end until the next attempt ran.
    paused_at: since when it stands still.  paused_s: how long it stood still before.
    """

    number: int
    dispatched_at: float
    terms: Terms
    started_at: float | None = None
    ended_at: float | None = None
    end: str | None = None
    cause: str | None = None
    worker: str | None = None
    boot_id: str | None = None
    first_step: int = 0
    steps: int | None = None
    lost_s: float | None = None
    recovery_s: float | None = None
    usage: Usage | None = None
    paused_at: float | None = None
    paused_s: float = 0.0

    def worked_s(self, now: float) -> float:
        """Seconds from its start until its end, or now, without those it stood still."""
        if self.started_at is None:
            return 0.0
        end = self.ended_at if self.ended_at is not None else now
        stood_still_s = self.paused_s + (max(0.0, end - self.paused_at) if self.paused_at is not None else 0.0)
        return max(0.0, end - self.started_at - stood_still_s)


@dataclass(frozen=True)
class Job:
    """One thing asked for, as its history tells it.

    requests: what it asks of the budget.  memory_from: where what it asks of memory comes from (`spec.common`), `""`
    in histories of version 0.1.  attempt: the newest attempt's number, 0 before the first.
    asks: what a running attempt has been asked and has not answered.  held: not to be dispatched until
    resumed.  paused: running, but stopped with its memory kept.  begin_at: when the first attempt may start at the
    earliest, as its owner wishes; not_before: the next one, after a failure.  deadline_at: when it should have ended.
    unique: a key that no other living job bears.  preemptible: whether it may be put down for other work.
    like: the same for jobs that take alike (`spec.likeness`), and work: how much of it there is to do (`spec.work`).
    reckoned_s: seconds of one core by a plain model of the work (`spec.common.Checked`); 0 where there is none.
    fresh_after: checkpoints of attempts up to this number must not be used.  retried_after: attempts up to this
    number were made before the job was last retried.
    round: what the attempts came to that ended since then.  worked_s: seconds that all worked that ended.  save_s: what
    a save cost the last of them that saved.  has_grown: whether it asks for more memory than its owner did, since one
    ran out of it.
    retries: failures that may still be tried again.  after: what it waits for before its first attempt.
    spec_sha256: of the stored spec's bytes, `""` in histories of version 0.1.
    result: the winner's `path` and `sha256`.  size: bytes of history this view was folded from.
    """

    id: str
    name: str
    kind: str
    state: State
    submitted_at: float
    requests: Resources
    priority: int = 0
    retries: int = 0
    failures: int = 0
    after: tuple[After, ...] = ()
    fingerprint: str = ""
    spec_sha256: str = ""
    like: str = ""
    work: float = 0.0
    reckoned_s: float = 0.0
    memory_from: str = ""
    project: str = ""
    attempts: tuple[Attempt, ...] = ()
    asks: Mapping[Ask, Asked] = field(default_factory=dict)
    held: bool = False
    paused: bool = False
    fresh_after: int = 0
    retried_after: int = 0
    round: Account = field(default_factory=Account)
    worked_s: float = 0.0
    save_s: float | None = None
    has_grown: bool = False
    begin_at: float = 0.0
    not_before: float = 0.0
    deadline_at: float | None = None
    unique: str = ""
    preemptible: bool = True
    ended_at: float | None = None
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] | None = None
    bit_identical: bool | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0

    @property
    def attempt(self) -> int:
        return self.attempts[-1].number if self.attempts else 0

    @property
    def newest(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def terms(self) -> Terms | None:
        return self.attempts[-1].terms if self.attempts else None

    @property
    def started_at(self) -> float | None:
        return next((a.started_at for a in self.attempts if a.started_at is not None), None)

    def is_asked(self, ask: Ask, by: Author) -> bool:
        """Whether this author has asked for it, and it was not answered or taken back."""
        return ask in self.asks and self.asks[ask].by is by

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    def with_attempt(self, **changes: Any) -> Job:
        """The job with its newest attempt changed."""
        return changed(self, attempts=(*self.attempts[:-1], changed(self.attempts[-1], **changes)))
