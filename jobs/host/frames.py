"""How the page speaks with the process that answers predictions, over a unix socket in the home: frames.

A frame is two lengths (big-endian, 4 bytes each), a head in JSON and a body of bytes. Requests and answers carry an
`id`, so that many are under way on one connection, and answers come in any order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LENGTHS = struct.Struct(">II")

MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Frame:
    """head: plain values.  body: bytes that only the two ends understand."""

    head: Mapping[str, Any]
    body: bytes = b""

    def packed(self) -> bytes:
        head = json.dumps(self.head, separators=(",", ":")).encode()
        return LENGTHS.pack(len(head), len(self.body)) + head + self.body


def lengths(content: bytes) -> tuple[int, int]:
    """Of head and body; raises ValueError for more than any frame has."""
    head, body = LENGTHS.unpack(content)
    if head > MOST_HEAD_BYTES or body > MOST_BODY_BYTES:
        raise ValueError(f"a frame of {head} and {body} bytes is none of ours")
    return head, body


class Frames:
    """What came over a connection, cut into frames."""

    def __init__(self) -> None:
        self._content = bytearray()

    def take(self, content: bytes) -> list[Frame]:
        """The frames that are whole by now. Raises ValueError for what is none."""
        self._content += content
        found = []
        while len(self._content) >= LENGTHS.size:
            head, body = lengths(bytes(self._content[: LENGTHS.size]))
            end = LENGTHS.size + head + body
            if len(self._content) < end:
                break
            middle = LENGTHS.size + head
            found.append(Frame(json.loads(self._content[LENGTHS.size : middle]), bytes(self._content[middle:end])))
            del self._content[:end]
        return found
