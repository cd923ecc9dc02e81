"""The digest of the files a training reads, taken of what is read of them anyway: one reading, not two.

Whoever opens a file by `open` has its bytes noticed as they are read, from the first file to the last. What nobody
reads in that order (of a Parquet file, an array) is read for the digest alone. A file that changes meanwhile is for
`witness` to find.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, cast

_BLOCK_BYTES = 1 << 20


class FilesDigest:
    """sha256 over the bytes of some files, each preceded by its length so that no two lists of files look alike."""

    def __init__(self, files: Sequence[Path]) -> None:
        """files: each once. Raises OSError."""
        self._digest = hashlib.sha256()
        self._files = deque(files)
        self._path = Path()
        self._at = self._size = 0  # in the file at `_path`
        self._go_on()

    def open(self, path: Path) -> IO[bytes]:
        """A file's bytes; those that come next are noticed as they are read."""
        return cast(IO[bytes], io.BufferedReader(_Noticed(path, self._notice)))

    def hexdigest(self) -> str:
        """Of all files, whatever of them has been read."""
        while self._at < self._size:
            self._read_up_to(self._size)
            self._size = self._at  # it may have become shorter
            self._go_on()
        return self._digest.hexdigest()

    def _notice(self, path: Path, start: int, content: memoryview) -> None:
        end = min(start + len(content), self._size)
        if path != self._path or end <= self._at:
            return
        self._read_up_to(start)  # a header that was passed over
        self._digest.update(content[self._at - start : end - start])
        self._at = end
        self._go_on()

    def _read_up_to(self, place: int) -> None:
        if place <= self._at:
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            while content := file.read(min(_BLOCK_BYTES, place - self._at)):
                self._digest.update(content)
                self._at += len(content)

    def _go_on(self) -> None:
        """With the next file, where the last has been seen whole."""
        while self._at == self._size and self._files:
            self._path = self._files.popleft()
            self._at, self._size = 0, self._path.stat().st_size
            self._digest.update(self._size.to_bytes(8, "little"))


class _Noticed(io.FileIO):
    """A file that tells what is read of it: (path, place, content)."""

    def __init__(self, path: Path, notice: Callable[[Path, int, memoryview], None]) -> None:
        super().__init__(path)
        self._path, self._notice = path, notice

    def readinto(self, buffer: Any) -> int:
        start = self.tell()
        count = super().readinto(buffer)
        self._notice(self._path, start, memoryview(buffer)[:count])
        return count
