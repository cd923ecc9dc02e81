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
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

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
            line, _ = self._read.take(1)
            if not line:
                return
            yield line

    def many(self, most: int, most_bytes: int, multiple: int) -> tuple[bytes, Places]:
        """The next `most` lines; if they are more than so many bytes, fewer, but a multiple. b"" at the end.
        With the place of each line's last byte, or behind it where the last line has no end.

        How many is a function of the bytes that follow, wherever reading began. Raises LineTooLong.
        """
        read = self._read
        while read.lines < most and read.size < most_bytes and read.add(self._block()):
            pass
        if read.lines < most and read.size >= most_bytes:
            most = min(most, max(multiple, read.lines_within(most_bytes) // multiple * multiple))
        while read.lines < most and read.add(self._block()):
            pass
        content, ends = read.take(most)
        return content, ends if content.endswith(b"\n") or not content else np.append(ends, len(content))

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
    """Bytes that were read and not yet taken, and the line ends in them, each looked for once.

    size: how many bytes.  lines: how many line ends.
    """

    def __init__(self) -> None:
        self._text, self._ends = b"", np.empty(0, np.int64)
        self._at = self._line = 0  # how far these have been taken
        self._blocks: list[bytes] = []  # what follows, and the ends in each
        self._block_ends: list[Places] = []
        self.size = self.lines = 0

    def add(self, block: bytes) -> bool:
        """Go on with this block. False if it is empty."""
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _LINE_END)
        self._blocks.append(block)
        self._block_ends.append(ends)
        self.size += len(block)
        self.lines += len(ends)
        return bool(block)

    def lines_within(self, size: int) -> int:
        """How many lines end within the first `size` bytes."""
        self._join()
        return int(np.searchsorted(self._ends, self._at + size)) - self._line

    def take(self, lines: int) -> tuple[bytes, Places]:
        """So many lines, all there are if they are fewer, and the places of their ends."""
        self._join()
        first, at = self._line, self._at
        self._line = min(first + lines, len(self._ends))
        self._at = int(self._ends[self._line - 1]) + 1 if self.lines >= lines else len(self._text)
        self.size -= self._at - at
        self.lines -= self._line - first
        return self._text[at : self._at], self._ends[first : self._line] - at

    def _join(self) -> None:
        if not self._blocks:
            return
        rest = memoryview(self._text)[self._at :]
        starts = np.cumsum([len(rest), *map(len, self._blocks[:-1])])
        later = [ends + start for ends, start in zip(self._block_ends, starts, strict=True)]
        self._ends = np.concatenate([self._ends[self._line :] - self._at, *later])
        self._text = b"".join((rest, *self._blocks))
        self._blocks, self._block_ends = [], []
        self._at = self._line = 0


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
