"""Decimal numbers in text, many at once: the very float64 that Python's `float` gives each of them.

`decimals` works on the bytes of all cells together, eight of each at a time from its first digit, the mark taken out.
The digits make one whole number below 2**64, which is divided by a power of ten: in float64 where all are short enough
for both to be exact in it, else in extended precision (64 bits); to round that to 53 bits is right but where it lies
just between two float64, once in two thousand. Those, and all that is not like `-12.5`, are left to the caller.
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

_EIGHT = 8
_MOST_DIGITS = 24  # a mark among them
_EXTENDED = np.finfo(np.longdouble).nmant == 63 and sys.byteorder == "little"
_WIDE = np.longdouble if _EXTENDED else np.float64
_MOST, _MOST_POWER, _LONG = (2**64 - 1, _MOST_DIGITS, 19) if _EXTENDED else (2**53, 22, 15)
"""What is exact in _WIDE: whole numbers up to this, so great a power of ten, any so many digits."""

_SHORT = 15  # so many digits, and a power of so much, are exact in float64
_POWERS: npt.NDArray[Any] = np.array([10**k for k in range(_MOST_DIGITS + 1)], object).astype(_WIDE)
_SHORT_POWERS = np.array([10.0**k for k in range(_SHORT + 1)])
_FACTORS = np.array([10**k if k < 20 else 0 for k in range(_MOST_DIGITS + 1)], np.uint64)
_ROOM = np.array([max(_MOST // 10**k - 1, 0) for k in range(_MOST_DIGITS + 1)], np.uint64)  # for what k digits follow
_ZEROS = np.uint64(0x3030303030303030)  # "00000000"
_NINES = np.uint64(0x7676767676767676)  # a byte above 9 and this have the highest bit
_HIGH = np.uint64(0x8080808080808080)
_HALFWAY = np.uint64(0x400)
_FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # the first n of eight bytes
UP = np.array([64 - 8 * n for n in range(9)], np.uint64)
"""To shift the first n of eight bytes to where the last are, zeros before them."""

_SUMS = ((np.uint16, 10 * 2**8 + 1, 8), (np.uint32, 100 * 2**16 + 1, 16), (np.uint64, 10_000 * 2**32 + 1, 32))


def decimals(text: Bytes, starts: Places, ends: Places, marks: Places) -> tuple[Doubles, Flags]:
    """The numbers at text[starts:ends], and which of these are left: no plain decimal number, or not surely rounded.

    text: with `PADDING`.  marks: where each cell's decimal mark is, its end if it has none.
    """
    negative, marked = text.take(starts) == ord("-"), marks < ends
    first = starts + negative
    length, front = ends - first, marks - first
    plain = length <= _MOST_DIGITS
    if not plain.all():
        front *= plain
        length *= plain
    digits = length - marked
    power = digits - front
    plain &= digits > 0
    plain &= power <= _MOST_POWER
    value, left = _whole(text[: len(text) // 8 * 8].view("<u8"), first, length, front, marked)
    plain &= ~left
    if int(digits.max(initial=0)) <= _SHORT:
        values = value.astype(np.float64)
        values /= _SHORT_POWERS.take(power, mode="clip")
    else:
        wide: npt.NDArray[Any] = value.astype(_WIDE)
        wide /= _POWERS.take(power, mode="clip")
        values = wide.astype(np.float64)
        if _EXTENDED:
            plain &= wide.view(np.uint64)[::2] & np.uint64(0x7FF) != _HALFWAY
    signs = negative.astype(np.uint64)
    signs <<= np.uint64(63)
    values.view(np.uint64)[...] ^= signs
    return values, ~plain


def _whole(words: Words, first: Places, length: Places, front: Places, marked: Flags) -> tuple[Words, Flags]:
    """The whole numbers that these characters are without their marks, and which are none or too large. front: of them
    before the mark, where there is one."""
    skip = front + 1
    skip *= marked
    if int(skip.max(initial=0)) <= _EIGHT:
        return _digits(words, first, length, skip)
    power = length - front
    power -= marked
    value, left = _digits(words, first, front)
    fraction, also_left = _digits(words, first + skip, power)
    left |= also_left
    left |= value > _ROOM.take(power, mode="clip")
    value *= _FACTORS.take(power, mode="clip")
    value += fraction
    return value, left


def _digits(words: Words, first: Places, count: Places, skip: Places | None = None) -> tuple[Words, Flags]:
    """The whole numbers in `count` characters each, and which of these are no digits, or too many. words: the text.

    skip: where one of the first eight characters is a mark, how many these are with it; else 0.
    """
    too_many: Flags = np.zeros(len(first), np.bool_)
    longest, shortest = int(count.max(initial=0)), int(count.min(initial=0))
    if not longest:
        return np.zeros(len(first), np.uint64), too_many
    for done, eight in zip(range(0, longest, _EIGHT), eights_from(words, first), strict=False):
        left = count - done if done else count
        eight ^= _ZEROS
        if skip is not None and not done:
            moved = eight << np.uint64(8)  # a zero in front of the digits, in the place of the mark behind them
            moved ^= eight
            moved &= _FIRST.take(skip, mode="clip")
            eight ^= moved
        if shortest < done + _EIGHT:
            eight <<= UP.take(left, mode="clip")
        no_digits = eight + _NINES
        no_digits |= eight
        for lanes, factor, shift in _SUMS:
            pairs: npt.NDArray[Any] = eight.view(lanes)
            pairs *= lanes(factor)
            pairs >>= lanes(shift)
        if not done:
            value, wrong = eight, no_digits
            continue
        wrong |= no_digits
        if longest > _LONG and done + _EIGHT > _LONG:
            long = np.flatnonzero(count > _LONG)
            too_many[long] |= value.take(long) > _ROOM[: _EIGHT + 1].take(left.take(long), mode="clip")
        value *= _FACTORS[: _EIGHT + 1].take(left, mode="clip")
        value += eight
    wrong &= _HIGH
    too_many |= wrong != 0
    return value, too_many


def eights_from(words: Words, first: Places) -> Iterator[Words]:
    """The eight bytes from `first` on, the eight after these, and so on, each time in an array of its own.

    words: the text, from which aligned words are fetched: one across two of them takes a tenth of the time so.
    """
    place = first >> 3
    up = ((first & 7) << 3).view(np.uint64)
    down = np.uint64(64) - up  # a shift by 64 leaves 0
    here = words.take(place, mode="clip")
    while True:
        place += 1
        there = words.take(place, mode="clip")
        here >>= up
        here |= there << down
        yield here
        here = there
