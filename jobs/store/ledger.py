"""The home's ledger as a file: `ledger.jsonl`, one line for each end of a job, appended. See `jobs.ledger`.

Promises: whoever writes the end of a job into its history adds its line; when that fails or is cut short by a crash,
the job's directory still tells, and the scheduler's next look through the home adds it. That a job was retried is in
the ledger before it is in its history, and the end of a job is safe on the disk here before its directory goes. So a
job that stands here as ended has ended.

Writers share a lock, so they do not wait for each other; `compact`, which puts a shorter file in place, takes it alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import time
import zlib
from collections.abc import Generator, Iterator
from typing import TypeVar

from singlepoint.jobs import documents
from singlepoint.jobs.errors import NotNow, SinglepointError
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.ledger.compaction import KEPT, shortened
from singlepoint.jobs.ledger.entries import REMOVED, RETRIED, Content, Entry, add_lines, gone, is_listed, pieces
from singlepoint.jobs.lifecycle.account import Account, Sum
from singlepoint.jobs.lifecycle.records import Job

from .durable import explained, put_in_place, replace_file, sync_directory, temporary_name
from .home import Home

PATIENCE_S = 5.0
"""How long to wait for a compaction; it takes an instant, unless its process was stopped in it."""

SCHEMA = 1
SLICE_BYTES = 2**17
"""Read at a time: some milliseconds."""

SEARCHED_BYTES = 2**22
"""Of the end, for like jobs: some ten thousand."""

NOTE_PATIENCE_S = 0.05
"""What can be made good for later waits no longer than that."""


class Ledger:
    """The ledger of one home. Safe to use from many processes at once."""

    def __init__(self, home: Home) -> None:
        self.path = home.ledger
        self.sums_path = home.ledger_sums

    def note(self, job: Job) -> bool:
        """Say that a job has ended, while its history is locked. False when that could not be written: no harm."""
        try:
            self._append("ledger.note", Entry.of(job).line(), patience_s=NOTE_PATIENCE_S)
        except (OSError, SinglepointError):
            return False
        return True

    def retried(self, job_id: str) -> None:
        """Say that a job has ended no longer; before its history does. Raises StorageFull, NotPermitted, NotNow."""
        self._append("ledger.retried", gone(job_id, RETRIED), durably=True)

    def removed(self, job_id: str, job: Job | None) -> None:
        """Have what a job taught safe on the disk, before its directory goes. job: None when its end is noted, or it
        cannot be read.

        Raises StorageFull, NotPermitted, NotNow.
        """
        entry = b"" if job is None or not job.is_final or self.is_noted(job) else Entry.of(job).line()
        self._append("ledger.removed", entry + gone(job_id, REMOVED), durably=True)

    def is_noted(self, job: Job) -> bool:
        """Whether this end of the job stands here; all of the ledger is searched for it, the newest first."""
        with self.opened() as content:
            return is_listed(content, job)

    def sync(self) -> None:
        """Have all of it safe on the disk. Raises OSError."""
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as file:
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def opened(self) -> Iterator[Content]:
        """All of it, as it is now."""
        with contextlib.ExitStack() as opened:
            content: Content = b""
            with contextlib.suppress(FileNotFoundError, ValueError):  # not there, or empty, which cannot be mapped
                file = opened.enter_context(open(self.path, "rb"))
                content = opened.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            yield content

    def newest(self, most_bytes: int) -> list[Entry]:
        """What stands in the last so many bytes, oldest first."""
        with self.opened() as content:
            lines = content[max(0, len(content) - most_bytes) :].split(b"\n")
        return [entry for line in lines if (entry := Entry.from_line(line)) is not None]

    def like(self, likeness: str) -> Iterator[Entry]:
        """Jobs of that likeness that have ended, the newest first; of the last megabytes of the ledger."""
        word = f'"like":"{likeness}"'.encode()
        with self.opened() as content:
            first, at = max(0, len(content) - SEARCHED_BYTES), len(content)
            while likeness and (at := content.rfind(word, first, at)) >= 0:
                begin, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at)
                if (entry := Entry.from_line(content[begin : end if end >= 0 else len(content)])) is not None:
                    yield entry

    def account(self) -> Account:
        """What all attempts of all jobs that ever ended came to."""
        with self.opened() as content:
            upto, sums = self._summed_up(content)
            return add_lines(sums, content[upto:].split(b"\n")).account()

    def sum_up(self) -> Generator[None, None, Account]:
        """Write the sums down, so that nobody has to add up all that ever ran; each step of the iterator is a slice.

        Answers what all attempts of all jobs came to that had ended when it began.
        """
        with self.opened() as content:
            upto, sums = self._summed_up(content)
            for end, lines in pieces(content, upto, SLICE_BYTES):
                add_lines(sums, lines)
                upto = end
                yield
            document = {"schema": SCHEMA, "upto": upto, "crc32": crc_of_end(content, upto), **sums.account().to_json()}
            rest = content[upto:].split(b"\n")
        replace_file(self.sums_path, json.dumps(document).encode(), point="ledger.sums")
        return add_lines(sums, rest).account()

    def compact(self, keep: int = KEPT) -> Generator[None, None, None]:
        """Put a shorter ledger in place, which says the same (`jobs.ledger.compaction`); each step is a slice.

        keep: lines that stay though they are not the last word on a job that is there.

        Raises NotNow when a writer stands still, StorageFull; then the ledger is what it was.
        """
        with self.opened() as content:
            upto = content.rfind(b"\n") + 1
            with put_in_place(self.path, point="ledger.compact", fence=lambda: self._completed(upto)) as file:
                for piece in shortened(content, keep):
                    file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())  # bit by bit: all of it at the end would take long
                    yield

    @contextlib.contextmanager
    def _completed(self, upto: int) -> Iterator[None]:
        """Have in the new file what was added to the old one, and nobody write to that until the new one is there."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not _locked(descriptor, fcntl.LOCK_EX):
                raise NotNow(f"{self.path} is being written", hint="it is made shorter the next time")
            added = os.pread(descriptor, os.fstat(descriptor).st_size - upto, upto)
            with open(temporary_name(self.path), "ab") as file:
                file.write(added)
                file.flush()
                os.fsync(file.fileno())
            yield
        finally:
            os.close(descriptor)

    def _summed_up(self, content: Content) -> tuple[int, Sum]:
        """The sums that were written down, and up to where; nothing, when they are of another ledger than this."""
        with contextlib.suppress(OSError, documents.Malformed):  # there is none, or none that is sound: summed up anew
            document = documents.parse_object(self.sums_path.read_bytes())
            upto = documents.whole(document, "upto", most=len(content))
            if documents.whole(document, "crc32") == crc_of_end(content, upto):
                return upto, Sum(vars(Account.from_json(document)))
        return 0, Sum({})

    def _append(self, point: str, lines: bytes, *, durably: bool = False, patience_s: float = PATIENCE_S) -> None:
        with explained(self.path), self._opened(patience_s) as descriptor:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # by a crash: ours must not follow it
            reach(point)
            os.write(descriptor, b"\n" + lines if torn else lines)
            if durably:
                os.fsync(descriptor)

    @contextlib.contextmanager
    def _opened(self, patience_s: float) -> Iterator[int]:
        """The file that has the name now, and keeps it while this lasts."""
        deadline = time.monotonic() + patience_s
        while True:
            is_new = not self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if _locked(descriptor, fcntl.LOCK_SH) and _is_at(self.path, descriptor):
                    if is_new:
                        sync_directory(self.path.parent)
                    yield descriptor
                    return
            finally:
                os.close(descriptor)
            if time.monotonic() > deadline:
                raise NotNow(f"{self.path} is locked", hint="the scheduler stands still: `singlepoint doctor`")
            time.sleep(0.002)


T = TypeVar("T")


def run(slices: Generator[None, None, T]) -> T:
    """What comes of slices, all in one go."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            answer: T = end.value
            return answer


def crc_of_end(content: Content, upto: int) -> int:
    """Of the lines in front of a position, the last kilobyte: enough to know the ledger again."""
    return zlib.crc32(content[max(0, upto - 1024) : upto])


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: os.PathLike[str], descriptor: int) -> bool:
    """Whether the open file has that name still: a shorter one may have been put in its place."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
