"""Decimal numbers in text, many at once: the very float64 that Python's `float` gives each of them.

`decimals` works on the bytes of all cells together. The digits before and after the mark make one whole number below
2**64, which is divided by a power of ten in extended precision (64 bits); to round that to 53 bits is right but where
it lies just between two float64, once in two thousand. Those, and all that is not like `-12.5`, are left to the caller.
Source: Clinger, "How to read floating point numbers accurately", 1990; Lemire, "Number parsing at a gigabyte per
second", 2021, for eight digits in three multiplications.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

PADDING = 24
"""Bytes that must stand before the first cell: digits are fetched eight at a time, up to this many."""

_EXTENDED = np.finfo(np.longdouble).nmant == 63 and sys.byteorder == "little"
_WIDE = np.longdouble if _EXTENDED else np.float64
_MOST, _MOST_POWER = (2**64 - 1, PADDING) if _EXTENDED else (2**53, 22)  # exact in _WIDE
_POWERS: npt.NDArray[Any] = np.array([10**k for k in range(PADDING + 1)], object).astype(_WIDE)
_FACTORS = np.array([10**k if k < 20 else 0 for k in range(PADDING + 1)], np.uint64)
_ROOM = np.array([max(_MOST // 10**k - 1, 0) for k in range(PADDING + 1)], np.uint64)  # for what stands before the mark
_ZEROS = np.uint64(0x3030303030303030)  # "00000000"
_OURS = np.array([((1 << 8 * n) - 1) << 64 - 8 * n for n in range(9)], np.uint64)  # the last n of eight bytes
_FOREIGN = _ZEROS & ~_OURS
_HALFWAY = np.uint64(0x400)


def decimals(text: Bytes, starts: Places, ends: Places, marks: Places) -> tuple[npt.NDArray[np.float64], Flags]:
    """The numbers at text[starts:ends], and which of these are left: no plain decimal number, or not surely rounded.

    text: with `PADDING` bytes before the first cell.  marks: where each cell's decimal mark is, its end if it has none.
    """
    negative = text[np.minimum(starts, len(text) - 1)] == ord("-")
    front = marks - starts - negative
    power = np.maximum(ends - marks - 1, 0)
    plain = (front >= 0) & (front + power > 0) & (front <= PADDING) & (power <= _MOST_POWER)
    loaded = np.ndarray((len(text) - 7,), "<u8", buffer=text, strides=(1,))
    whole, plain = _digits(loaded, marks, np.where(plain, front, 0), plain)
    fraction, plain = _digits(loaded, ends, np.where(plain, power, 0), plain)
    power = np.where(plain, power, 0)
    plain &= (whole <= _ROOM[power]) & (fraction <= np.uint64(_MOST))
    wide = (whole * _FACTORS[power] + fraction).astype(_WIDE) / _POWERS[power]
    values = wide.astype(np.float64)
    if _EXTENDED:
        plain &= wide.view(np.uint64)[::2] & np.uint64(0x7FF) != _HALFWAY
    return np.where(negative, -values, values), ~plain


def _digits(loaded: Words, ends: Places, count: Places, plain: Flags) -> tuple[Words, Flags]:
    """The whole numbers in the `count` digits before `ends`, and which of the plain ones are nothing but digits."""
    longest = int(count.max(initial=0))
    value = np.zeros(len(ends), np.uint64)
    for done in range(0, longest, 8):
        eight, sound = _eight(loaded[ends - (8 + done)], np.minimum(np.maximum(count - done, 0), 8))
        if done == 16:  # only so much of it fits into 64 bits
            sound &= eight < np.uint64(2**64 // 10**16)
            eight = np.where(sound, eight, np.uint64(0))
        value = value + eight * np.uint64(10**done) if done else eight
        plain = plain & sound
    return value, plain


def _eight(word: Words, count: Places) -> tuple[Words, Flags]:
    """The number in the last `count` of eight characters, and whether these are digits."""
    word &= _OURS[count]
    word |= _FOREIGN[count]
    wrong = ((word + np.uint64(0x4646464646464646)) | (word - _ZEROS)) & np.uint64(0x8080808080808080)
    word = (word & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(10 * 2**8 + 1) >> np.uint64(8)
    word = (word & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(100 * 2**16 + 1) >> np.uint64(16)
    word = (word & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(10_000 * 2**32 + 1) >> np.uint64(32)
    return word, wrong == 0
