"""Which text is a number: `-1`, `.5`, `2.5e-3`, with spaces around it or none.

Python's `float` takes more: digits with underscores between them (`1_000`) and those of other scripts (`１２`). In a
table these are a name, a code or a slip, and to read them as numbers would hide it. Any spelling of `nan` is "no
value"; `inf` is read, so that whoever checks the rows can say where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def number(word: str) -> float:
    """Raises ValueError for anything that is no number."""
    word = word.strip()
    if not _is_plain(word):
        raise ValueError(word)
    return float(word)


def is_number(word: str) -> bool:
    """Whether `number` takes it."""
    try:
        number(word)
    except ValueError:
        return False
    return True


def numbers(words: Sequence[str]) -> npt.NDArray[np.float64]:
    """All of them; raises ValueError when one is no number."""
    # One look at all of the text costs a tenth of a look at each word.
    parse = float if _is_plain("".join(words)) else number
    return np.fromiter(map(parse, words), np.float64, len(words))


def _is_plain(text: str) -> bool:
    return text.isascii() and "_" not in text
