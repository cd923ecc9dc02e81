"""The home's ledger as values: a line for each end of a job, and what its attempts came to. Pure; `store` has the file.

The ledger is two things at once: the list of the jobs that have ended, by their end, and what the home has learned
from all that ever ran (how long attempts survive, what like jobs took), which outlives the jobs. A line is one JSON
object: an `Entry`, or `{"id", "gone"}` for a job that has ended no longer (`retried`) or is no longer there
(`removed`). The last line of a job says how it stands. A job that was retried and ends again has another entry, of
its newer attempts only, so that all entries together count every attempt once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from singlepoint.jobs import documents
from singlepoint.jobs.clock import iso

from .records import Attempt, Job
from .retry import OWN_FAULT, is_quarantined
from .states import FINAL, State

RETRIED, REMOVED = "retried", "removed"

Amounts = Mapping[str, float]
"""Resources by the names of `Resources`, each times seconds."""


@dataclass(frozen=True)
class Account:
    """What ended attempts came to; accounts add up.

    ends: how many ended how.  blameless_ends: of these, those that were not the job's own doing.  wall_s: how long they
    ran, cpu_s what they used of the processor.  peak_memory_bytes: the most any of them used.  saves, saving_s:
    checkpoints and what they cost the work.  lost_s: work that had to be done again.  reserved, used, useful: what
    was granted, used, and used to some end, in amounts times seconds.  began_at: when the first was dispatched.
    """

    ends: Mapping[str, float] = field(default_factory=dict)
    blameless_ends: Mapping[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    steps: int = 0
    saves: int = 0
    saving_s: float = 0.0
    lost_s: float = 0.0
    reserved: Amounts = field(default_factory=dict)
    used: Amounts = field(default_factory=dict)
    useful: Amounts = field(default_factory=dict)
    began_at: float | None = None

    def __add__(self, other: Account) -> Account:
        began = [at for at in (self.began_at, other.began_at) if at is not None]
        return Account(
            **{name: getattr(self, name) + getattr(other, name) for name in _NUMBERS},
            **{name: _added(getattr(self, name), getattr(other, name)) for name in _MAPS},
            peak_memory_bytes=max(self.peak_memory_bytes, other.peak_memory_bytes),
            began_at=min(began, default=None),
        )

    def to_json(self) -> dict[str, Any]:
        """Without what is nothing."""
        document = {name: _rounded(value) for name, value in vars(self).items() if value}
        return document | ({"began_at": iso(self.began_at)} if self.began_at is not None else {})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Raises documents.Malformed."""
        read: dict[str, Any] = {name: documents.number(document, name, 0) for name in _NUMBERS}
        read |= {name: documents.figures(document, name, {}) for name in _MAPS}
        return cls(
            **read,
            peak_memory_bytes=documents.whole(document, "peak_memory_bytes", 0),
            began_at=documents.time(document, "began_at", None),
        )


_NUMBERS = ("wall_s", "cpu_s", "steps", "saves", "saving_s", "lost_s")
_MAPS = ("ends", "blameless_ends", "reserved", "used", "useful")


def _added(one: Mapping[str, float], other: Mapping[str, float]) -> Any:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def account(attempts: Iterable[Attempt], *, quarantined: bool = False) -> Account:
    """What the ended ones of `attempts` came to.

    quarantined: their job fails by its own doing, so that it ran out of memory says nothing of this machine.
    """
    ended = [one for one in attempts if one.ended_at is not None]
    own = OWN_FAULT | ({"out_of_memory"} if quarantined else set())
    ran = [one for one in ended if one.started_at is not None]
    usages = [one.usage for one in ended if one.usage is not None]
    return Account(
        ends=Counter(one.end for one in ended if one.end),
        blameless_ends=Counter(one.end for one in ran if one.end and one.end not in own),
        wall_s=sum(max(0.0, (one.ended_at or 0.0) - (one.started_at or 0.0)) for one in ran),
        cpu_s=sum(usage.cpu_s for usage in usages),
        peak_memory_bytes=max((usage.peak_memory_bytes for usage in usages), default=0),
        steps=sum(one.steps or 0 for one in ended),
        saves=sum(usage.saves for usage in usages),
        saving_s=sum(usage.overhead_s for usage in usages),
        lost_s=sum(one.lost_s or 0.0 for one in ended),
        **_readings(ended),
        began_at=min((one.dispatched_at for one in ended), default=None),
    )


def _readings(ended: Iterable[Attempt]) -> Any:
    sums: dict[str, dict[str, float]] = {"reserved": {}, "used": {}, "useful": {}}
    for one in ended:
        amounts = used_amounts(one)
        share = useful_share(one)
        sums["reserved"] = _added(sums["reserved"], reserved_amounts(one))
        sums["used"] = _added(sums["used"], amounts)
        sums["useful"] = _added(sums["useful"], {name: share * amount for name, amount in amounts.items()})
    return sums


def _held_s(attempt: Attempt) -> float:
    return max(0.0, (attempt.ended_at or attempt.dispatched_at) - attempt.dispatched_at)


def reserved_amounts(attempt: Attempt) -> Amounts:
    """What an ended attempt was granted, times the seconds it held it."""
    granted = attempt.terms.resources
    return {name: amount * _held_s(attempt) for name, amount in vars(granted).items() if amount}


def used_amounts(attempt: Attempt) -> Amounts:
    """What an ended attempt measured of itself, times the seconds it held it."""
    if attempt.usage is None or attempt.ended_at is None:
        return {}
    memory = attempt.usage.peak_memory_bytes * _held_s(attempt)
    return {"cpu_millis": 1000 * attempt.usage.cpu_s, "memory_bytes": memory}


def useful_share(attempt: Attempt) -> float:
    """Which part of an attempt's time moved its job on: 0..1; 1 while nothing else is known."""
    if attempt.end in OWN_FAULT:
        return 0.0
    if attempt.started_at is None or attempt.ended_at is None:
        return 1.0
    wall_s = attempt.ended_at - attempt.started_at
    wasted_s = (attempt.lost_s or 0.0) + (attempt.usage.overhead_s if attempt.usage else 0.0)
    return max(0.0, 1 - wasted_s / wall_s) if wall_s > 0 else 1.0


@dataclass(frozen=True)
class Entry:
    """One end of a job.

    size: bytes of history it was folded from.  attempt: the newest one's number.  like: what jobs have in common that
    take alike (`spec.likeness`).  cores: what its newest attempt was granted.  account: of the attempts since it was
    last retried.
    """

    id: str
    size: int
    name: str
    kind: str
    state: State
    submitted_at: float
    ended_at: float
    attempt: int = 0
    like: str = ""
    cores: int = 0
    account: Account = field(default_factory=Account)

    @classmethod
    def of(cls, job: Job) -> Self:
        """The entry of a job that has ended."""
        return cls(
            id=job.id,
            size=job.size,
            name=job.name,
            kind=job.kind,
            state=job.state,
            submitted_at=job.submitted_at,
            ended_at=job.ended_at or job.submitted_at,
            attempt=job.attempt,
            like=job.like,
            cores=len(job.terms.cores) if job.terms else 0,
            account=account_of_round(job),
        )

    def line(self) -> bytes:
        """The line in the ledger; `id` and `size` come first, for `sizes` finds them without reading the rest."""
        known = {"like": self.like, "cores": self.cores, "attempt": self.attempt}
        document = {
            "id": self.id,
            "size": self.size,
            "state": self.state.value,
            "name": self.name,
            "kind": self.kind,
            "submitted_at": iso(self.submitted_at),
            "ended_at": iso(self.ended_at),
            **{name: value for name, value in known.items() if value},
            **self.account.to_json(),
        }
        return _line(document)

    @classmethod
    def from_line(cls, raw: bytes) -> Self | None:
        """None for a line that says something else, or was damaged: the job's directory still tells."""
        try:
            document = documents.parse_object(raw)
            return None if "gone" in document else cls._from_json(document)
        except documents.Malformed:
            return None

    @classmethod
    def _from_json(cls, document: Mapping[str, Any]) -> Self:
        state = documents.text(document, "state")
        if state not in FINAL:
            raise documents.Malformed("`state` is not how a job ends")
        return cls(
            id=documents.text(document, "id"),
            size=documents.whole(document, "size"),
            name=documents.text(document, "name"),
            kind=documents.text(document, "kind"),
            state=State(state),
            submitted_at=documents.time(document, "submitted_at"),
            ended_at=documents.time(document, "ended_at"),
            attempt=documents.whole(document, "attempt", 0),
            like=documents.text(document, "like", ""),
            cores=documents.whole(document, "cores", 0),
            account=Account.from_json(document),
        )


def account_of_round(job: Job) -> Account:
    """Of the attempts since the job was last retried: those before are in an entry of their own."""
    attempts = (one for one in job.attempts if one.number > job.retried_after)
    return account(attempts, quarantined=is_quarantined(job))


def gone(job_id: str, why: str) -> bytes:
    """The line for a job that has ended no longer, or is no longer there."""
    return _line({"id": job_id, "gone": why})


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


_BEGINNING = re.compile(rb'^\{"id":"([a-z0-9]+)",(?:"size":(\d+),|"gone":)', re.MULTILINE)


def sizes(content: bytes) -> dict[str, int]:
    """The jobs that have ended and are still there, each with the bytes of history its entry was folded from.

    Of each line only the beginning is read: 100,000 take a tenth of a second.
    """
    found: dict[str, int] = {}
    for match in _BEGINNING.finditer(content):
        job_id = match[1].decode()
        if match[2] is None:
            found.pop(job_id, None)
        else:
            found[job_id] = int(match[2])
    return found


def newest_first(content: bytes, wanted: Iterable[bytes] = ()) -> Iterator[Entry]:
    """The jobs that have ended and are still there, the last to end first.

    wanted: only lines with one of these in them are read in full.
    """
    wanted, told = tuple(wanted), set[bytes]()
    for raw in _lines_backwards(content):
        match = _BEGINNING.match(raw)
        if match is None or match[1] in told:
            continue
        told.add(match[1])
        if match[2] is None or (wanted and not any(one in raw for one in wanted)):
            continue
        if (entry := Entry.from_line(raw)) is not None:
            yield entry


def _lines_backwards(content: bytes) -> Iterator[bytes]:
    end = content.rfind(b"\n")
    while end > 0:
        begin = content.rfind(b"\n", 0, end) + 1
        yield content[begin:end]
        end = begin - 1


def entries(content: bytes) -> Iterator[Entry]:
    """Every end of every job, each once, whether the job is still there or not; in no order."""
    ends = {}
    for raw in content.splitlines():
        if (entry := Entry.from_line(raw)) is not None:
            ends[entry.id, entry.attempt] = entry
    yield from ends.values()
