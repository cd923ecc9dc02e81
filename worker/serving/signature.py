"""What a model takes and gives, as the Open Inference Protocol says it; and tensors made into rows for a predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from singlepoint.jobs.spec.data import Missing
from singlepoint.worker.data.gaps import Gaps
from singlepoint.worker.data.preprocessing import Raw, TablePreprocessor
from singlepoint.worker.models.predictor import ModelPredictor, Scores
from singlepoint.worker.nn.arrays import Array

WHOLE = "input"
"""The one input of a model whose columns are all numbers, or that takes arrays."""


class Refused(Exception):
    """A request that cannot be answered. status: of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


@dataclass(frozen=True)
class Tensor:
    """One input or output. shape: -1 stands for the rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True)
class Signature:
    """inputs: one, `input`, or one a column.  columns: the raw columns in the training's order; () for arrays.
    missing: as the model has it.  gaps: what that takes out of rows."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    columns: tuple[str, ...]
    categorical: frozenset[str]
    missing: Missing = ()
    gaps: Gaps = field(default_factory=Gaps)

    @cached_property
    def is_whole(self) -> bool:
        return len(self.inputs) == 1 and self.inputs[0].name == WHOLE

    def raw(self, given: Mapping[str, Array]) -> Raw:
        """The rows of a request. Raises Refused for inputs that are missing, strange, or of another shape."""
        if given.keys() != self.names:
            raise self._other_inputs(given)
        if self.is_whole:
            return self.gaps.taken_out(self._whole(given[WHOLE]))
        rows = {len(values) for values in given.values()}
        if len(rows) != 1:
            raise Refused(422, "the inputs have different numbers of rows")
        return self.gaps.taken_out({one.name: self._column(one, given[one.name]) for one in self.inputs})

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.outputs)

    @cached_property
    def names(self) -> frozenset[str]:
        """Of the inputs."""
        return frozenset(one.name for one in self.inputs)

    def _other_inputs(self, given: Mapping[str, Array]) -> Refused:
        if missing := [one.name for one in self.inputs if one.name not in given]:
            return Refused(422, f"the input '{missing[0]}' is missing")
        [strange, *_] = [name for name in given if name not in self.names]
        return Refused(422, f"there is no input '{strange[:100]}'; there are {', '.join(t.name for t in self.inputs)}")

    def _whole(self, values: Array) -> Array:
        wanted = self.inputs[0].shape[1:]
        if values.dtype == object or values.shape[1:] != wanted:
            raise Refused(422, f"'{WHOLE}' must be numbers of shape {[-1, *wanted]}, is {list(values.shape)}")
        return values

    def _column(self, one: Tensor, values: Array) -> Array:
        column = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if column.ndim != 1:
            raise Refused(422, f"'{one.name}' must have the shape [n] or [n, 1], has {list(values.shape)}")
        if (column.dtype == object) != (one.datatype == "BYTES"):
            raise Refused(422, f"'{one.name}' must be {one.datatype}")
        return column if column.dtype == object else column.astype(np.float64)


def signature(predictor: ModelPredictor) -> Signature:
    """Of a model."""
    preprocessor = predictor.model.preprocessor
    columns = tuple(predictor.columns)
    categorical: frozenset[str] = frozenset()
    if isinstance(preprocessor, TablePreprocessor):
        categorical = frozenset(column.name for column in preprocessor.categorical)
    elif columns:
        categorical = frozenset(columns)  # a text
    if columns and categorical:
        inputs = tuple(Tensor(name, "BYTES" if name in categorical else "FP64", (-1,)) for name in columns)
    else:
        shape = (
            (len(columns),) if columns else getattr(preprocessor, "input_shape", predictor.model.network.input_shape)
        )
        inputs = (Tensor(WHOLE, "FP32", (-1, *shape)),)
    outputs: tuple[Tensor, ...]
    if predictor.classes is not None:
        outputs = (Tensor("probabilities", "FP32", (-1, len(predictor.classes))), Tensor("label", "BYTES", (-1,)))
    else:
        datatype = "FP64" if predictor.model.target_scale is not None else "FP32"
        outputs = (Tensor("prediction", datatype, (-1, len(predictor.names))),)
    missing = getattr(preprocessor, "missing", ())
    return Signature(inputs, outputs, columns, categorical, missing, Gaps.of(preprocessor))


OUTPUTS = {"prediction": "values", "probabilities": "probabilities", "label": "labels"}
"""Where the scores have them."""


def tensor(scores: Scores, name: str) -> Array:
    """One of the outputs that the signature names."""
    found: Array = getattr(scores, OUTPUTS[name])
    return found


def joined(parts: Sequence[Raw]) -> Raw:
    """The rows of several requests for one model, one after another."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Mapping):
        return {name: np.concatenate([part[name] for part in parts]) for name in first}
    return np.concatenate([np.asarray(part) for part in parts])


def cut(scores: Scores, begin: int, end: int) -> Scores:
    """The answers of one of them."""
    return Scores(
        None if scores.probabilities is None else scores.probabilities[begin:end],
        scores.class_names,
        None if scores.values is None else scores.values[begin:end],
    )
