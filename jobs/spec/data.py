"""Where a job's data is and what is done to it before a network sees it. Options and bounds only.

Preprocessing is fitted on the training part alone and saved inside the model, so prediction takes raw
rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from singlepoint.jobs.errors import Problem

from .base import Count, FilePath, Fraction, Part, Positive

Task = Literal["classification", "regression"]
"""What is learned: one of several classes, or values."""


_Mark = Annotated[str, Field(min_length=1, max_length=1)]
_MarkOrNone = Annotated[str, Field(max_length=1)]

Missing = tuple[str, ...] | dict[str, tuple[str, ...]]
"""Cells that mean "no value": in all columns, or by column, the others then as by default."""

MISSING_DEFAULT = ("", "?", "NA", "NaN", "nan")


class DialectFields(Part):
    """How a CSV file is written. What is None is found out from the file's first rows when the job is submitted.

    separator: a space stands for any run of spaces.  quote, thousands, comment: "" for none.
    """

    earlier: ClassVar[Mapping[str, Any]] = {
        "separator": None,
        "quote": '"',
        "decimal": ".",
        "thousands": "",
        "comment": "",
        "encoding": "utf-8",
    }

    separator: _Mark | None = None
    quote: _MarkOrNone | None = None
    decimal: Literal[".", ","] | None = None
    thousands: _MarkOrNone | None = None
    comment: _MarkOrNone | None = None  # lines that begin with it are left out
    encoding: Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "windows-1252"] | None = None


_OTHER_THAN: Mapping[str, tuple[str, ...]] = {
    "separator": (),
    "thousands": ("decimal",),
    "quote": ("separator", "decimal", "thousands"),
    "comment": ("separator", "decimal", "thousands", "quote"),
}
"""Marks, and the fields that cannot be the same. A separator may be a mark of numbers: those then stand in quotes."""

_IN_CELLS = {"separator": "+-", "thousands": "+-", "quote": "+-.,", "comment": "+-.,"}
_BLANKS = {"separator": " \t", "thousands": " \u00a0\u2009\u202f"}  # that may be such a mark all the same


def mark_problems(said: DialectFields, section: str) -> Iterator[Problem]:
    """What of these marks would take cells apart, or rows away, that are data. section: such as "data."."""
    marks = {name: getattr(said, name) for name in DialectFields.model_fields}
    marks["quote"] = '"' if said.quote is None else said.quote
    for name, others in _OTHER_THAN.items():
        mark = marks[name]
        if not mark:
            continue
        blank = mark.isspace() and mark not in _BLANKS.get(name, "")
        if blank or mark.isalnum() or mark in _IN_CELLS[name]:
            what = f"is {mark!r}, which numbers and words are made of"
            yield Problem(f"{section}{name}", what, "give a character that no cell holds, or leave it out")
        elif twin := next((other for other in others if marks[other] == mark), None):
            yield Problem(f"{section}{name}", f"is {mark!r}, which is the {twin} mark already", "give another, or ''")


class DataSpec(DialectFields):
    """`[data]`: the file, what is to be learned, and what is held back to check it.

    path: a file, several, a pattern or a folder; docs/spec.md lists the formats. Relative to the spec file.
    An array of numbers with more than two axes holds images, or sequences when the network reads those; one
    of text, texts.
    """

    path: Annotated[FilePath | tuple[FilePath, ...], Field(min_length=1)]
    target: str | tuple[str, ...] | None = None  # column name(s); for .npz the array, by default "y"
    target_path: FilePath | None = None
    # None: by the loss; else text, or at most 20 different whole numbers, are classes
    task: Task | None = None
    positive: str | None = None  # of two classes, the one that precision, recall and AUC are about; None: the second
    features: tuple[str, ...] | None = None  # None: every column that is not the target or ignored
    ignore: tuple[str, ...] = ()
    text: str | None = None  # the one column that holds text
    header: bool = True  # without one, columns are called "0", "1", …
    missing: Missing = MISSING_DEFAULT
    validation: Fraction = 0.2
    validation_path: FilePath | tuple[FilePath, ...] | None = None  # a file of its own instead of a share of `path`
    validation_target_path: FilePath | None = None


class Median(Part):
    """Each pixel becomes the median of its size x size neighbourhood."""

    type: Literal["median"]
    size: Literal[3, 5, 7] = 3


class Gaussian(Part):
    """Each pixel becomes a Gaussian mean of its neighbours; sigma in pixels."""

    type: Literal["gaussian"]
    sigma: Positive = 1.0


class TfIdf(Part):
    """Text becomes one column an n-gram: its count's 1 + log, times its rarity, rows of length 1."""

    type: Literal["tfidf"]
    ngrams: Annotated[int, Field(strict=True, ge=1, le=3)] = 2  # 1..ngrams words together
    max_features: Count = 20_000
    min_count: Count = 2  # rarer n-grams are left out


class Sequence(Part):
    """Text becomes the numbers of its words, padded with 0 or cut to `length`; 1 is an unknown word."""

    type: Literal["sequence"]
    length: Count = 64
    max_vocabulary: Count = 20_000
    min_count: Count = 2


class PreprocessingSpec(Part):
    """`[preprocessing]`."""

    earlier: ClassVar[Mapping[str, Any]] = {
        "normalise_target": "none",
        "unseen": "place",
        "identity": "spelling",
    }

    normalise: Literal["standard", "min_max", "none"] = "standard"  # numeric columns, or pixels of images
    impute: Literal["mean", "median", "most_frequent", "none"] = "none"  # "none": a missing number is an error
    identity: Literal["value", "spelling"] = "value"  # whether 2 and 2.0 are one category
    categorical: tuple[str, ...] | Literal["auto"] = ()  # one-hot; "auto": what has more than numbers in it
    max_categories: Count = 256
    rescale: Positive | None = None  # pixels are divided by this (255 for 8-bit images), once denoised
    denoise: Annotated[Median | Gaussian, Field(discriminator="type")] | None = None
    text: Annotated[TfIdf | Sequence, Field(discriminator="type")] = TfIdf(type="tfidf")
    lowercase: bool = True
    # of a regression; None: standard, unless the last layer bounds its answers
    normalise_target: Literal["standard", "none"] | None = None
    # what training never saw: "average" counts for nothing; "place": as 0.1.0, a place whose weights are random
    unseen: Literal["average", "place"] = "average"
