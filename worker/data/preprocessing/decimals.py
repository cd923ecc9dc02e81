"""Decimal numbers in text, many at once: the very float64 that Python's `float` gives each of them.

`decimals` works on the bytes of all cells together, eight of each at a time from its first, sign and mark taken out.
The digits make one whole number below 2**64, which is divided by a power of ten: in float64 where all are short enough
for both to be exact in it, else in extended precision (64 bits); to round that to 53 bits is right but where it lies
just between two float64, once in two thousand. Those, and all that is not like `-12.5`, are left to the caller.
Source: Clinger, "How to read floating point numbers accurately", 1990; Lemire, "Number parsing at a gigabyte per
second", 2021, for eight digits in three multiplications.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
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
_ONES = np.uint64(0x0101010101010101)
_BYTE = np.uint64(0xFF)
_SIGN = np.uint64(ord("-") ^ ord("0"))
_HALFWAY = np.uint64(0x400)
_FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # the first n of eight bytes
UP = np.array([64 - 8 * n for n in range(9)], np.uint64)
"""To shift the first n of eight bytes to where the last are, zeros before them."""

_SUMS = ((np.uint16, 10 * 2**8 + 1, 8), (np.uint32, 100 * 2**16 + 1, 16), (np.uint64, 10_000 * 2**32 + 1, 32))


def decimals(text: Bytes, starts: Places, ends: Places, mark: int) -> tuple[Doubles, Flags]:
    """The numbers at text[starts:ends], and which of these are left: no plain decimal number, or not surely rounded.

    text: with `PADDING`.  mark: the character that stands before the decimals.
    """
    length = ends - starts
    plain = length <= _MOST_DIGITS
    if not plain.all():
        length *= plain
    words = text[: len(text) // _EIGHT * _EIGHT].view("<u8")
    eights = _from_zero(words, starts)
    first = next(eights)
    negative = ((first & _BYTE) == _SIGN).astype(np.uint64)
    first ^= negative * _SIGN  # to a zero in front
    through, skip = _marks(words, starts, first, length, mark)
    marked = skip > 0
    digits = length - marked
    digits -= negative.view(np.int64)
    power = length - skip
    power *= marked
    if int(skip.max(initial=0)) <= _EIGHT:
        moved = first << np.uint64(8)  # a zero in front of the digits, in the place of the mark behind them
        moved ^= first
        moved &= through
        first ^= moved
        value, left = _digits(chain([first], eights), length)
    else:
        value, left = _digits(chain([first], eights), np.where(marked, skip - 1, length))
        fraction, also_left = _digits(_from_zero(words, starts + skip), power)
        left |= also_left
        left |= value > _ROOM.take(power, mode="clip")
        value *= _FACTORS.take(power, mode="clip")
        value += fraction
    plain &= ~left
    plain &= digits > 0
    plain &= power <= _MOST_POWER
    values, sure = _divided(value, power, short=int(digits.max(initial=0)) <= _SHORT)
    negative <<= np.uint64(63)
    values.view(np.uint64)[...] ^= negative
    plain &= sure
    return values, ~plain


def _divided(value: Words, power: Places, *, short: bool) -> tuple[Doubles, Flags]:
    """value / 10**power, and where that is surely rounded right. short: whether both are exact in float64."""
    if short:
        values = value.astype(np.float64)
        values /= _SHORT_POWERS.take(power, mode="clip")
        return values, np.ones(len(values), np.bool_)
    wide: npt.NDArray[Any] = value.astype(_WIDE)
    wide /= _POWERS.take(power, mode="clip")
    sure: Flags = np.ones(len(wide), np.bool_)
    if _EXTENDED:
        sure = wide.view(np.uint64)[::2] & np.uint64(0x7FF) != _HALFWAY
    return wide.astype(np.float64), sure


def _marks(words: Words, starts: Places, first: Words, length: Places, mark: int) -> tuple[Words, Places]:
    """The bytes of each first eight up to its mark, and how many characters these are, in any eight; of none without.

    first: the first eight of each cell, as of `_from_zero`.
    """
    through, skip = _up_to(mark, first, length)
    late = np.flatnonzero((skip == 0) & (length > _EIGHT))
    left, found = length.take(late), np.zeros(len(late), np.int64)
    for done, eight in zip(
        range(0, int(left.max(initial=0)), _EIGHT), _from_zero(words, starts.take(late)), strict=False
    ):
        _, further = _up_to(mark, eight, left - done)
        found += (further + done) * ((found == 0) & (further > 0))
    skip[late] = found
    return through, skip


def _up_to(mark: int, eight: Words, count: Places) -> tuple[Words, Places]:
    """The bytes of the first `count` up to the first mark, and how many; of none where there is none."""
    other = eight ^ (_ONES * np.uint64(mark ^ ord("0")))
    here = other - _ONES  # the lowest byte that is 0 gets its highest bit
    here &= ~other
    here &= _HIGH
    if int(count.min(initial=_EIGHT)) < _EIGHT:
        here &= _FIRST.take(count, mode="clip")
    through = here - np.uint64(1)
    through ^= here
    skip = (np.bitwise_count(through) >> 3).astype(np.int64)
    marked = here != 0
    if not marked.all():
        through *= marked
        skip *= marked
    return through, skip


def _digits(eights: Iterable[Words], count: Places) -> tuple[Words, Flags]:
    """The whole numbers in `count` characters each, and which of these are no digits, or too many. eights: of them, as
    of `_from_zero`; they are used up."""
    too_many: Flags = np.zeros(len(count), np.bool_)
    longest, shortest = int(count.max(initial=0)), int(count.min(initial=0))
    if not longest:
        return np.zeros(len(count), np.uint64), too_many
    for done, eight in zip(range(0, longest, _EIGHT), eights, strict=False):
        left = count - done if done else count
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


def _from_zero(words: Words, starts: Places) -> Iterator[Words]:
    """As `eights_from`, a digit's byte being its value."""
    for eight in eights_from(words, starts):
        eight ^= _ZEROS
        yield eight


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
