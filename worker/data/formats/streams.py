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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.data.preprocessing.decimals import Places

PACKED = (".gz", ".zst")
"""Endings of names that say that the rest is packed."""

LINE_BYTES = 1 << 26
"""The most bytes that a line, and so a row without line ends in its cells, may have."""

TROUBLE = (UnicodeError, EOFError, OSError, zlib.error)
"""What reading a stream may raise."""

_BLOCK_BYTES = 1 << 17
_RUN_BYTES = 1 << 20
_LINE_END = 10
_BOM = b"\xef\xbb\xbf"


class LineTooLong(ValueError):
    """A line is longer than `LINE_BYTES`."""


def unpacked_name(path: Path) -> Path:
    """The path without the ending that says how it is packed."""
    return path.with_suffix("") if path.suffix in PACKED else path


Opener = Callable[[Path], IO[bytes]]
"""Opens a file as it is. Raises OSError."""


def plainly(path: Path) -> IO[bytes]:
    """The usual `Opener`."""
    return path.open("rb")


def open_bytes(path: Path, opener: Opener = plainly) -> IO[bytes]:
    """The file's bytes, unpacked. Raises OSError; InvalidInput where unpacking needs what is not installed."""
    file = opener(path)
    if path.suffix not in PACKED:
        return file
    try:
        unpacked = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else _zstandard(file, path)
    except BaseException:
        file.close()
        raise
    return cast(IO[bytes], _Unpacked(unpacked, file))


def _zstandard(file: IO[bytes], path: Path) -> Any:
    """By Python itself from 3.14 on, else by pyarrow."""
    try:
        return importlib.import_module("compression.zstd").open(file, "rb")
    except ImportError:
        pass
    try:
        import pyarrow as arrow
    except ImportError:
        hint = "pip install 'singlepoint[parquet]', or pack the file with gzip"
        raise InvalidInput(Problem(path.name, "unpacking zstd needs Python 3.14 or pyarrow", hint)) from None
    return arrow.input_stream(file, compression="zstd")


def open_text(path: Path, encoding: str, newline: str, opener: Opener = plainly) -> IO[bytes]:
    """The file's text as UTF-8 with `\\n` where `newline` was, after a mark of the encoding if there is one."""
    file = open_bytes(path, opener)
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
    # What cannot be gone back in is a reader of our own: of what pyarrow unpacks, or what was recoded.
    marked = cast(io.BufferedReader, file).peek(len(_BOM)).startswith(_BOM)
    return len(file.read(len(_BOM))) if marked else 0


def runs_of_lines(text: bytes, start: int = 0, last: int | None = None) -> Iterator[tuple[int, int]]:
    """Where runs of whole lines begin and end; what is made of one at a time stays in the processor's cache."""
    last = len(text) if last is None else last
    while start < last:
        end = text.find(b"\n", start + _RUN_BYTES, last) + 1 or last
        yield start, end
        start = end


class Run(NamedTuple):
    """Lines that follow one another. ends: the places of their ends; the very last line of a stream may have none."""

    text: bytes
    ends: Places


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
            line = self._read.take(1).text
            if not line:
                return
            yield line

    def many(self, most: int, most_bytes: int, multiple: int) -> Run:
        """The next `most` lines; if they are more than so many bytes, fewer, but a multiple. No line at the end.

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


class _Block:
    """Bytes that were read. at: how far they have been taken.  lines: how many line ends follow that place."""

    def __init__(self, text: bytes) -> None:
        self.text, self.at = text, 0
        self._ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _LINE_END)
        self.lines = len(self._ends)

    def take(self, lines: int) -> tuple[memoryview, Places]:
        """So many lines, all there is if they are fewer, and the places of their ends among them."""
        first, taken = self.at, len(self._ends) - self.lines
        ends = self._ends[taken : taken + lines]
        self.at = len(self.text) if lines > self.lines else int(ends[-1]) + 1
        self.lines -= len(ends)
        return memoryview(self.text)[first : self.at], ends - first


class _Read:
    """Bytes that were read and not yet taken. size: how many.  lines: how many line ends."""

    def __init__(self) -> None:
        self._blocks: deque[_Block] = deque()
        self.size = self.lines = 0

    def add(self, text: bytes) -> bool:
        """Go on with these bytes. False if there are none."""
        if text:
            self._blocks.append(_Block(text))
            self.size += len(text)
            self.lines += self._blocks[-1].lines
        return bool(text)

    def lines_within(self, size: int) -> int:
        """How many lines end within the first `size` bytes."""
        found = 0
        for block in self._blocks:
            if len(block.text) - block.at > size:
                return found + block.text.count(b"\n", block.at, block.at + size)
            found += block.lines
            size -= len(block.text) - block.at
        return found

    def take(self, lines: int) -> Run:
        """So many lines, all there is if they are fewer."""
        parts: list[memoryview] = []
        ends: list[Places] = []
        size = 0
        while lines and self._blocks:
            block = self._blocks[0]
            part, ends_there = block.take(lines)
            parts.append(part)
            ends.append(ends_there + size)
            size += len(part)
            lines -= len(ends_there)
            self.lines -= len(ends_there)
            if block.at == len(block.text):
                self._blocks.popleft()
        self.size -= size
        return Run(b"".join(parts), np.concatenate(ends) if ends else np.empty(0, np.int64))


class _Unpacked(io.BufferedReader):
    """What was packed in a file; both are closed together."""

    def __init__(self, unpacked: Any, file: IO[bytes]) -> None:
        super().__init__(unpacked, _BLOCK_BYTES)
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()


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
