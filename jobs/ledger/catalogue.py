"""The list of the jobs that have ended, in the order of their submission: what a ledger comes to. Pure.

One line a job, of text that sorts like the time it was submitted, so that of 100,000 jobs the newest, or those of a
name, are found without taking the others apart.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from singlepoint.jobs.clock import iso

from .entries import Entry, is_gone, job_of

_WORD_OF_IDS = re.compile("[^ ]+")

LINES_A_SLICE = 5000
"""Gone through at a time: some milliseconds."""

Line = str
"""submitted_at, id, ended_at, state, then kind, project and name as JSON; tabs between them."""


@dataclass(frozen=True, slots=True)
class Head:
    """What lists look at: an entry without its account. Times as text, which sorts like the time."""

    submitted_at: str
    ended_at: str
    id: str
    state: str
    name: str
    kind: str
    project: str


def head_of(line: Line) -> Head:
    """The inverse of `line_of`."""
    submitted_at, job_id, ended_at, state, *words = line.split("\t")
    kind, project, name = (json.loads(word) if "\\" in word else word[1:-1] for word in words)
    return Head(submitted_at, ended_at, job_id, state, name, kind, project)


def line_of(head: Head) -> Line:
    words = map(json.dumps, (head.kind, head.project, head.name))
    return "\t".join((head.submitted_at, head.id, head.ended_at, head.state, *words))


def beginning_of(submitted_at: str, job_id: str) -> Line:
    """As much of a line as says where in the list it stands: just before the whole one."""
    return f"{submitted_at}\t{job_id}"


def key_of(line: Line) -> tuple[str, str]:
    """(submitted_at, id): a list's order."""
    submitted_at, job_id, _ = line.split("\t", 2)
    return submitted_at, job_id


def id_of(line: Line) -> str:
    """Of a line, or of its beginning."""
    return line.split("\t", 2)[1]


def states_of(lines: Iterable[Line]) -> list[str]:
    return [line.split("\t", 4)[3] for line in lines]


def by_end(lines: Iterable[Line]) -> list[Line]:
    """The last to end first."""
    return sorted(lines, key=_end_of, reverse=True)


def by_end_in_slices(lines: Sequence[Line]) -> Generator[None, None, Iterator[Line]]:
    """The same, but each step is a slice of the work, and the rest is done as the answer is gone through."""
    runs = []
    for part in slices_of(lines):
        runs.append(by_end(part))
        yield
    return heapq.merge(*runs, key=_end_of, reverse=True)


def _end_of(line: Line) -> str:
    return line.split("\t", 3)[2]


def slices_of(lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
    """All of them, so many at a time that each takes some milliseconds."""
    return (lines[begin : begin + LINES_A_SLICE] for begin in range(0, len(lines), LINES_A_SLICE))


@dataclass(frozen=True)
class Listed:
    """The list as it was written down and what changed since, to be asked for a few jobs without taking it apart.

    text: its lines, in their order, a newline between them.  ids: theirs, a blank between them.  changed: by id, as
    `changes` has it.
    """

    text: str = ""
    ids: str = ""
    changed: Mapping[str, Line | None] = field(default_factory=dict)

    def lines(self) -> Generator[None, None, list[Line]]:
        """All of them; each step is a slice."""
        lines = self.text.split("\n") if self.text else []
        yield
        return (yield from merged(lines, self.changed))

    def lines_but(self, ids: Iterable[str]) -> Generator[None, None, list[Line]]:
        """All but those of these jobs."""
        here = set(ids)
        here -= self.others(here)
        return (yield from replace(self, changed={**self.changed, **dict.fromkeys(here)}).lines())

    def all_ids(self) -> Iterator[str]:
        """Of the jobs in the list, in no order."""
        yield from (found[0] for found in _WORD_OF_IDS.finditer(self.ids) if found[0] not in self.changed)
        yield from (job_id for job_id, line in self.changed.items() if line is not None)

    def others(self, ids: Iterable[str]) -> set[str]:
        """Those of these that are not in the list; and what is in it no longer, whether among these or not."""
        left = set(ids)
        left.difference_update(self.ids.split(" "))
        for job_id, line in self.changed.items():
            (left.add if line is None else left.discard)(job_id)
        return left

    def newest(self, count: int) -> list[Line]:
        """The last to be submitted, the very last one last."""
        begin = len(self.text) + 1
        for _ in range(count + len(self.changed)):
            if begin > 0:
                begin = self.text.rfind("\n", 0, begin - 1) + 1
        return self._with_changes(self.text[begin:].split("\n"))[-count:]

    def of_name(self, name: str) -> list[Line]:
        """Those of the jobs that bear a name."""
        end, found = "\t" + json.dumps(name), []
        at = self.text.find(end + "\n")
        while at >= 0:
            found.append(self.text[self.text.rfind("\n", 0, at) + 1 : at + len(end)])
            at = self.text.find(end + "\n", at + len(end))
        if self.text.endswith(end):
            found.append(self.text[self.text.rfind("\n") + 1 :])
        return [line for line in self._with_changes(found) if line.endswith(end)]

    def beginning_with(self, word: str) -> set[str]:
        """The ids that begin so."""
        found = set(re.findall(f" ({re.escape(word)}[^ ]*)", f" {self.ids}"))
        new = {job_id for job_id, line in self.changed.items() if line is not None and job_id.startswith(word)}
        return found - self.changed.keys() | new

    def _with_changes(self, lines: Iterable[Line]) -> list[Line]:
        unchanged = (line for line in lines if line and id_of(line) not in self.changed)
        return sorted([*unchanged, *(line for line in self.changed.values() if line is not None)])


def changes(entries: Iterable[bytes]) -> Iterator[tuple[str, Line | None]]:
    """What lines of a ledger change in the list, in their order: the line of a job that ended, None for one that is
    not in it any more. A damaged one changes nothing: the job's directory tells."""
    for raw in entries:
        if is_gone(raw):
            yield job_of(raw), None
        elif (line := line_in(raw)) is not None:
            yield id_of(line), line


def merged(lines: list[Line], changed: Mapping[str, Line | None]) -> Generator[None, None, list[Line]]:
    """The list after these changes; each step is a slice."""
    if not changed:
        return lines
    kept: list[Line] = []
    for part in slices_of(lines):
        kept += [line for line in part if line.split("\t", 2)[1] not in changed]
        yield
    kept += sorted(line for line in changed.values() if line is not None)
    kept.sort()  # two runs, each in order: no more than a walk through them
    return kept


def line_in(raw: bytes) -> Line | None:
    """Of an entry's line; None for one that says something else, or was damaged. Most are not parsed as JSON."""
    if plain := _PLAIN.match(raw):
        job_id, state, name, kind, submitted_at, ended_at, project = plain.groups(b"")
        line = b'%b\t%b\t%b\t%b\t"%b"\t"%b"\t"%b"' % (submitted_at, job_id, ended_at, state, kind, project, name)
        return line.decode("ascii")
    entry = Entry.from_line(raw)
    if entry is None:
        return None
    times = (iso(entry.submitted_at), iso(entry.ended_at))
    return line_of(Head(*times, entry.id, entry.state, entry.name, entry.kind, entry.project))


_WORD = rb'"([ !#-\[\]-~]*)"'
_PLAIN = re.compile(
    rb'\{"id":"(\w+)","size":\d+,"state":"(\w+)","name":%b,"kind":%b,"submitted_at":%b,"ended_at":%b(?:,"project":%b)?'
    % (_WORD, _WORD, _WORD, _WORD, _WORD)
)
"""The beginning of an entry's line in which no character had to be escaped."""
