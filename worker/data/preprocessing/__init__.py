"""Raw rows in, numbers out: what is learned from the training rows and travels inside the model.

`Preprocessor` is one of four closed records, each with `transform(raw)`, `counted(raw)`, `output_shape` and
`vocabulary`. What no training row had is told (`Unseen`), and counts for nothing: it gives what the average training
row gives, never a value that a network could answer with weights it has not trained.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .array import ArrayPreprocessor, fit_array
from .rows import BadRow, InFile, LazyRows, Raw, SparseRows, Unseen, prepare, row_count, select
from .table import TablePreprocessor, fit_table
from .text import SequencePreprocessor, TfIdfPreprocessor, fit_text

Preprocessor = Annotated[
    TablePreprocessor | ArrayPreprocessor | TfIdfPreprocessor | SequencePreprocessor, Field(discriminator="type")
]

__all__ = [
    "ArrayPreprocessor",
    "BadRow",
    "InFile",
    "LazyRows",
    "Preprocessor",
    "Raw",
    "SequencePreprocessor",
    "SparseRows",
    "TablePreprocessor",
    "TfIdfPreprocessor",
    "Unseen",
    "fit_array",
    "fit_table",
    "fit_text",
    "prepare",
    "row_count",
    "select",
]
