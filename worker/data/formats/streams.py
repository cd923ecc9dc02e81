"""Files as streams of bytes: packed or plain, in any encoding, with lines whose length has a limit.

A stream can be gone on with at any byte of it (`skip_to`): at once in a plain UTF-8 file, by reading up to there in one
that has to be unpacked or recoded.
"""

from __future__ import annotations

import codecs
import gzip
import importlib
import io
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem

PACKED = (".gz", ".zst")
"""Endings of names that say that the rest is packed."""

LINE_BYTES = 1 << 26
"""The most bytes that a line, and so a row without line ends in its cells, may have."""

TROUBLE = (UnicodeError, EOFError, OSError, zlib.error)
"""What reading a stream may raise."""

_BLOCK_BYTES = 1 << 18
_LINE_END = 10
_BOM = b"\xef\xbb\xbf"


class LineTooLong(ValueError):
    """A line is longer than `LINE_BYTES`."""


def unpacked_name(path: Path) -> Path:
    """The path without the ending that says how it is packed."""
    return path.with_suffix("") if path.suffix in PACKED else path


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked. Raises OSError; InvalidInput where unpacking needs what is not installed."""
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return _open_zstandard(path) if path.suffix == ".zst" else path.open("rb")


def _open_zstandard(path: Path) -> IO[bytes]:
    """By Python itself from 3.14 on, else by pyarrow."""
    try:
        opened: IO[bytes] = importlib.import_module("compression.zstd").open(path, "rb")
        return opened
    except ImportError:
        pass
    try:
        import pyarrow as arrow
    except ImportError:
        hint = "pip install 'singlepoint[parquet]', or pack the file with gzip"
        raise InvalidInput(Problem(path.name, "unpacking zstd needs Python 3.14 or pyarrow", hint)) from None
    return cast(IO[bytes], io.BufferedReader(cast(Any, arrow.input_stream(str(path), compression="zstd"))))


def open_text(path: Path, encoding: str = "utf-8", newline: str = "\n") -> IO[bytes]:
    """The file's text as UTF-8 with `\\n` where `newline` was, after a mark of the encoding if there is one."""
    file = open_bytes(path)
    if encoding == "utf-8" and newline == "\n":
        return file
    return cast(IO[bytes], io.BufferedReader(_Recoded(file, encoding, newline), _BLOCK_BYTES))


def skip_to(file: IO[bytes], offset: int) -> None:
    """Go forward to a byte of a stream that stands at its start. Raises EOFError when it ends before."""
    if file.seekable():
        file.seek(offset)
        return
    left = offset
    while left:
        read = len(file.read(min(left, _BLOCK_BYTES)))
        if not read:
            raise EOFError(f"ends before byte {offset}")
        left -= read


def mark_bytes(file: IO[bytes]) -> int:
    """How many bytes at the start are a mark of UTF-8; the stream then stands after them."""
    if file.seekable():
        found = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
        file.seek(found)
        return found
    return 0


class Lines:
    """The lines of a stream, one by one or many at once, none longer than `LINE_BYTES`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._ended = file, False
        self._read = _Read()
        self._unended = 0  # bytes after the last line end that was read

    def __iter__(self) -> Iterator[bytes]:
        """Line by line, with their ends. Raises LineTooLong."""
        while True:
            while not self._read.lines and self._read.add(self._block()):
                pass
            line = self._read.take(1)
            if not line:
                return
            yield line

    def many(self, most: int, most_bytes: int, multiple: int) -> bytes:
        """The next `most` lines; if they are more than so many bytes, fewer, but a multiple. b"" at the end.

        How many is a function of the bytes that follow, wherever reading began. Raises LineTooLong.
        """
        read = self._read
        while read.lines < most and read.size < most_bytes and read.add(self._block()):
            pass
        if read.lines < most and read.size >= most_bytes:
            most = min(most, max(multiple, read.lines_within(most_bytes) // multiple * multiple))
        while read.lines < most and read.add(self._block()):
            pass
        return read.take(most)

    def _block(self) -> bytes:
        """More bytes; b"" at the end of the stream."""
        if self._ended:
            return b""
        if self._unended > LINE_BYTES:
            raise LineTooLong(f"a line is longer than {LINE_BYTES >> 20} MiB; is it a quote that never ends?")
        block = self._file.read(_BLOCK_BYTES)
        self._ended = not block
        end = block.rfind(b"\n") + 1
        self._unended = len(block) - end + (0 if end else self._unended)
        return block


class _Read:
    """Bytes that were read and not yet taken. Line ends are counted, and looked for only where lines are cut off.

    size: how many bytes.  lines: how many line ends.
    """

    def __init__(self) -> None:
        self._blocks: deque[tuple[bytes, int]] = deque()  # with the line ends in each, of the first those after `_at`
        self._at = 0  # how far the first has been taken
        self.size = self.lines = 0

    def add(self, block: bytes) -> bool:
        """Go on with this block. False if it is empty."""
        if block:
            self._blocks.append((block, block.count(b"\n")))
            self.size += len(block)
            self.lines += self._blocks[-1][1]
        return bool(block)

    def lines_within(self, size: int) -> int:
        """How many lines end within the first `size` bytes."""
        found, at = 0, self._at
        for block, lines in self._blocks:
            if len(block) - at > size:
                return found + block.count(b"\n", at, at + size)
            found, size, at = found + lines, size - (len(block) - at), 0
        return found

    def take(self, lines: int) -> bytes:
        """So many lines, all there is if they are fewer."""
        parts: list[memoryview] = []
        while lines and self._blocks:
            block, there = self._blocks[0]
            end = _after(block, self._at, lines) if there >= lines else len(block)
            taken = min(lines, there)
            parts.append(memoryview(block)[self._at : end])
            lines -= taken
            self.lines -= taken
            self._at = end
            if end == len(block):
                self._blocks.popleft()
                self._at = 0
            else:
                self._blocks[0] = block, there - taken
        self.size -= sum(map(len, parts))
        return b"".join(parts)


def _after(block: bytes, at: int, lines: int) -> int:
    """The place after so many lines from `at` on."""
    if lines == 1:
        return block.index(b"\n", at) + 1
    ends = np.flatnonzero(np.frombuffer(block, np.uint8, offset=at) == _LINE_END)
    return at + int(ends[lines - 1]) + 1


class _Recoded(io.RawIOBase):
    """A stream of text in one encoding as UTF-8, its line ends as `\\n`."""

    def __init__(self, file: IO[bytes], encoding: str, newline: str) -> None:
        self._file, self._newline = file, newline
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._rest, self._ended, self._began = b"", False, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._ended:
            block = self._file.read(_BLOCK_BYTES)
            self._ended = not block
            text = self._decoder.decode(block, final=self._ended)
            if text and not self._began:
                self._began, text = True, text.removeprefix("\ufeff")
            self._rest = (text.replace(self._newline, "\n") if self._newline != "\n" else text).encode()
        given = self._rest[: len(buffer)]
        buffer[: len(given)] = given
        self._rest = self._rest[len(given) :]
        return len(given)

    def close(self) -> None:
        self._file.close()
        super().close()
