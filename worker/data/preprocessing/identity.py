"""When two cells are one value: `2`, `2.0`, the integer 2 and the float 2.0 are one category and one class.

A decimal number without an exponent, a plus or needless zeros in front goes by its value, so `2.0` is `2`, `0.50` is
`0.5` and `-0` is `0`, as far as a float tells it; from 2**40 on by all its digits. `true` and `false`, spelled as
Python, pandas, R or JSON spell them, are `True` and `False`. Everything else goes by its text without the spaces around
it: `007`, `+49` and `1e3` are codes and stay what they are.
What is missing has the name "". The same rule holds for every format, so that each gives the same model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from .numbers import numbers

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)(\.[0-9]+)?")
# What `float` takes and is no decimal number as above. Spaces end with their line: empty cells are looked at once.
_CODE = re.compile(r"^[^\S\n]*(\+|-?0[0-9])|[eEnN]", re.MULTILINE)
_EXACT_INTEGER = 2.0**53  # below it, a float is the whole number that was written
_FINE = 2.0**40  # below it, a float has at least three places behind the point
_SURE_DIGITS = 15  # so many a float keeps, whatever they are
_EXACT = 1e16  # from here on a float's shortest spelling has an exponent, and goes by its text
_LEAST = 1e-4  # below this one too
BOOLEANS = {
    "true": "True",
    "True": "True",
    "TRUE": "True",
    "false": "False",
    "False": "False",
    "FALSE": "False",
}
"""Spellings of a truth value, and its name."""


def value_name(word: str) -> str:
    """The one name of a value that may be spelled in several ways."""
    word = word.strip()
    found = _DECIMAL.fullmatch(word)
    if found is None:
        return BOOLEANS.get(word, word)
    sign, whole, fraction = found.groups()
    if fraction is None or not fraction.strip(".0"):
        return whole if whole == "0" else sign + whole
    word = word.rstrip("0")
    value = float(word)
    name = repr(value)
    if name == word or (abs(value) < _FINE and not value.is_integer()):
        return name
    places = len(word) - word.index(".") - 1
    return name if f"{value:.{places}f}" == word else word  # the float nearest to it may be another number


def name_of(value: Any) -> str:
    """The name of a cell that has a type already; "" for None, NaN and the "no value" of pandas."""
    if isinstance(value, str):
        return value_name(value)
    if is_missing(value):
        return ""
    if isinstance(value, float | np.floating):
        value = float(value)
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    return value_name(str(value))


def is_missing(value: Any) -> bool:
    """Whether this is None, a NaN, or the NA or NaT of pandas, which are told by their names: it need not be there."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def names_of(cells: Sequence[Any]) -> list[str]:
    """The name of each cell, all of them text; one that occurs often is looked at once."""
    known = {cell: name_of(cell) for cell in set(cells)}
    return [known[cell] for cell in cells]


def is_whole(name: str) -> bool:
    """Whether this is the name of a whole number of 64 bits."""
    found = _DECIMAL.fullmatch(name)
    return found is not None and found[3] is None and len(name) <= 20 and -(2**63) <= int(name) < 2**63


def own_type(words: Sequence[str]) -> npt.NDArray[Any]:
    """A column of text in its own type: bool, int64 or float64 when every cell is such a value and none is made another
    by it, else objects that are the names. What is missing ("") is NaN among floats, and stays "" elsewhere."""
    different = list(set(words))  # to look at each word once is most of the time, in a column of classes
    if 2 * len(different) > len(words):
        return _own_type(words)
    values = _own_type(different)
    known = dict(zip(different, values.tolist(), strict=True))
    return np.fromiter(map(known.__getitem__, words), values.dtype, len(words))


def _own_type(words: Sequence[str]) -> npt.NDArray[Any]:
    numeric = _numeric(words)
    if numeric is not None:
        return numeric
    names = names_of(words)
    if set(names) <= {"True", "False"}:
        return np.array([name == "True" for name in names])
    column = np.empty(len(names), object)
    column[:] = names
    return column


def _numeric(words: Sequence[str]) -> npt.NDArray[np.int64] | npt.NDArray[np.float64] | None:
    """The cells as numbers, if there is any, none is a code and none is another as a number; one search through all of
    the text at once."""
    text = "\n".join(words)
    if _CODE.search(text):
        return None
    try:
        values = numbers([word or "nan" for word in words])
    except ValueError:
        return None
    if not np.isfinite(values).any():
        return None
    whole, points = values == np.floor(values), "." in text
    if np.fmax.reduce(np.abs(values)) >= (_FINE if points else _EXACT_INTEGER):
        return _exact(words, values)
    if points and max(map(len, compress(words, whole.tolist())), default=0) > _SURE_DIGITS + len("."):
        return _exact(words, values)  # a fraction may have been lost
    return values.astype(np.int64) if whole.all() else values


def _exact(
    words: Sequence[str], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64] | npt.NDArray[np.float64] | None:
    """The numbers of these words where a float may be another than the text: as whole numbers, or as the floats they
    are. None if one is neither."""
    names = names_of(words)
    if all(map(is_whole, names)):
        return np.array([int(name) for name in names], np.int64)
    return values if names == names_of(values.tolist()) else None


def own_numbers(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64] | npt.NDArray[np.float64] | None:
    """What `own_type` makes of the names of these numbers (missing: NaN), without spelling them. None where that has to
    look at the names: of a number that is spelled with an exponent or may have been another before it was a float."""
    if not -_EXACT_INTEGER < np.fmin.reduce(values) <= np.fmax.reduce(values) < _EXACT_INTEGER:
        return None
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if np.array_equal(whole, values):
        return whole
    spelled = (np.abs(values) >= _LEAST) | (values == 0) | np.isnan(values)
    return values + 0.0 if spelled.all() else None  # what is spelled has no -0
