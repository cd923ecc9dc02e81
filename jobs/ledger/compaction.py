"""How a ledger is kept short: what must stay, and what becomes part of one sum. Pure.

The newest line of a job that has ended and is still there stays, and so do the newest of all other lines: the ends of
jobs that were removed, or went round again, from which run times are learned. The rest becomes one account.
"""

from __future__ import annotations

from collections.abc import Iterator

from singlepoint.jobs.lifecycle.account import Sum

from .entries import Content, add_lines, before, is_gone, job_of, pieces

PIECE_BYTES = 2**18
"""Looked at, at a time: some milliseconds."""

KEPT = 10_000
"""Lines that stay though they are not the last word on a job that is there."""


def shortened(content: Content, keep: int) -> Iterator[bytes]:
    """The shorter ledger, piece by piece; some are empty."""
    last_word: dict[str, int] = {}  # the number of the line that lists a job
    count = 0
    for _, lines in pieces(content, 0, PIECE_BYTES):
        for number, raw in enumerate(lines, count):
            job_id = job_of(raw)
            last_word.pop(job_id, None)
            if job_id and not is_gone(raw):
                last_word[job_id] = number
        count += len(lines)
        yield b""
    superfluous, dropped, count = count - len(last_word) - keep, Sum({}), 0
    for _, lines in pieces(content, 0, PIECE_BYTES):
        kept = []
        for number, raw in enumerate(lines, count):
            if superfluous > 0 and last_word.get(job_of(raw)) != number:
                superfluous -= 1
                add_lines(dropped, [raw])
            else:
                kept.append(raw + b"\n")
        count += len(lines)
        yield b"".join(kept)
    yield before(dropped.account())
