"""What a prediction has written so far: parts, and a manifest that says which of them count.

A part is a run of finished rows. It is written under a name that carries its first row and the attempt,
fsynced, and then counted by one appended, fsynced line of `manifest.jsonl`, under the history's lock. A crash
between the two leaves a part that nobody counts. The output is the counted parts one after another, so its
bytes do not depend on where they were cut.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.regular_files import regular
from singlepoint.jobs.store.durable import (
    SHARED,
    Fence,
    append,
    creating,
    explained,
    make_directory,
    put_in_place,
    sync_directory,
)
from singlepoint.jobs.store.job_files import MANIFEST

from .scored import Scored

_BLOCK_BYTES = 2**20
_PART = re.compile(r"part-\d{12,}-\d+")


@dataclass(frozen=True)
class Part:
    """One counted run of rows.

    cursor: where the input goes on after it (plain JSON).
    unseen: how many cells of each column held what training never saw.
    compared: bytes that stand behind the rows in the file, answers beside the truth.
    """

    file: str
    first_row: int
    rows: int
    bytes: int
    crc32: int
    cursor: dict[str, Any]
    unseen: dict[str, int] = field(default_factory=dict)
    compared: int = 0

    @classmethod
    def from_json(cls, text: str) -> Part:
        """One line of the manifest; raises Malformed. A line that 0.1.0 wrote has no checksum."""
        document = documents.parse_object(text)
        told = {name: value for name, value in document.items() if name != "line_crc32"}
        is_sound = documents.whole(document, "line_crc32", None) in (None, zlib.crc32(_compact(told)))
        if not is_sound or ("line_crc32" not in document and told.keys() - {one.name for one in fields(cls)}):
            raise Malformed("the line does not match its checksum")
        part = cls(
            file=documents.text(document, "file", most=100),
            first_row=documents.whole(document, "first_row"),
            rows=documents.whole(document, "rows"),
            bytes=documents.whole(document, "bytes"),
            crc32=documents.whole(document, "crc32", most=2**32 - 1),
            cursor=documents.mapping(document, "cursor"),
            unseen={name: int(cells) for name, cells in documents.figures(document, "unseen", {}).items()},
            compared=documents.whole(document, "compared", 0),
        )
        if not _PART.fullmatch(part.file):
            raise Malformed("`file` is no part")
        return part

    @property
    def end_row(self) -> int:
        return self.first_row + self.rows

    @property
    def attempt(self) -> int:
        """Which attempt wrote it: the end of its name."""
        return int(self.file.rpartition("-")[2])


class Shards:
    """The parts of one prediction, in `directory`, written by one attempt at a time."""

    def __init__(self, directory: Path, attempt: int, fence: Fence) -> None:
        self._directory = directory
        self._manifest = directory / MANIFEST
        self._attempt = attempt
        self._fence = fence
        self._file: BinaryIO | None = None
        self._crc = 0
        self._bytes = 0
        self._rows = 0
        self._unseen = Counter[str]()
        self._compared: list[bytes] = []
        self.parts: list[Part] = []

    def resume(self, *, fresh_after: int = 0) -> list[str]:
        """Take over what earlier attempts counted; answers why the first one not taken over is not sound, if so.

        fresh_after: parts of attempts up to this number are not wanted any more.
        """
        make_directory(self._directory.parent)
        make_directory(self._directory)
        problems: list[str] = []
        for part in self._counted():
            if part.attempt <= fresh_after:
                break
            if part.first_row != self.end_row:
                problems.append(f"{part.file} begins at row {part.first_row}, expected {self.end_row}")
            elif (problem := self._unsound(part)) is not None:
                problems.append(problem)
            if problems:
                break
            self.parts.append(part)
        self._forget_the_rest()
        return problems

    @property
    def end_row(self) -> int:
        """Rows that are counted."""
        return self.parts[-1].end_row if self.parts else 0

    @property
    def cursor(self) -> dict[str, Any] | None:
        """Where the input goes on after the counted rows; None at the beginning."""
        return self.parts[-1].cursor if self.parts else None

    @property
    def unseen(self) -> dict[str, int]:
        """Cells of each column, in the counted rows, that held what training never saw."""
        return dict(sum((Counter(part.unseen) for part in self.parts), Counter[str]()))

    def compared(self) -> bytes:
        """Answers beside the truth, of the counted rows, in order."""
        found = []
        for part in self.parts:
            with open(self._directory / part.file, "rb", opener=regular) as file:
                file.seek(part.bytes)
                found.append(file.read(part.compared))
        return b"".join(found)

    def write(self, scored: Scored, rows: int) -> None:
        """Add finished rows; they count once `count` was called."""
        content = scored.content
        with explained(self._directory):
            reach("shard.write")
            if self._file is None:
                self._file = open(self._directory / self._name(), "wb", opener=creating())  # noqa: SIM115 - open until the rows count
            self._file.write(content)
        self._crc = zlib.crc32(content, self._crc)
        self._bytes += len(content)
        self._rows += rows
        self._unseen.update(scored.unseen)
        self._compared.append(scored.compared)

    def count(self, cursor: dict[str, Any]) -> None:
        """Make the rows written since the last call durable, and count them."""
        if self._file is None:
            return
        compared = b"".join(self._compared)
        crc = zlib.crc32(compared, self._crc)
        part = Part(self._name(), self.end_row, self._rows, self._bytes, crc, cursor, dict(self._unseen), len(compared))
        with explained(self._directory):
            self._file.write(compared)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            sync_directory(self._directory)
            with self._fence():
                self._append(part)
        self.parts.append(part)
        self._file, self._crc, self._bytes, self._rows, self._unseen = None, 0, 0, 0, Counter()
        self._compared = []

    def assemble(self, target: Path, header: bytes) -> str:
        """Write the whole output to `target`, fsynced; answers its sha256."""
        digest = hashlib.sha256(header)
        with explained(target):
            reach("output.write")
            with open(target, "wb", opener=creating(SHARED)) as output:
                output.write(header)
                for part in self.parts:
                    for block in _blocks(self._directory / part.file, part.bytes):
                        digest.update(block)
                        output.write(block)
                output.flush()
                os.fsync(output.fileno())
        return digest.hexdigest()

    def _name(self) -> str:
        return f"part-{self.end_row:012d}-{self._attempt}"

    def _append(self, part: Part) -> None:
        descriptor = os.open(self._manifest, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            append(descriptor, _line(part), path=self._manifest, point="shard.count")
        finally:
            os.close(descriptor)

    def _counted(self) -> Iterator[Part]:
        if not self._manifest.exists():
            return
        for raw in self._manifest.read_bytes().splitlines():
            try:
                yield Part.from_json(raw.decode(errors="replace"))
            except Malformed:  # torn by a crash: never counted, and nothing sound can follow
                return

    def _unsound(self, part: Part) -> str | None:
        path = self._directory / part.file
        if not path.exists():
            return f"{part.file} is missing"
        crc, size = 0, 0
        for block in _blocks(path):
            crc, size = zlib.crc32(block, crc), size + len(block)
        return (
            None
            if (crc, size) == (part.crc32, part.bytes + part.compared)
            else f"{part.file} does not match its checksum"
        )

    def _forget_the_rest(self) -> None:
        """Rewrite the manifest to the parts taken over, so that the next line follows the last sound one, and
        remove all other parts."""
        with put_in_place(self._manifest, point="shard.manifest", fence=self._fence) as file:
            reach("shard.manifest")
            for part in self.parts:
                file.write(_line(part))
        counted = {part.file for part in self.parts}
        with self._fence():  # only now goes any part that the old manifest counted
            for path in self._directory.glob("part-*"):
                if path.name not in counted:
                    path.unlink()


def _line(part: Part) -> bytes:
    """The inverse of `Part.from_json`. A digit that changed in the cursor would leave rows out, or repeat some."""
    document = asdict(part)
    return _compact({**document, "line_crc32": zlib.crc32(_compact(document))}) + b"\n"


def _compact(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _blocks(path: Path, most: int = sys.maxsize) -> Iterator[bytes]:
    """The file's first `most` bytes, some at a time."""
    with open(path, "rb", opener=regular) as file:
        while block := file.read(min(_BLOCK_BYTES, most)):
            most -= len(block)
            yield block
