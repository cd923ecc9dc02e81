"""What one cell means, whatever the format: a number, a word, or no value.

Text and typed cells (of Parquet, JSON) follow one rule, so that a table gives the same model through every door: a
number is what `preprocessing.numbers` takes, with the file's own decimal mark, or a truth value (1 or 0); what means
"no value" is told by its text or, where that is a number, by its value: `-999` means `-999.0` too.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.spec.data import MISSING_DEFAULT, Missing
from singlepoint.worker.data.preprocessing.decimals import Places
from singlepoint.worker.data.preprocessing.equal_bytes import Known
from singlepoint.worker.data.preprocessing.identity import BOOLEANS, is_missing, name_of, value_name
from singlepoint.worker.data.preprocessing.numbers import is_number, number
from singlepoint.worker.nn.arrays import Array

from .tile import Reject

DATES = (datetime.date, datetime.time, datetime.timedelta)

_LOOKS_MISSING = {"n/a", "na", "null", "none", "nan", "-", "--", "#n/a", ".", "unknown", "missing", "nil", "<na>"}
_LOOKS_MISSING |= {r"\n", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"}  # of databases and sheets
_LOOKS_LIKE_A_DATE = re.compile(r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}.*|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}.*")
_COMMA_INSIDE = re.compile(r"[+-]?[0-9][0-9.]*(,[0-9]+)+(\.[0-9]+)?")
_DIGITS_AND_MARKS = re.compile(r"[+-]?[0-9.,' ]+")
_CATEGORICAL_HINT = "list the column in preprocessing.categorical, or in data.ignore"
_DATE_HINT = "it looks like a date: list the column in preprocessing.categorical or data.ignore, or make a number of it"

_NOTHING_KNOWN: Array = np.array([""], object)
_MOST_KNOWN = 1000  # words of a column that are told by their bytes
_MOST_REMEMBERED = 100_000  # different cells; more are free text rather than categories


@dataclass(frozen=True)
class Marks:
    """How numbers are written. thousands: "" for not at all."""

    decimal: str = "."
    thousands: str = ""

    @property
    def usual(self) -> bool:
        """Whether they are written as in a programming language."""
        return self.decimal == "." and not self.thousands

    def plain(self, word: str) -> str:
        """A number as `float` takes it; any other text as it is. Raises ValueError for misplaced thousands."""
        if self.usual:
            return word
        word = word.strip()
        if self.decimal != "." and "." in word and self.thousands != ".":
            raise ValueError(word)
        if self.thousands and self.thousands in word:
            if not self._grouped.fullmatch(word):
                raise ValueError(word)
            word = word.replace(self.thousands, "")
        return word.replace(self.decimal, ".")

    def word(self, word: str) -> str:
        """A word as other formats have it: a number among words gets a decimal point."""
        if self.usual or not any(mark in word for mark in (self.decimal, self.thousands) if mark):
            return word
        try:
            plain = self.plain(word)
            number(plain)
        except ValueError:
            return word
        return plain

    @cached_property
    def _grouped(self) -> re.Pattern[str]:
        mark, decimal_mark = re.escape(self.thousands), re.escape(self.decimal)
        return re.compile(rf"[+-]?[1-9][0-9]{{0,2}}({mark}[0-9]{{3}})+({decimal_mark}[0-9]*)?")  # 0.520 is no 520


USUAL = Marks()


@dataclass(frozen=True)
class NoValue:
    """Which cells of a column mean "no value". marks: of the file; a number may be said as it stands there."""

    words: frozenset[str]
    marks: Marks = USUAL

    @classmethod
    def of(cls, missing: Missing, column: str, marks: Marks = USUAL) -> NoValue:
        """What `missing` says of this column."""
        words = missing.get(column, MISSING_DEFAULT) if isinstance(missing, dict) else missing
        return _no_value(tuple(map(str.strip, words)), marks)

    def means(self, word: str) -> bool:
        """Whether this text does."""
        word = word.strip()
        return word in self.words or value_name(self.marks.word(word)) in self._names

    @cached_property
    def numbers(self) -> npt.NDArray[np.float64]:
        """Numbers that do, such as -999."""
        values = [number(word) for word in self._plain]
        return np.array([value for value in values if not math.isnan(value)], np.float64)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(map(value_name, self._plain))

    @cached_property
    def _plain(self) -> tuple[str, ...]:
        """Those that are numbers, as `number` takes them."""
        return tuple(filter(is_number, map(self.marks.word, self.words)))

    def taken_out(self, values: Array, kind: npt.DTypeLike | None = None) -> Array:
        """The numbers, NaN where one means "no value"; the same array if none can.

        kind: their own type, if it is not the array's: of 32 bits, what -99.9 means is -99.9000015.
        """
        if not len(self.numbers):
            return values
        return np.where(np.isin(values, self._numbers_as(kind or values.dtype)), np.nan, values)

    def _numbers_as(self, kind: npt.DTypeLike) -> npt.NDArray[np.float64]:
        if np.dtype(kind).kind != "f":
            return self.numbers
        with np.errstate(over="ignore"):
            own = self.numbers.astype(kind).astype(np.float64)
        return own[np.isfinite(own) | np.isinf(self.numbers)]


@lru_cache(maxsize=64)  # a table may have thousands of columns, and what is derived from the words is not for nothing
def _no_value(words: tuple[str, ...], marks: Marks) -> NoValue:
    return NoValue(frozenset(words), marks)


class ColumnParser:
    """The cells of one column, remembered: what occurs often is looked at once."""

    def __init__(self, name: str, missing: Missing, marks: Marks = USUAL) -> None:
        self.name = name
        self.no_value = NoValue.of(missing, name, marks)
        self._marks = marks
        self._numbers: dict[Any, float | None] = {}
        self._words: dict[Any, str] = {}
        self._known_words = _NOTHING_KNOWN

    def number(self, cell: str | bytes) -> float | None:
        """The number in a cell of text: NaN for "no value", None for what is neither. Raises UnicodeDecodeError."""
        try:
            return self._numbers[cell]
        except KeyError:
            pass
        if len(self._numbers) > _MOST_REMEMBERED:
            self._numbers.clear()
        value = self._numbers[cell] = self._parsed(cell if isinstance(cell, str) else cell.decode())
        return value

    def _parsed(self, cell: str) -> float | None:
        if self.no_value.means(cell):
            return math.nan
        try:
            return number(self._marks.plain(cell))
        except ValueError:
            name = BOOLEANS.get(cell.strip())
            return None if name is None else float(name == "True")

    def numbers(self, cells: Sequence[str]) -> tuple[npt.NDArray[np.float64], list[Reject]]:
        """A column of text as numbers, NaN for "no value", and what is neither."""
        parsed = [self.number(cell) for cell in cells]
        values = np.array([math.nan if value is None else value for value in parsed], np.float64)
        return values, [self.reject(row, cells[row]) for row, value in enumerate(parsed) if value is None]

    def word(self, cell: str | bytes) -> str:
        """The word in a cell of text, "" for "no value". Raises UnicodeDecodeError."""
        try:
            return self._words[cell]
        except KeyError:
            pass
        if len(self._words) > _MOST_REMEMBERED:
            self._words.clear()
        text = (cell if isinstance(cell, str) else cell.decode()).strip()
        word = self._words[cell] = "" if self.no_value.means(text) else self._marks.word(text)
        return word

    def words(self, cells: Sequence[str | bytes]) -> Array:
        """A column of text as stripped words; equal ones are one object, so a category costs 8 bytes a cell."""
        known = {cell: self.word(cell) for cell in set(cells)}
        column = np.empty(len(cells), object)
        column[:] = list(map(known.__getitem__, cells))
        return column

    @cached_property
    def _known(self) -> Known:
        """The bytes of `_known_words`, made where they are needed: a table may have thousands of columns."""
        known = Known()
        known.add(b"")
        return known

    def words_at(self, text: bytes, starts: Places, ends: Places) -> Array:
        """The words at text[starts:ends] of a text that is padded as for `decimals`; otherwise as `words`."""
        buffer = np.frombuffer(text, np.uint8)
        numbers, foreign = self._known.numbers(buffer, starts, ends)
        rows = np.flatnonzero(foreign)
        if not len(rows):
            return self._known_words[numbers]
        cells = [text[start:end] for start, end in zip(starts[rows].tolist(), ends[rows].tolist(), strict=True)]
        if len(self._known) < _MOST_KNOWN and self._learn(cells):
            return self.words_at(text, starts, ends)
        column = self._known_words[numbers]
        column[rows] = self.words(cells)
        return column

    def _learn(self, cells: Sequence[bytes]) -> bool:
        """Make some of these cells known. False if none can be."""
        words = [self.word(cell) for cell in islice(dict.fromkeys(cells), _MOST_KNOWN) if self._known.add(cell)]
        known = np.empty(len(words), object)
        known[:] = words
        self._known_words = np.concatenate([self._known_words, known])
        return bool(words)

    def typed_numbers(self, cells: Sequence[Any]) -> tuple[npt.NDArray[np.float64], list[Reject]]:
        """A column of cells of any type as numbers."""
        values = np.empty(len(cells), np.float64)
        rejects: list[Reject] = []
        for row, cell in enumerate(cells):
            value = self._typed(cell)
            values[row] = math.nan if value is None else value
            if value is None:
                rejects.append(self.reject(row, cell))
        return self.no_value.taken_out(values), rejects

    def _typed(self, cell: Any) -> float | None:
        if isinstance(cell, str):
            return self.number(cell)
        if is_missing(cell):
            return math.nan
        if not isinstance(cell, bool | int | float | decimal.Decimal):
            return None
        try:
            return float(cell)
        except OverflowError:  # a whole number beyond every float
            return math.inf if cell > 0 else -math.inf

    def typed_words(self, cells: Sequence[Any]) -> tuple[Array, list[Reject]]:
        """A column of cells of any type as words."""
        column = np.empty(len(cells), object)
        rejects: list[Reject] = []
        for row, cell in enumerate(cells):
            if isinstance(cell, list | dict | bytes):
                rejects.append(Reject(row, self.name, f"holds a {type(cell).__name__}", "put it in data.ignore"))
                cell = None
            column[row] = self.word(text_of(cell))
        return column, rejects

    def reject(self, row: int, cell: Any) -> Reject:
        """Why this cell of a column of numbers is none."""
        text = cell if isinstance(cell, str) else str(cell)
        return Reject(row, self.name, "is not a number", self._hint(cell, text.strip()), text)

    def _hint(self, cell: Any, text: str) -> str:
        if isinstance(cell, DATES) or _LOOKS_LIKE_A_DATE.fullmatch(text):
            return _DATE_HINT
        if text.lower() in _LOOKS_MISSING or not text:
            return (
                f"if it means 'no value', say so: data.missing = [\"\", '{text}']" if text else "add it to data.missing"
            )
        if _COMMA_INSIDE.fullmatch(text) and self._marks.usual:
            return "a decimal comma, or thousands? set data.decimal = ',' or data.thousands = ','; " + _CATEGORICAL_HINT
        if not self._marks.usual and _DIGITS_AND_MARKS.fullmatch(text):
            read_as = f"data.decimal {self._marks.decimal!r} and data.thousands {self._marks.thousands!r}"
            return f"it was read with {read_as}: set them if that is not so; {_CATEGORICAL_HINT}"
        return _CATEGORICAL_HINT


def text_of(cell: Any) -> str:
    """A typed cell as the text that a CSV file would have."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, DATES):
        return cell.isoformat() if not isinstance(cell, datetime.timedelta) else str(cell)
    return name_of(cell)


def dates_refused(name: str, kind: object) -> Reject:
    """What to say of a column of dates that is to be numbers."""
    return Reject(0, name, f"the column holds dates ({kind})", _DATE_HINT.partition(": ")[2])
