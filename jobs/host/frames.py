"""How the page speaks with the processes that answer predictions, over unix sockets in the home: frames.

A frame is a prefix (lengths of head and body, id, when it was asked; big-endian), a head in JSON and a body of bytes.
Requests and answers carry an `id`, so that many are under way on one connection, and answers come in any order. What
differs from one request to the next is in prefix and body, so heads repeat, and each is written and read once.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

PREFIX = struct.Struct(">IIQd")

TOGETHER = 16
"""So many requests are worth handing over, and answering, while the next are read: as a network has lanes."""

MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 64 * 1024 * 1024


class Frame(NamedTuple):
    """id: of the request, told back with its answer.  at_s: when it was asked, of an answer when its computing began,
    by the monotonic clock of the machine.

    head: plain values, changed by nobody.  body: bytes that only the two ends understand.
    """

    id: int
    head: Mapping[str, Any]
    body: bytes = b""
    at_s: float = 0.0

    def packed(self) -> bytes:
        return framed(self.id, head_bytes(self.head), self.body, self.at_s)


def head_bytes(head: Mapping[str, Any]) -> bytes:
    """A head as it is sent; whoever sends the same again and again keeps it."""
    return json.dumps(head, separators=(",", ":")).encode()


def framed(identity: int, head: bytes, body: bytes = b"", at_s: float = 0.0) -> bytes:
    """A frame as it is sent."""
    return b"".join((PREFIX.pack(len(head), len(body), identity, at_s), head, body))


@lru_cache(maxsize=1024)
def _head(content: bytes) -> Mapping[str, Any]:
    head = json.loads(content)
    if not isinstance(head, dict):
        raise ValueError("a frame's head is a table")
    return head


class Frames:
    """What came over a connection, cut into frames."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def take(self, content: bytes) -> list[Frame]:
        """The frames that are whole by now. Raises ValueError for what is none."""
        there: bytes | bytearray = content
        if self._begun:
            self._begun += content
            there = self._begun
        found, begin = [], 0
        while len(there) - begin >= PREFIX.size:
            head, body, identity, at_s = PREFIX.unpack_from(there, begin)
            if head > MOST_HEAD_BYTES or body > MOST_BODY_BYTES:
                raise ValueError(f"a frame of {head} and {body} bytes is none of ours")
            start = begin + PREFIX.size
            end = start + head + body
            if len(there) < end:
                break
            found.append(
                Frame(identity, _head(bytes(there[start : start + head])), bytes(there[start + head : end]), at_s)
            )
            begin = end
        if there is self._begun:
            del self._begun[:begin]
        elif begin < len(there):
            self._begun += there[begin:]
        return found
