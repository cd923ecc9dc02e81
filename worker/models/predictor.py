"""Raw rows in, answers out: what everybody who predicts asks of a model, whatever computes it.

A row's answer never depends, in any bit, on the rows it is asked with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Protocol

import numpy as np
import numpy.typing as npt

from singlepoint.worker.data.preprocessing import BadRow, Raw, TablePreprocessor, Unseen, row_count, select
from singlepoint.worker.data.preprocessing.plain import plain_numbers
from singlepoint.worker.data.preprocessing.rows import CHUNK_ROWS
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.inference import MANY_ROWS, InferenceSession

from .row_independence import product_here
from .trained_model import TrainedModel


@dataclass(frozen=True)
class Scores:
    """Answers for a run of rows: either probabilities, and labels by them, or values.

    probabilities: float32 (n, classes).  class_names: (classes,) objects that are str.
    values: (n, k), float64 where the model scales its targets, else float32.
    unseen: how many cells of each column held what no training row did.
    """

    probabilities: npt.NDArray[np.float32] | None = None
    class_names: npt.NDArray[np.object_] | None = None
    values: npt.NDArray[np.float32] | npt.NDArray[np.float64] | None = None
    unseen: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def labels(self) -> npt.NDArray[np.object_] | None:
        """The name of the likeliest class, (n,) objects that are str; looked up when they are asked for."""
        if self.probabilities is None or self.class_names is None:
            return None
        likeliest: npt.NDArray[np.object_] = self.class_names[self.probabilities.argmax(axis=1)]
        return likeliest


class Predictor(Protocol):
    """Answers for raw rows, given by one thread at a time: each thread has a predictor of its own.

    columns: names of the raw columns it needs; none when it takes arrays.  names: of its answers, in order.
    classes: None for values.  rows: how many go through it together at best; more are done one such part after another.
    digest: sha256 of all that decides an answer, "" for a model that was never saved.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def classes(self) -> tuple[str, ...] | None: ...
    @property
    def rows(self) -> int: ...
    @property
    def digest(self) -> str: ...

    def predict(self, raw: Raw) -> Scores:
        """Raises BadRow, its row counted in `raw`, also for an answer that is not finite.

        Raises InvalidInput for other columns or another shape.
        """


class ModelPredictor:
    """The predictor of a trained model, by numpy."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model
        self.columns: tuple[str, ...] = getattr(model.preprocessor, "input_names", ())  # an array has no names
        self.names = answer_names(model)
        self.classes = model.classes
        self.digest = model.document_sha256
        self._class_names = np.array(model.classes or (), object)
        self._session = InferenceSession(model.network, product=product_here())
        self.rows = self._session.rows
        is_table = isinstance(model.preprocessor, TablePreprocessor) and model.network.input_type == np.float32
        self._few = min(self.rows, MANY_ROWS) if is_table else 0

    @property
    def working_bytes(self) -> int:
        """What it works in by now, besides the model: more once more rows were asked for together."""
        return self._session.size_bytes

    def weights_changed(self) -> None:
        """Answer by the weights as they are now. Whoever changes those of a network that answers says so."""
        self._session.weights_changed()

    def predict(self, raw: Raw) -> Scores:
        """See `Predictor`."""
        with np.errstate(all="ignore"):  # what is not finite in the end is refused
            return self.predict_quietly(raw)

    def predict_quietly(self, raw: Raw) -> Scores:
        """The same for a thread whose numpy warns of nothing: for whoever answers again and again."""
        outputs, unseen = self._outputs(raw)
        _require_finite(outputs)
        if self.classes is None:
            scale = self.model.target_scale
            return Scores(values=outputs if scale is None else scale.outward(outputs), unseen=unseen)
        if outputs.shape[1] == 1:
            outputs = np.concatenate([1 - outputs, outputs], axis=1)
        return Scores(outputs, self._class_names, unseen=unseen)

    def _outputs(self, raw: Raw) -> tuple[Array, Unseen]:
        """(n, values): prepared and computed some rows at a time, so that memory does not grow with preparation."""
        count = row_count(raw)
        if 0 < count <= self._few:
            return self._of_few(raw, count)
        if count <= CHUNK_ROWS:
            outputs, unseen = self._computed(raw)
            return outputs.reshape(count, -1), unseen
        parts, total = [], Counter[str]()
        for start in range(0, count, CHUNK_ROWS):
            try:
                outputs, unseen = self._computed(select(raw, slice(start, start + CHUNK_ROWS)))
            except BadRow as bad:
                raise bad.shifted(start) from None
            parts.append(outputs)
            total.update(unseen)
        return np.concatenate(parts).reshape(count, -1), dict(total)

    def _of_few(self, raw: Raw, count: int) -> tuple[Array, Unseen]:
        """Prepared where they enter the network: between that and the answers nothing is made or looked up."""
        bound, transform = self._session.bound(count), self.model.preprocessor.transform_quietly  # type: ignore[union-attr]
        if count == len(bound.x):
            unseen = transform(raw, bound.x)
            outputs = bound().copy()
        else:
            unseen = transform(raw, bound.x[:count])
            bound.x[count:] = 0
            outputs = bound()[:count].copy()
        return outputs if outputs.ndim == 2 else outputs.reshape(count, -1), unseen

    def _computed(self, raw: Raw) -> tuple[Array, Unseen]:
        preprocessor = self.model.preprocessor
        prepared, unseen = (plain_numbers(raw), {}) if preprocessor is None else preprocessor.counted(raw)
        return self._session.predict(prepared), unseen


def _require_finite(outputs: Array) -> None:
    """Raises BadRow for the first row (n, values) whose answer is not finite."""
    if not isfinite(np.add.reduce(outputs, axis=None)) and not np.isfinite(outputs).all():
        row = int(np.argmin(np.isfinite(outputs).all(axis=1)))
        reason = "the answer is not a finite number: the row's values are too far from those of the training"
        raise BadRow(row, "", reason, "correct or remove the row")


def answer_names(model: TrainedModel) -> tuple[str, ...]:
    """Names of the columns that a prediction adds: `predicted_<target>`…, and for classes `p_<class>`…

    A target without a name is `predicted`; several are numbered from 1.
    """
    width = 1 if model.classes is not None else model.network.output_shape[-1]
    names = model.target_names
    if len(names) != width:
        names = tuple(str(number) for number in range(1, width + 1)) if width > 1 else ("",)
    targets = [f"predicted_{name}" if name else "predicted" for name in names]
    return (*targets, *(f"p_{name}" for name in model.classes or ()))
