"""Decimal numbers in text, many at once: the very float64 that Python's `float` gives each of them.

`decimals` works on the bytes of all cells together. The digits before and after the mark make one whole number below
2**64, which is divided by a power of ten: in float64 where all are short enough for both to be exact in it, else in
extended precision (64 bits); to round that to 53 bits is right but where it lies just between two float64, once in two
thousand. Those, and all that is not like `-12.5`, are left to the caller.
Source: Clinger, "How to read floating point numbers accurately", 1990; Lemire, "Number parsing at a gigabyte per
second", 2021, for eight digits in three multiplications.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

PADDING = 32
"""Bytes that must stand before the first cell and after the last: they are fetched eight at a time, and aligned."""

_MOST_DIGITS = 24  # before the mark, and after it
_EXTENDED = np.finfo(np.longdouble).nmant == 63 and sys.byteorder == "little"
_WIDE = np.longdouble if _EXTENDED else np.float64
_MOST, _MOST_POWER = (2**64 - 1, _MOST_DIGITS) if _EXTENDED else (2**53, 22)  # exact in _WIDE
_SHORT = 15  # so many digits, and a power of so much, are exact in float64
_LONG = 19  # so many are below 2**64
_FEW = 2  # so many are read one by one
_NINE = 9
_POWERS: npt.NDArray[Any] = np.array([10**k for k in range(_MOST_DIGITS + 1)], object).astype(_WIDE)
_SHORT_POWERS = np.array([10.0**k for k in range(_SHORT + 1)])
_FACTORS = np.array([10**k if k < 20 else 0 for k in range(_MOST_DIGITS + 1)], np.uint64)
_ROOM = np.array(
    [max(_MOST // 10**k - 1, 0) for k in range(_MOST_DIGITS + 1)], np.uint64
)  # for what is before the mark
_ZEROS = np.uint64(0x3030303030303030)  # "00000000"
_OURS = np.array([((1 << 8 * n) - 1) << 64 - 8 * n for n in range(9)], np.uint64)  # the last n of eight bytes
_NINES = np.uint64(0x7676767676767676)  # a byte above 9 and this have the highest bit
_HIGH = np.uint64(0x8080808080808080)
_HALFWAY = np.uint64(0x400)
_SUMS = tuple(
    (np.uint64(factor), np.uint64(shift), np.uint64(mask))
    for factor, shift, mask in (
        (10 * 2**8 + 1, 8, 0x00FF00FF00FF00FF),
        (100 * 2**16 + 1, 16, 0x0000FFFF0000FFFF),
        (10_000 * 2**32 + 1, 32, 0xFFFFFFFF),
    )
)


def decimals(text: Bytes, starts: Places, ends: Places, marks: Places) -> tuple[Doubles, Flags]:
    """The numbers at text[starts:ends], and which of these are left: no plain decimal number, or not surely rounded.

    text: with `PADDING`.  marks: where each cell's decimal mark is, its end if it has none.
    """
    negative = text.take(starts) == ord("-")
    front = marks - starts
    front -= negative
    power = ends - marks
    power -= 1
    np.maximum(power, 0, out=power)
    plain = front.view(np.uint64) <= _MOST_DIGITS
    plain &= power <= _MOST_POWER
    plain &= front + power > 0
    if not plain.all():
        front *= plain
        power *= plain
    words = text[: len(text) // 8 * 8].view("<u8")
    longest, deepest = int(front.max(initial=0)), int(power.max(initial=0))
    value, wrong = (
        _few_digits(text, marks, front, longest) if longest <= _FEW else _digits(words, marks, front, longest)
    )
    if deepest:
        fraction, also_wrong = _digits(words, ends, power, deepest)
        wrong |= also_wrong
        if longest + deepest > _LONG or not _EXTENDED:
            plain &= value <= _ROOM.take(power)
            plain &= fraction <= np.uint64(_MOST)
        value *= _FACTORS.take(power)
        value += fraction
    wrong &= _HIGH
    plain &= wrong == 0
    if longest + deepest <= _SHORT:
        values = value.astype(np.float64)
        values /= _SHORT_POWERS.take(power)
    else:
        wide = value.astype(_WIDE) / _POWERS.take(power)
        values = wide.astype(np.float64)
        if _EXTENDED:
            plain &= wide.view(np.uint64)[::2] & np.uint64(0x7FF) != _HALFWAY
    signs = negative.astype(np.uint64)
    signs <<= np.uint64(63)
    values.view(np.uint64)[...] ^= signs
    return values, ~plain


def _few_digits(text: Bytes, ends: Places, count: Places, longest: int) -> tuple[Words, Words]:
    """As `_digits`, of a digit or two, one at a time: in less than half of the time."""
    value, wrong = np.zeros((2, len(ends)), np.uint64)
    for done in range(longest):
        digit = text.take(ends - (done + 1))
        digit ^= ord("0")
        digit *= count > done
        wrong |= digit > _NINE
        value += digit * np.uint64(10**done)
    wrong <<= np.uint64(63)
    return value, wrong


def _digits(words: Words, ends: Places, count: Places, longest: int) -> tuple[Words, Words]:
    """The whole numbers in the `count` digits before `ends`; a byte of the second has its highest bit where one is no
    digit, or there are too many. words: the text. longest: of the counts."""
    value, wrong = np.zeros((2, len(ends)), np.uint64)
    for done, eight in zip(range(0, longest, 8), eights_before(words, ends), strict=False):
        left = count - done if done else count
        eight ^= _ZEROS
        eight &= _OURS.take(left, mode="clip")
        also_wrong = eight + _NINES
        also_wrong |= eight
        for factor, shift, mask in _SUMS:
            eight *= factor
            eight >>= shift
            eight &= mask
        if not done:
            value, wrong = eight, also_wrong
            continue
        wrong |= also_wrong
        if done == 16:  # only so much of it fits into 64 bits
            wrong |= np.where(eight < np.uint64(2**64 // 10**16), np.uint64(0), _HIGH)
        eight *= np.uint64(10**done)
        value += eight
    return value, wrong


def eights_before(words: Words, ends: Places) -> Iterator[Words]:
    """The eight bytes before `ends`, the eight before these, and so on, each time in an array of its own.

    words: the text, from which aligned words are fetched: one across two of them takes a tenth of the time so.
    """
    first = ends - 8
    place = first >> 3
    up = ((first & 7) << 3).view(np.uint64)
    down = np.uint64(64) - up  # a shift by 64 leaves 0
    later = words.take(place + 1)
    while True:
        here = words.take(place)
        eight = here >> up
        later <<= down
        eight |= later
        yield eight
        later = here
        place -= 1
