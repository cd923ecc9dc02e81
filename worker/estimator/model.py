"""A model: a network with all that is needed to use it. Raw rows in; labels, probabilities or values out.

    model = Model(input_shape=(10,), output_shape=(5,), activation="relu")
    model.fit(x, y, epochs=100, batch_size=32)
    model.predict(x)

Follows scikit-learn's conventions (fit, predict, predict_proba, score, classes_, get_params) where they cost
nothing. A row's answer never depends, in any bit, on the rows it is scored with.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from singlepoint.jobs.errors import EXIT_INVALID, InvalidInput, Problem, SinglepointError
from singlepoint.jobs.spec.data import PreprocessingSpec, Task
from singlepoint.jobs.spec.network import Activation, Initialiser, Layer, ModelSpec, Zeros
from singlepoint.jobs.spec.training import Loss, Optimiser, TrainingSpec
from singlepoint.worker.data import targets
from singlepoint.worker.data.preprocessing import (
    Preprocessor,
    Raw,
    SequencePreprocessor,
    TfIdfPreprocessor,
    fit_array,
    fit_table,
    fit_text,
    prepare,
    row_count,
    select,
)
from singlepoint.worker.data.targets import ClassType, Target
from singlepoint.worker.nn.architecture import complete_layers, takes_sequences, takes_tokens
from singlepoint.worker.nn.arrays import Array, Indices, Rows
from singlepoint.worker.nn.inference import InferenceSession
from singlepoint.worker.nn.learning import metrics
from singlepoint.worker.nn.learning.trainer import EpochReport, Trainer
from singlepoint.worker.nn.network import Network

Shape = int | Sequence[int]

_OPTIMISER: TypeAdapter[Any] = TypeAdapter(Optimiser)
_LAYERS: TypeAdapter[tuple[Any, ...]] = TypeAdapter(tuple[Layer, ...])
_INITIALISER: TypeAdapter[Any] = TypeAdapter(Initialiser)


class NotTrained(SinglepointError):
    """The model has no weights yet: call fit, or load one."""

    exit_code = EXIT_INVALID


@dataclass(frozen=True)
class Scores:
    """Answers for a run of rows: either labels and probabilities, or values.

    labels: the name of the likeliest class, (n,) objects that are str.  probabilities: float32 (n, classes).
    values: float32 (n, k).
    """

    labels: npt.NDArray[np.object_] | None = None
    probabilities: npt.NDArray[np.float32] | None = None
    values: npt.NDArray[np.float32] | None = None


class Model:
    """A network, its preprocessing, and the names of its answers.

    input_shape, output_shape: of one raw row and of one answer; None: what `fit` finds in the data.
    hidden: widths of hidden dense layers, by default one of 32; or layers: every layer, as records or dicts.
    activation: of the hidden layers.  output_activation: by default softmax for classes, linear for values.
    optimiser: a name, dict or record; learning_rate overrides its own.  loss: by default cross-entropy for
    classes, mean squared error for values.  task: by default as the targets suggest.
    preprocessing: a record or dict, fitted by `fit` on the training rows; None: numbers are used as they are.
    """

    def __init__(
        self,
        input_shape: Shape | None = None,
        output_shape: Shape | None = None,
        activation: Activation = "relu",
        *,
        hidden: Sequence[int] | None = None,
        layers: Sequence[Layer | Mapping[str, Any]] | None = None,
        output_activation: Activation | None = None,
        initialiser: Initialiser | Mapping[str, Any] | None = None,
        bias_initialiser: Initialiser | Mapping[str, Any] | None = None,
        loss: Loss | None = None,
        optimiser: Optimiser | Mapping[str, Any] | str = "adam",
        learning_rate: float | None = None,
        task: Task | None = None,
        preprocessing: PreprocessingSpec | Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        given = locals()
        self._parameters: dict[str, Any] = {name: given[name] for name in inspect.signature(Model).parameters}
        self._network: Network | None = None
        self.preprocessor: Preprocessor | None = None
        self.task: Task = task or "regression"
        self.classes: tuple[str, ...] | None = None
        self.class_type: ClassType = "text"
        self.target_names: tuple[str, ...] = ()
        self.sha256 = ""
        self.metrics: dict[str, float] = {}
        self.provenance: dict[str, Any] = {}
        self.history: list[EpochReport] = []

    @classmethod
    def of(
        cls,
        network: Network,
        preprocessor: Preprocessor | None,
        task: Task,
        classes: tuple[str, ...] | None,
        class_type: ClassType = "text",
        target_names: tuple[str, ...] = (),
    ) -> Self:
        """A model around a network that exists."""
        model = cls(network.input_shape, network.output_shape, layers=network.layers)
        model._network, model.preprocessor = network, preprocessor
        model.task, model.classes, model.class_type, model.target_names = task, classes, class_type, target_names
        return model

    @property
    def network(self) -> Network:
        """The network. Raises NotTrained before `fit` or `load`."""
        if self._network is None:
            raise NotTrained
        return self._network

    @property
    def classes_(self) -> Array:
        """The classes, as they were in the targets: text or whole numbers."""
        if self.classes is None:
            raise AttributeError("a model of values has no classes")
        return targets.in_own_type(self.classes, self.class_type)

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 10,
        batch_size: int | None = None,
        validation: float | tuple[Any, Any] = 0.0,
        **training: Any,
    ) -> Self:
        """Learn from raw rows x (n, …) and their targets y, from newly drawn weights.

        y: class names or numbers (n,), or values (n,) or (n, k).
        validation: the share of the rows, or (x, y), to measure on after each epoch; gives `metrics`.
        training: any further field of `[training]` (early_stopping, clip_norm, class_weights, …).
        Raises InvalidInput, or ValueError from the network, when the parts do not go together.
        """
        spec = self._training_spec(epochs, batch_size, training)
        raw, target = _as_raw(x), self._target(np.asarray(y), spec)
        if row_count(raw) != len(target.y):
            raise InvalidInput(Problem("y", f"has {len(target.y)} rows, but x has {row_count(raw)}"))
        share = validation if isinstance(validation, float | int) else 0.0
        rows, held_back = targets.split(target, share, spec.seed)
        self._begin(raw, rows, target, spec)
        checked: tuple[Array | Rows | None, Array | None] = (None, None)
        if isinstance(validation, tuple):
            checked = self._prepared(_as_raw(validation[0])), targets.encode_like(np.asarray(validation[1]), target)
        elif len(held_back):
            checked = self._prepared(raw, held_back), target.y[held_back]
        self._train(spec, self._prepared(raw, rows), target.y[rows], *checked)
        return self

    def predict(self, x: Any) -> Array:
        """Classes (n,) as they were in the targets, or values (n,) or (n, k)."""
        scores = self.predict_table(_as_raw(x))
        if scores.labels is not None:
            return targets.in_own_type(scores.labels.tolist(), self.class_type)
        assert scores.values is not None
        return scores.values[:, 0] if scores.values.shape[1] == 1 else scores.values

    def predict_proba(self, x: Any) -> npt.NDArray[np.float32]:
        """The probability of each class, (n, classes), in the order of `classes_`."""
        probabilities = self.predict_table(_as_raw(x)).probabilities
        if probabilities is None:
            raise AttributeError("a model of values has no probabilities")
        return probabilities

    def predict_table(self, raw: Raw) -> Scores:
        """Answers for raw rows: named columns, or an array. Raises BadRow, InvalidInput."""
        outputs = self._outputs(self._prepared(raw)).reshape(row_count(raw), -1)
        if self.classes is None:
            return Scores(values=outputs)
        if outputs.shape[1] == 1:
            outputs = np.concatenate([1 - outputs, outputs], axis=1)
        names = np.array(self.classes, object)
        return Scores(labels=names[outputs.argmax(axis=1)], probabilities=outputs)

    def score(self, x: Any, y: Any) -> float:
        """Accuracy for classes, R² for values."""
        scores, given = self.predict_table(_as_raw(x)), np.asarray(y)
        if scores.labels is not None:
            return float(np.mean(np.array(targets.class_names(given), object) == scores.labels))
        assert scores.values is not None
        return metrics.regression(given, scores.values)["r2"]

    def save(self, path: str | Path) -> None:
        """Write `path` (model.json) and its weights beside it; or both into a directory."""
        from singlepoint.worker.models import files  # here: it is the one file of this package that knows of disks

        files.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Model:
        """Read a model back. Raises NotFound, ModelFormatError."""
        from singlepoint.worker.models import files

        return files.load(Path(path))

    def export_onnx(self, path: str | Path) -> None:
        """Write the network, which takes prepared rows, as ONNX. Raises InvalidInput without the extra `onnx`."""
        from singlepoint.worker.models import files

        files.export_onnx(self, Path(path))

    def note_training(self, metrics: Mapping[str, float], *, provenance: Mapping[str, Any]) -> None:
        """Keep how good the model is and where it comes from: plain JSON values, saved with it."""
        self.metrics, self.provenance = dict(metrics), dict(provenance)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What the model was made with."""
        return dict(self._parameters)

    def set_params(self, **parameters: Any) -> Self:
        """A change of what it is made with; the weights are forgotten."""
        unknown = parameters.keys() - self._parameters.keys()
        if unknown:
            raise InvalidInput(Problem(min(unknown), "there is no such parameter"))
        self.__init__(**{**self._parameters, **parameters})  # type: ignore[misc]
        return self

    def _outputs(self, x: Array | Rows) -> Array:
        return InferenceSession(self.network).predict(x)

    # -- fitting -------------------------------------------------------------------------------------------------

    def _training_spec(self, epochs: int, batch_size: int | None, more: Mapping[str, Any]) -> TrainingSpec:
        made, rate = self._parameters, self._parameters["learning_rate"]
        optimiser = made["optimiser"]
        optimiser = {"type": optimiser} if isinstance(optimiser, str) else optimiser
        optimiser = _OPTIMISER.validate_python(optimiser)
        if rate is not None:
            optimiser = optimiser.model_copy(update={"learning_rate": rate})
        fields = {"optimiser": optimiser, "loss": made["loss"], "seed": made["seed"], **more}
        return TrainingSpec(epochs=epochs, batch_size=batch_size, **fields)

    def _model_spec(self) -> ModelSpec:
        made = self._parameters
        if made["layers"] is not None:
            return ModelSpec(layers=_LAYERS.validate_python(tuple(made["layers"])))
        return ModelSpec(
            hidden=tuple(made["hidden"] if made["hidden"] is not None else (32,)),
            activation=made["activation"],
            output_activation=made["output_activation"],
            initialiser=made["initialiser"] and _INITIALISER.validate_python(made["initialiser"]),
            bias_initialiser=_INITIALISER.validate_python(made["bias_initialiser"] or Zeros()),
        )

    def _target(self, y: Array, spec: TrainingSpec) -> Target:
        task: Task | None = self._parameters["task"]
        outputs = _width(self._parameters["output_shape"])
        if task is None and spec.loss is not None:
            task = "classification" if spec.loss.endswith("cross_entropy") else "regression"
        if task is None and y.dtype.kind in "biu" and y.ndim == 1 and (outputs or 0) > 1:
            task = "classification"
        target = targets.encode(y.astype(object) if y.dtype.kind == "U" else y, task)
        if target.classes is None or outputs is None:
            return target
        if target.class_type == "integer" and set(target.classes) <= set(map(str, range(outputs))):
            classes = tuple(map(str, range(outputs)))  # a class may be absent from these rows
            return Target(target.task, targets.number_classes(y, classes), classes, "integer")
        return target

    def _begin(self, raw: Raw, rows: Indices, target: Target, spec: TrainingSpec) -> None:
        """Fit the preprocessing and draw the weights."""
        shape, outputs = self._parameters["input_shape"], self._parameters["output_shape"]
        if shape is not None and isinstance(raw, np.ndarray) and raw.shape[1:] != _shape(shape):
            raise InvalidInput(Problem("x", f"has rows of shape {raw.shape[1:]}, input_shape is {_shape(shape)}"))
        width = len(target.classes) if target.classes is not None else target.y.shape[1]
        if outputs is not None and _width(outputs) not in {width, 1 if width == 2 else width}:
            raise InvalidInput(Problem("y", f"needs {width} outputs, output_shape is {_shape(outputs)}"))
        model = self._model_spec()
        self.preprocessor = self._fit_preprocessing(raw, rows, model)
        self.task, self.classes, self.class_type = target.task, target.classes, target.class_type
        if self.preprocessor is None:
            assert isinstance(raw, np.ndarray)
            entering, vocabulary, tokens = raw.shape[1:], None, True
        else:
            entering, vocabulary = self.preprocessor.output_shape, self.preprocessor.vocabulary
            tokens = vocabulary is not None
        layers = complete_layers(model, entering, task=target.task, outputs=width, tokens=tokens, loss=spec.loss)
        self._network = Network.build(layers, entering, vocabulary=vocabulary)
        self._network.initialise(spec.seed)

    def _fit_preprocessing(self, raw: Raw, rows: Indices, model: ModelSpec) -> Preprocessor | None:
        wanted = self._parameters["preprocessing"]
        if wanted is None and takes_tokens(model) and isinstance(raw, np.ndarray) and raw.dtype.kind in "iu":
            return None
        spec = PreprocessingSpec.model_validate({"normalise": "none"} if wanted is None else wanted)
        if isinstance(raw, np.ndarray) and raw.dtype.kind in "OU":
            return fit_text(raw, rows, spec)
        if isinstance(raw, np.ndarray) and raw.ndim > 2:
            return fit_array(raw, rows, spec, image=wanted is not None and not takes_sequences(model))
        return fit_table(raw, rows, spec, header=isinstance(raw, Mapping))

    def _prepared(self, raw: Raw, rows: Indices | None = None) -> Array | Rows:
        chosen = raw if rows is None else select(raw, rows)
        if self.preprocessor is None:
            return _finite(chosen)
        if isinstance(self.preprocessor, TfIdfPreprocessor | SequencePreprocessor):
            return self.preprocessor.transform(chosen)
        return prepare(chosen, np.arange(row_count(chosen)), self.preprocessor)

    def _train(
        self,
        spec: TrainingSpec,
        x: Array | Rows,
        y: Array,
        x_validation: Array | Rows | None,
        y_validation: Array | None,
    ) -> None:
        trainer = Trainer(
            self.network,
            spec,
            x,
            y,
            x_validation,
            y_validation,
            task=self.task,
            n_classes=None if self.classes is None else len(self.classes),
            classes=self.classes,
        )
        self.history = []
        while not trainer.finished:
            report = trainer.advance()
            if report is not None:
                self.history.append(report)
        trainer.finish()
        measured = trainer.evaluate()
        self.metrics = {} if measured is None else {"validation_loss": measured[0], **measured[1]}


def _shape(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _width(shape: Shape | None) -> int | None:
    return None if shape is None else _shape(shape)[-1]


def _as_raw(x: Any) -> Raw:
    """Named columns as they are; anything else as an array."""
    if isinstance(x, Mapping):
        return {str(name): np.asarray(column) for name, column in x.items()}
    rows = np.asarray(x)
    return rows.astype(object) if rows.dtype.kind == "U" else rows


def _finite(raw: Raw) -> Array:
    if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "biuf":
        raise InvalidInput(Problem("x", "must be an array of numbers for a model without preprocessing"))
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        row = int(np.argwhere(~np.isfinite(raw.reshape(len(raw), -1)).all(axis=1))[0, 0])
        raise InvalidInput(Problem("x", f"row {row + 1} has a value that is missing or infinite"))
    return raw
