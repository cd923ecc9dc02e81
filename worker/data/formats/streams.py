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
from pathlib import Path
from typing import IO, Any, cast

from singlepoint.jobs.errors import InvalidInput, Problem

PACKED = (".gz", ".zst")
"""Endings of names that say that the rest is packed."""

LINE_BYTES = 1 << 26
"""The most bytes that a line, and so a row without line ends in its cells, may have."""

TROUBLE = (UnicodeError, EOFError, OSError, zlib.error)
"""What reading a stream may raise."""

_BLOCK_BYTES = 1 << 20
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


def next_line(file: IO[bytes]) -> bytes:
    """The next line with its end, b"" at the end of the stream. Raises LineTooLong."""
    line = file.readline(LINE_BYTES + 1)
    if len(line) > LINE_BYTES:
        raise LineTooLong(f"a line is longer than {LINE_BYTES >> 20} MiB; is it a quote that never ends?")
    return line


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
