"""Numbers in text by pyarrow, where it is installed: the same float64 as `float` gives, in less time.

pyarrow is only asked about cells that begin as a number does, and its answer is taken only where it is one: whatever
else a cell may mean (no value, a truth value, `nan`) stays ours to say. Both round correctly, so the bits are the same.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from typing import Any

import numpy as np

from singlepoint.worker.data.preprocessing.decimals import Doubles, Flags, Places

_BEGINS = np.zeros(256, np.bool_)
_BEGINS[[*b"0123456789-."]] = True
_EVERY_OTHER = np.uint8(0b01010101)
_LEAST_CELLS = 64
"""Fewer are not worth the call."""


def installed() -> bool:
    """Whether pyarrow can be asked."""
    return _arrow() is not None


def decimals(text: bytes, starts: Places, ends: Places) -> tuple[Doubles, Flags] | None:
    """The numbers at text[starts:ends], and which of these are left, as by `preprocessing.decimals`.

    None where pyarrow is missing, or a cell begins as a number and is none.
    """
    arrow = _arrow()
    if arrow is None or len(starts) < _LEAST_CELLS:
        return None
    asked = _BEGINS.take(np.frombuffer(text, np.uint8).take(starts))
    asked &= starts < ends
    # Arrow's texts follow one another: what stands between two cells is a text too, and "null", as those not asked for.
    offsets = np.empty(2 * len(starts) + 1, np.int32)
    offsets[:-1:2], offsets[1::2], offsets[-1] = starts, ends, len(text)
    if asked.all():
        bits = np.full(len(starts) // 4 + 1, _EVERY_OTHER)
    else:
        there = np.zeros(2 * len(starts), np.bool_)
        there[::2] = asked
        bits = np.packbits(there, bitorder="little")
    buffers = [arrow.py_buffer(one) for one in (bits, offsets, text)]
    cells = arrow.Array.from_buffers(arrow.string(), 2 * len(starts), buffers)
    try:
        parsed = cells.cast(arrow.float64())
    except arrow.ArrowInvalid:
        return None
    values = np.frombuffer(parsed.buffers()[1], np.float64, 2 * len(starts))[::2]
    left = np.isnan(values)
    left |= ~asked
    return values.copy() if left.any() else values, left  # what is left is to be filled in


@cache
def _arrow() -> Any:
    """pyarrow, if it is installed; None where it is not."""
    if sys.byteorder != "little" or importlib.util.find_spec("pyarrow") is None:
        return None
    import pyarrow

    return pyarrow
