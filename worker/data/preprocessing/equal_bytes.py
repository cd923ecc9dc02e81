"""Which of many short texts are the same, told by their bytes, eight at a time.

A column of categories holds a few words over and over. `Known` numbers those it has met, in an order of its own; to
find the number of each cell takes a hash of its bytes and one comparison, so that two words of one hash are told apart.
"""

from __future__ import annotations

import numpy as np

from .decimals import UP, Bytes, Flags, Places, Words, eights_from

MOST_BYTES = 32
"""Longer texts are free text rather than categories."""

_EIGHTS = MOST_BYTES // 8
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)
_LENGTH_FACTOR = np.uint64(0xFF51AFD7ED558CCD)  # odd numbers without a pattern, as in many hash functions


class Known:
    """Texts of at most `MOST_BYTES`, numbered in the order in which they were added."""

    def __init__(self) -> None:
        self._hashes = np.empty(0, np.uint64)  # ascending
        self._numbers = np.empty(0, np.int64)  # of the text with each hash
        self._eights = np.empty((_EIGHTS, 0), np.uint64)  # by number, as are the lengths
        self._lengths = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._lengths)

    def numbers(self, text: Bytes, starts: Places, ends: Places) -> tuple[Places, Flags]:
        """The number of each text[starts:ends], and which of these are not known. text: padded as for `decimals`."""
        lengths = ends - starts
        eights = _eights(text, starts, lengths)
        if not len(self):
            return np.zeros(len(starts), np.int64), np.ones(len(starts), np.bool_)
        hashes = _hashes(eights, lengths)
        places = np.searchsorted(self._hashes, hashes)
        numbers = self._numbers.take(places, mode="clip")
        foreign = self._lengths.take(numbers) != lengths
        foreign |= lengths > MOST_BYTES
        for ours, theirs in zip(self._eights, eights, strict=False):
            foreign |= ours.take(numbers) != theirs
        return numbers, foreign

    def add(self, text: bytes) -> bool:
        """Give a text the next number. False, and nothing is added, if it is too long or has the hash of another."""
        if len(text) > MOST_BYTES:
            return False
        padded = np.frombuffer(text + bytes(2 * MOST_BYTES), np.uint8)
        length = np.array([len(text)])
        both = _eights(padded, np.zeros(2, np.int64), np.array([len(text), MOST_BYTES]))  # the longest has all eights
        eights = [eight[:1] for eight in both]
        [found] = _hashes(eights, length)
        place = int(np.searchsorted(self._hashes, found))
        if place < len(self) and self._hashes[place] == found:
            return False
        self._hashes = np.insert(self._hashes, place, found)
        self._numbers = np.insert(self._numbers, place, len(self))
        self._eights = np.concatenate([self._eights, np.array(eights)], axis=1)
        self._lengths = np.append(self._lengths, length)
        return True


def _eights(text: Bytes, starts: Places, lengths: Places) -> list[Words]:
    """The first eight bytes of each text, those after, and so on as far as the longest goes, each behind zeros."""
    longest = min(int(lengths.max(initial=0)), MOST_BYTES)
    words = text[: len(text) // 8 * 8].view("<u8")
    found = []
    for done, eight in zip(range(0, longest, 8), eights_from(words, starts), strict=False):
        eight <<= UP.take(lengths - done, mode="clip")
        found.append(eight)
    return found


def _hashes(eights: list[Words], lengths: Places) -> Words:
    hashes = lengths.astype(np.uint64)
    hashes *= _LENGTH_FACTOR
    for eight, factor in zip(eights, _FACTORS, strict=False):
        mixed = eight ^ (eight >> np.uint64(29))
        mixed *= factor
        hashes ^= mixed
    return hashes
