"""What became of the rows of one piece: their bytes in the output, and what is told of them.

It crosses from process to process as plain bytes: a line of JSON, then the rows, then what is compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class Scored:
    """The rows of a piece, done.

    content: as they stand in the output.  unseen: how many cells of each column held what training never saw.
    compared: answers beside the truth, see `comparison`.
    """

    content: bytes
    unseen: Mapping[str, int] = field(default_factory=dict)
    compared: bytes = b""

    def packed(self) -> bytes:
        """All of it; never empty."""
        return json.dumps([len(self.content), dict(self.unseen)]).encode() + b"\n" + self.content + self.compared

    @classmethod
    def unpacked(cls, packed: bytes) -> Self:
        """The inverse of `packed`."""
        line, _, rest = packed.partition(b"\n")
        size, unseen = json.loads(line)
        return cls(rest[:size], unseen, rest[size:])
