"""The list of the jobs that have ended, written down: what the ledger comes to up to some line, `ledger.list`.

It says nothing that the ledger does not say, and is never believed when it is damaged or of another ledger: then the
whole ledger is read, which takes seconds where there are 100,000 jobs, until the scheduler has written it anew.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from singlepoint.jobs import documents
from singlepoint.jobs.ledger.catalogue import LINES_A_SLICE, Line, Listed, changes, id_of
from singlepoint.jobs.ledger.entries import Content, pieces

from .durable import put_in_place
from .home import Home
from .ledger import Ledger, crc_of_end, run

SCHEMA = 2
SLICE_BYTES = 2**18
"""Of a ledger, taken apart at a time: some milliseconds."""

WRITTEN_EVERY_BYTES = 2**18
"""So much of the ledger may be read by whoever asks."""


@dataclass(frozen=True)
class _Known:
    """upto: bytes of the ledger that this is the list of; ledger_lines: in them."""

    upto: int = 0
    ledger_lines: int = 0
    listed: Listed = field(default_factory=Listed)


class Catalogue:
    """The list of one home."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._path = home.catalogue
        self._ledger = ledger

    def listed(self) -> Listed:
        """To be asked for some of them; most of it is not looked at."""
        with self._ledger.opened() as content:
            return run(self._now(content)).listed

    def lines(self) -> list[Line]:
        """Of every job that has ended and is still there, the last to be submitted last."""
        return run(self.slices())

    def slices(self) -> Generator[None, None, list[Line]]:
        """The same; each step of the iterator is a slice."""
        with self._ledger.opened() as content:
            known = yield from self._now(content)
        return (yield from known.listed.lines())

    def ids(self) -> Generator[None, None, set[str]]:
        """Of every job that has ended and is still there; each step is a slice."""
        with self._ledger.opened() as content:
            known = yield from self._now(content)
        found, left = set[str](), known.listed.all_ids()
        while some := set(islice(left, LINES_A_SLICE)):
            found |= some
            yield
        return found

    def write(self) -> Generator[None, None, int]:
        """Write the list down if it is worth it; each step is a slice. How many lines of the ledger say nothing that
        counts any more."""
        with self._ledger.opened() as content:
            before = yield from self._read(content)
            known = yield from self._now(content)
            count = sum(1 for _ in known.listed.all_ids())
            if known.upto - before.upto > WRITTEN_EVERY_BYTES:
                lines = yield from known.listed.lines()
                self._write(content, known, lines)
        return known.ledger_lines - count

    def _now(self, content: Content) -> Generator[None, None, _Known]:
        known = yield from self._read(content)
        changed: dict[str, Line | None] = {}
        upto, count = known.upto, known.ledger_lines
        for end, entries in pieces(content, known.upto, SLICE_BYTES):
            changed.update(changes(entries))
            upto, count = end, count + len(entries)
            yield
        return _Known(upto, count, replace(known.listed, changed=changed))

    def _read(self, content: Content) -> Generator[None, None, _Known]:
        """What was written down, if it is sound and of this ledger."""
        with contextlib.suppress(OSError, documents.Malformed, UnicodeDecodeError):  # none, or none that is sound
            raw = self._path.read_bytes()  # of 100,000 jobs ten megabytes: copied no more than has to be
            yield
            end = max(0, raw.find(b"\n"))
            document, body = documents.parse_object(raw[:end]), memoryview(raw)[end + 1 :]
            upto = documents.whole(document, "upto", most=len(content))
            sound = documents.whole(document, "ledger_crc32") == crc_of_end(content, upto)
            sound &= documents.whole(document, "schema") == SCHEMA
            if sound and documents.whole(document, "crc32") == zlib.crc32(body):
                yield
                middle = raw.find(b"\n", end + 1) - end - 1
                ids, text = str(body[:middle], "ascii"), str(body[middle + 1 :], "ascii")
                return _Known(upto, documents.whole(document, "ledger_lines"), Listed(text, ids))
        return _Known()

    def _write(self, content: Content, known: _Known, lines: Sequence[Line]) -> None:
        body = "\n".join([" ".join(map(id_of, lines)), *lines]).encode("ascii")
        document = {
            "schema": SCHEMA,
            "upto": known.upto,
            "ledger_lines": known.ledger_lines,
            "ledger_crc32": crc_of_end(content, known.upto),
            "crc32": zlib.crc32(body),
        }
        with put_in_place(self._path, point="ledger.list", lasting=False) as file:
            file.write(json.dumps(document).encode() + b"\n" + body)
