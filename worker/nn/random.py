"""Randomness as a function: the same arguments give the same bits, in any process, in any order.

There is no generator and hence no state to save, restore or wind forward. The words come from Philox 4x64, a
block cipher run as a counter (Salmon et al., SC 2011); numpy's *distributions* carry no promise across versions,
so the few that are needed are built here from the raw words.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


class Purpose(IntEnum):
    """What the words are for: two purposes never share a word. Numbers are permanent: they decide the bits."""

    INITIALISE = 1
    SHUFFLE = 2
    DROPOUT = 3
    AUGMENT = 4
    SPLIT = 5


BLOCK_WORDS = 4  # that Philox gives at a time


def random_words(
    seed: int, purpose: Purpose, count: int, *, stream: int = 0, epoch: int = 0, step: int = 0, start: int = 0
) -> Words:
    """`count` words of 64 random bits that depend on these arguments and nothing else.

    stream: which of several drawers of one purpose (a layer's index).  step: within the epoch.
    start: how many words to leave out before them, at no cost.
    """
    # The lowest counter word is Philox's own: it counts the blocks of this draw.
    block, surplus = divmod(start, BLOCK_WORDS)
    source = np.random.Philox(key=(seed, purpose), counter=(block, stream, epoch, step))
    return source.random_raw(surplus + count)[surplus:]


def permutation(seed: int, rows: int, epoch: int) -> npt.NDArray[np.intp]:
    """The order in which an epoch visits `rows` rows: that of random words, one a row."""
    return order_of(random_words(seed, Purpose.SHUFFLE, rows, epoch=epoch))


def order_of(words: Words) -> npt.NDArray[np.intp]:
    """As `np.argsort(words, kind="stable")`, in a third of its time: numbers alone are sorted much faster.

    So each word is sorted with its place in its last bits; where the bits left do not tell two words apart, all do.
    """
    last = np.uint64((1 << max(0, len(words) - 1).bit_length()) - 1)
    sorted_words = words & ~last
    sorted_words |= np.arange(len(words), dtype=np.uint64)
    sorted_words.sort()
    order = (sorted_words & last).astype(np.intp)
    sorted_words &= ~last
    alike = np.flatnonzero(sorted_words[1:] == sorted_words[:-1])
    if len(alike):
        places = np.union1d(alike, alike + 1)
        rows = order[places]
        order[places] = rows[np.lexsort((rows, words[rows]))]
    return order


def uniform(words: Words) -> npt.NDArray[np.float64]:
    """Uniform in [0, 1): the upper 53 bits of each word."""
    numbers: npt.NDArray[np.float64] = np.multiply(words >> np.uint64(11), 2.0**-53, dtype=np.float64)
    return numbers


def normal(first: Words, second: Words, *, sine: bool) -> npt.NDArray[np.float64]:
    """Standard normal numbers, one a pair of words; the sines of the same pairs are as many more.

    Source: Box & Muller, 1958.
    """
    radius, angle = np.sqrt(-2.0 * np.log1p(-uniform(first))), 2.0 * np.pi * uniform(second)
    return radius * (np.sin(angle) if sine else np.cos(angle))
