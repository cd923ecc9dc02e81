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
        self._file, self._rest, self._ended = file, b"", False

    def __iter__(self) -> Iterator[bytes]:
        """Line by line, with their ends. Raises LineTooLong."""
        while True:
            end = self._rest.find(b"\n")
            if end < 0 and self._read():
                continue
            line, self._rest = (self._rest, b"") if end < 0 else (self._rest[: end + 1], self._rest[end + 1 :])
            if not line:
                return
            yield line

    def many(self, most: int, most_bytes: int, multiple: int) -> bytes:
        """The next `most` lines; if they are more than so many bytes, fewer, but a multiple. b"" at the end.

        How many is a function of the bytes that follow, wherever reading began. Raises LineTooLong.
        """
        while len(self._rest) < most_bytes and self._rest.count(b"\n") < most and self._read():
            pass
        ends = np.flatnonzero(np.frombuffer(self._rest, np.uint8) == _LINE_END)
        if len(ends) < most:
            within = int(np.searchsorted(ends, most_bytes))
            wanted = max(multiple, within // multiple * multiple)
            most = min(most, wanted) if len(self._rest) >= most_bytes else most
            while len(ends) < most and self._read():
                ends = np.flatnonzero(np.frombuffer(self._rest, np.uint8) == _LINE_END)
        cut = int(ends[most - 1]) + 1 if len(ends) >= most else len(self._rest)
        found, self._rest = self._rest[:cut], self._rest[cut:]
        return found

    def _read(self) -> bool:
        """More bytes; False at the end of the stream."""
        if self._ended:
            return False
        if len(self._rest) > LINE_BYTES and b"\n" not in self._rest[-LINE_BYTES:]:
            raise LineTooLong(f"a line is longer than {LINE_BYTES >> 20} MiB; is it a quote that never ends?")
        block = self._file.read(_BLOCK_BYTES)
        self._ended = not block
        self._rest += block
        return not self._ended


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
