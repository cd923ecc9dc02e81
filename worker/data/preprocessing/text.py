"""Text as numbers: the words of a sentence in order (for Embedding and a recurrent layer), or which n-grams occur
in it and how telling they are (TF-IDF, for dense layers).

A word is a run of letters and digits, apostrophes inside it included, in Unicode's composed form (NFC), lower case
unless asked otherwise. Vocabularies are learned from the training rows alone and saved in the model.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec import data
from singlepoint.jobs.spec.base import Count, Positive
from singlepoint.worker.nn.arrays import Array, Indices

from .rows import Fitted, Raw, SparseRows, Unseen, sparse_rows

PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words(text: str, lowercase: bool = True) -> list[str]:
    """The words of a text, in order."""
    composed = unicodedata.normalize("NFC", text)
    return _WORD.findall(composed.lower() if lowercase else composed)


class _TextPreprocessor(Fitted):
    """What both kinds share. column: the text's column, its position without a header; "" for a plain array."""

    column: str = ""
    header: bool = True
    missing: data.Missing = ()
    lowercase: bool = True

    @property
    def input_names(self) -> tuple[str, ...]:
        """The raw column needed."""
        return (self.column,)

    @property
    def number_names(self) -> tuple[str, ...]:
        """None of it is read as a number."""
        return ()

    def _unseen(self, words: int) -> Unseen:
        """So many words that are not in the vocabulary."""
        return {self.column or "x": words} if words else {}

    def _texts(self, raw: Raw) -> Sequence[str]:
        cells = raw if isinstance(raw, np.ndarray) else raw[self.column]
        return _strings(cells)


class TfIdfPreprocessor(_TextPreprocessor):
    """terms: the n-grams, one a column.  idf: how rare each is: log((1 + rows) / (1 + rows with it)) + 1."""

    type: Literal["tfidf"] = "tfidf"
    ngrams: Annotated[int, Field(strict=True, ge=1, le=3)]
    terms: Annotated[tuple[str, ...], Field(min_length=1)]
    idf: tuple[Positive, ...]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(self.idf) != len(self.terms) or len(set(self.terms)) < len(self.terms):
            raise ValueError("terms must differ and have one idf each")
        return self

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(terms,) of a prepared row."""
        return (len(self.terms),)

    @property
    def vocabulary(self) -> int | None:
        """None: these are not tokens."""
        return None

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {term: place for place, term in enumerate(self.terms)}

    def transform(self, raw: Raw) -> SparseRows:
        """(n, terms): (1 + log count) * idf of each n-gram, each row then of Euclidean length 1 (or all 0)."""
        return self.counted(raw)[0]

    def counted(self, raw: Raw) -> tuple[SparseRows, Unseen]:
        """Prepared rows, and how many words are no term."""
        rows = [words(text, self.lowercase) for text in self._texts(raw)]
        unknown = sum(word not in self._columns for row in rows for word in row)
        return sparse_rows([self._weigh(row) for row in rows], len(self.terms)), self._unseen(unknown)

    def _weigh(self, row: list[str]) -> tuple[list[int], list[float]]:
        places = self._columns
        counts = Counter(places[g] for g in _ngrams(row, self.ngrams) if g in places)
        columns = sorted(counts)
        weights = [(1.0 + math.log(counts[c])) * self.idf[c] for c in columns]
        length = math.sqrt(math.fsum(w * w for w in weights)) or 1.0
        return columns, [w / length for w in weights]


class SequencePreprocessor(_TextPreprocessor):
    """words: token 2 is the first of them; 0 is padding after the end, 1 a word not among them.

    unknown: whether training rows had such words. If not, nothing was learned of token 1, and they are left out.
    """

    type: Literal["sequence"] = "sequence"
    length: Count
    unknown: bool = True
    words: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(set(self.words)) < len(self.words):
            raise ValueError("words must differ")
        return self

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(length,) of a prepared row."""
        return (self.length,)

    @property
    def vocabulary(self) -> int | None:
        """How many different tokens there are."""
        return len(self.words) + FIRST_WORD

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words, FIRST_WORD)}

    def transform(self, raw: Raw) -> npt.NDArray[np.int32]:
        """(n, length) tokens; a text without a word is one unknown word."""
        return self.counted(raw)[0]

    def counted(self, raw: Raw) -> tuple[npt.NDArray[np.int32], Unseen]:
        """Prepared rows, and how many of the words that fit in are not in the vocabulary."""
        texts, known = self._texts(raw), self._tokens
        out = np.zeros((len(texts), self.length), np.int32)
        unseen = 0
        for row, text in enumerate(texts):
            found = words(text, self.lowercase)
            if not self.unknown:
                unseen += len(found)
                found = [word for word in found if word in known]
                unseen -= len(found)
            tokens = [known.get(word, UNKNOWN) for word in found[: self.length]]
            unseen += tokens.count(UNKNOWN)
            if not tokens and self.unknown:
                tokens = [UNKNOWN]
            out[row, : len(tokens)] = tokens
        return out, self._unseen(unseen)


def fit_text(
    raw: Raw,
    rows: Indices,
    spec: data.PreprocessingSpec,
    *,
    column: str = "",
    header: bool = True,
    missing: data.Missing = (),
) -> TfIdfPreprocessor | SequencePreprocessor:
    """Learn the vocabulary of these rows of a column of text.

    Raises InvalidInput when no word is frequent enough.
    """
    cells = raw if isinstance(raw, np.ndarray) else raw[column]
    texts = _strings(cells[rows])
    reading = {"column": column, "header": header, "missing": missing, "lowercase": spec.lowercase}
    split = (words(text, spec.lowercase) for text in texts)
    if isinstance(spec.text, data.Sequence):
        length = spec.text.length
        # What is cut off is never learned from.
        rows_of = [row if spec.unseen == "place" else row[:length] for row in split]
        counts = _rows_with(rows_of)
        found = _frequent(counts, spec.text.min_count, spec.text.max_vocabulary)
        unknown = spec.unseen == "place" or len(found) < len(counts) or not all(rows_of)
        return SequencePreprocessor(length=length, words=tuple(found), unknown=unknown, **reading)
    ngrams = spec.text.ngrams
    counts = _rows_with(_ngrams(row, ngrams) for row in split)
    found = _frequent(counts, spec.text.min_count, spec.text.max_features)
    terms = sorted(found)
    idf = tuple(math.log((1 + len(texts)) / (1 + found[term])) + 1.0 for term in terms)
    return TfIdfPreprocessor(ngrams=ngrams, terms=tuple(terms), idf=idf, **reading)


def _strings(cells: Array) -> Sequence[str]:
    if cells.ndim != 1 or cells.dtype.kind not in "OU":
        raise InvalidInput(Problem("x", f"is {cells.dtype} {cells.shape}, but text is needed: one string a row"))
    return cells.tolist()  # type: ignore[no-any-return]


def _rows_with(rows: Iterable[Iterable[str]]) -> Counter[str]:
    """In how many rows each term occurs."""
    return Counter(term for row in rows for term in set(row))


def _frequent(counts: Counter[str], min_count: int, at_most: int) -> dict[str, int]:
    """The terms in `min_count` rows or more, most frequent first, `at_most` of them."""
    ranked = sorted((term for term in counts if counts[term] >= min_count), key=lambda term: (-counts[term], term))
    if not ranked:
        hint = "lower preprocessing.text.min_count or give more rows"
        raise InvalidInput(Problem("data.text", f"no word occurs in {min_count} rows", hint))
    return {term: counts[term] for term in ranked[:at_most]}


def _ngrams(row: list[str], longest: int) -> Iterator[str]:
    for n in range(1, longest + 1):
        for start in range(len(row) - n + 1):
            yield " ".join(row[start : start + n])
