"""The home's ledger as values: a line for each end of a job, and what its attempts came to. Pure; `store` has the file.

The ledger is two things at once: the list of the jobs that have ended, by their end, and what the home has learned
from all that ever ran (how long attempts survive, what like jobs took), which outlives the jobs. A line is one JSON
object: an `Entry`, or `{"id", "gone"}` for a job that has ended no longer (`retried`) or is no longer there
(`removed`). The last line of a job says how it stands. A job that was retried and ends again has another entry, of
its newer attempts only: all entries together count every attempt once. `{"before"}` is the account of entries that
were dropped.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from singlepoint.jobs import documents
from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle.account import Account, Sum
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.spent import account_of_round
from singlepoint.jobs.lifecycle.states import FINAL, State

RETRIED, REMOVED = "retried", "removed"

Content = bytes | mmap.mmap
"""A ledger, read or mapped."""


@dataclass(frozen=True)
class Entry:
    """One end of a job.

    size: bytes of history it was folded from.  attempt: the newest one's number.  like: the same for jobs that take
    alike (`spec.likeness`).  work, reckoned_s: how much it had to do (as of a `Job`).  cores: what its newest attempt
    was granted.  account: of the attempts since it was last retried.
    """

    id: str
    size: int
    state: State
    name: str
    kind: str
    submitted_at: float
    ended_at: float
    project: str = ""
    attempt: int = 0
    like: str = ""
    work: float = 0.0
    reckoned_s: float = 0.0
    cores: int = 0
    account: Account = field(default_factory=Account)

    @classmethod
    def of(cls, job: Job) -> Self:
        """The entry of a job that has ended."""
        return cls(
            id=job.id,
            size=job.size,
            state=job.state,
            name=job.name,
            kind=job.kind,
            submitted_at=job.submitted_at,
            ended_at=job.ended_at or job.submitted_at,
            project=job.project,
            attempt=job.attempt,
            like=job.like,
            work=job.work,
            reckoned_s=job.reckoned_s,
            cores=len(job.terms.cores) if job.terms else 0,
            account=account_of_round(job),
        )

    def line(self) -> bytes:
        """The line in the ledger. Readers in a hurry look at its first fields only, so their order matters."""
        known = {
            "project": self.project,
            "attempt": self.attempt,
            "like": self.like,
            "work": self.work,
            "reckoned_s": self.reckoned_s,
            "cores": self.cores,
        }
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
            state = documents.text(document, "state", "")
            return cls._from_json(document, State(state)) if state in FINAL else None
        except documents.Malformed:
            return None

    @classmethod
    def _from_json(cls, document: Mapping[str, Any], state: State) -> Self:
        return cls(
            id=documents.text(document, "id"),
            size=documents.whole(document, "size"),
            state=state,
            name=documents.text(document, "name"),
            kind=documents.text(document, "kind"),
            submitted_at=documents.time(document, "submitted_at"),
            ended_at=documents.time(document, "ended_at"),
            project=documents.text(document, "project", ""),
            attempt=documents.whole(document, "attempt", 0),
            like=documents.text(document, "like", ""),
            work=documents.number(document, "work", 0.0),
            reckoned_s=documents.number(document, "reckoned_s", 0.0),
            cores=documents.whole(document, "cores", 0),
            account=Account.from_json(document),
        )


def gone(job_id: str, why: str) -> bytes:
    """The line for a job that has ended no longer, or is no longer there."""
    return _line({"id": job_id, "gone": why})


def before(dropped: Account) -> bytes:
    """The line that stands for entries that were dropped."""
    return _line({"before": dropped.to_json()})


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


# --- reading: of 100,000 lines, most are looked at and few are parsed ---------------------------------------------

_BEGINNING = b'{"id":"'
_GONE = b'","gone":'
_SIZE = b'","size":'


def pieces(content: Content, begin: int, size: int) -> Iterator[tuple[int, list[bytes]]]:
    """The whole lines from `begin` on, about `size` bytes at a time, and where they end; one that is being written is
    left out."""
    while end := content.rfind(b"\n", begin, begin + size) + 1 or content.find(b"\n", begin) + 1:
        yield end, content[begin : end - 1].split(b"\n")
        begin = end


def is_gone(raw: bytes) -> bool:
    """Whether a line says that a job has ended no longer, or is no longer there."""
    return raw.startswith(_BEGINNING) and raw.startswith(_GONE, raw.find(b'"', len(_BEGINNING)))


def job_of(raw: bytes) -> str:
    """The id of the job that a line is of; `""` for a line of none."""
    if not raw.startswith(_BEGINNING):
        return ""
    return raw[len(_BEGINNING) : raw.find(b'"', len(_BEGINNING))].decode(errors="replace")


def is_listed(content: Content, job: Job) -> bool:
    """Whether this end of the job stands in the ledger."""
    return content.rfind(_BEGINNING + job.id.encode() + _SIZE + str(job.size).encode() + b",") >= 0


def last_end(content: Content, job_id: str) -> State | None:
    """How a job ended last, though it may be gone since; None where it was not noted."""
    beginning = _BEGINNING + job_id.encode() + _SIZE
    begin = content.rfind(b"\n" + beginning) + 1
    if not begin and content[: len(beginning)] != beginning:
        return None
    entry = Entry.from_line(content[begin : content.find(b"\n", begin)])
    return entry.state if entry is not None else None


def of_likeness(content: Content, like: str, most: int) -> list[Entry]:
    """Ends of jobs of this likeness, also of those that are gone, the last first."""
    found: list[Entry] = []
    needle, end = b'"like":"' + like.encode() + b'"', len(content)
    while like and len(found) < most and (at := content.rfind(needle, 0, end)) >= 0:
        end = content.rfind(b"\n", 0, at) + 1
        entry = Entry.from_line(content[end : content.find(b"\n", at)])
        if entry is not None and entry.like == like:
            found.append(entry)
    return found


def add_lines(sums: Sum, lines: Iterable[bytes]) -> Sum:
    """`sums`, with the entries in these lines: of jobs that are still there, and of others."""
    for raw in lines:
        if raw and _GONE not in raw[:90]:
            try:
                document = json.loads(raw)
            except (ValueError, RecursionError):
                continue
            if isinstance(document, dict):
                dropped = document.get("before")
                sums.add(dropped if isinstance(dropped, dict) else document)
    return sums
