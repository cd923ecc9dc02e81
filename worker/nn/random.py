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


def random_words(seed: int, purpose: Purpose, count: int, *, stream: int = 0, epoch: int = 0, step: int = 0) -> Words:
    """`count` words of 64 random bits that depend on these arguments and nothing else.

    stream: which of several drawers of one purpose (a layer's index).  step: within the epoch.
    """
    # The lowest counter word is Philox's own: it counts the blocks of this draw.
    return np.random.Philox(key=(seed, purpose), counter=(0, stream, epoch, step)).random_raw(count)


def permutation(seed: int, rows: int, epoch: int) -> npt.NDArray[np.intp]:
    """The order in which an epoch visits `rows` rows."""
    return np.argsort(random_words(seed, Purpose.SHUFFLE, rows, epoch=epoch), kind="stable")


def uniform(words: Words) -> npt.NDArray[np.float64]:
    """Uniform in [0, 1): the upper 53 bits of each word."""
    numbers: npt.NDArray[np.float64] = np.multiply(words >> np.uint64(11), 2.0**-53, dtype=np.float64)
    return numbers


def normal(words: Words) -> npt.NDArray[np.float64]:
    """Standard normal numbers, one a word; the number of words must be even.

    Source: Box & Muller, 1958.
    """
    u, v = np.split(uniform(words), 2)
    radius, angle = np.sqrt(-2.0 * np.log1p(-u)), 2.0 * np.pi * v
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
