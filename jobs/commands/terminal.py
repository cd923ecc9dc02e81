"""What may reach a terminal: text, line ends, tabs, and the colours of our own tables.

Names, cells and messages may hold anything, and a terminal obeys what it is sent: it can be made to hide lines, to
change its title, to type. So while a command runs, all that it writes goes through `harmless`, whoever writes it.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

_CLEAR = "\x1b[2J\x1b[1;1H"
"""What click.clear sends, by itself."""

_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_OURS = r"\x1b\[(?:0|1|3[1236])m"
_ANY, _FOREIGN = re.compile(_CONTROL), re.compile(f"{_OURS}|{_CONTROL}")


def spelled_out(text: str) -> str:
    """`text` with every control character, every change of direction and every broken character as we would write it.

    For what our tables and messages are made of, before they get their colours.
    """
    return text if text.isascii() and text.isprintable() else _ANY.sub(_escape, text)


def harmless(text: str) -> str:
    """As `spelled_out`, but for our own colours: what may be sent to a terminal."""
    return text if text == _CLEAR or (text.isascii() and text.isprintable()) else _FOREIGN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    if len(found) > 1:
        return found
    return f"\\x{ord(found):02x}" if ord(found) < 256 else f"\\u{ord(found):04x}"


class Guarded:
    """A text stream that writes only what is harmless; in all else it is the one it was made of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(harmless(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def guarded_output() -> Iterator[None]:
    """Have this process write nothing but what is harmless, on stdout and stderr."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, Guarded(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
