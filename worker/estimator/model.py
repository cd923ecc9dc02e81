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
from singlepoint.worker.data.preprocessing import Preprocessor, Raw, row_count
from singlepoint.worker.data.targets import ClassType, Target
from singlepoint.worker.fitting.training import new_network, new_trainer, trained_model
from singlepoint.worker.fitting.training_set import Examples, prepare_training, task_of_loss
from singlepoint.worker.models import files
from singlepoint.worker.models.predictor import ModelPredictor, Scores
from singlepoint.worker.models.trained_model import TrainedModel
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.learning import metrics
from singlepoint.worker.nn.learning.trainer import EpochReport
from singlepoint.worker.nn.network import Network

Shape = int | Sequence[int]

_OPTIMISER: TypeAdapter[Any] = TypeAdapter(Optimiser)
_LAYERS: TypeAdapter[tuple[Any, ...]] = TypeAdapter(tuple[Layer, ...])
_INITIALISER: TypeAdapter[Any] = TypeAdapter(Initialiser)


class NotTrained(SinglepointError):
    """The model has no weights yet: call fit, or load one."""

    exit_code = EXIT_INVALID


@dataclass(frozen=True)
class _Recipe:
    """What is made of the rows that `fit` is given."""

    preprocessing: PreprocessingSpec | None
    model: ModelSpec
    training: TrainingSpec


class Model:
    """A network, its preprocessing, and the names of its answers.

    input_shape, output_shape: of one raw row and of one answer; None: what `fit` finds in the data.
    hidden: widths of hidden dense layers, by default one of 32; or layers: every layer, as records or dicts.
    activation: of the hidden layers.  output_activation: by default softmax for classes, linear for values.
    optimiser: a name, dict or record; learning_rate overrides its own.  loss: by default cross-entropy for
    classes, mean squared error for values.  task: by default as the targets suggest.
    preprocessing: a record or dict, fitted by `fit` on the training rows; None: numbers are used as they are.
    Used by one thread at a time: give each a `ModelPredictor` of `trained`.
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
        self._trained: TrainedModel | None = None
        self._predictor: ModelPredictor | None = None
        self.history: list[EpochReport] = []

    @classmethod
    def of(cls, trained: TrainedModel) -> Self:
        """The public face of a model that exists."""
        model = cls(trained.network.input_shape, trained.network.output_shape, layers=trained.network.layers)
        model._trained = trained
        return model

    @property
    def trained(self) -> TrainedModel:
        """What `fit` or `load` came to. Raises NotTrained before."""
        if self._trained is None:
            raise NotTrained
        return self._trained

    @property
    def network(self) -> Network:
        """The network. Raises NotTrained before `fit` or `load`."""
        return self.trained.network

    @property
    def preprocessor(self) -> Preprocessor | None:
        """What raw rows go through first, None when they enter as they are. Raises NotTrained."""
        return self.trained.preprocessor

    @property
    def task(self) -> Task:
        """Classification or regression. Raises NotTrained."""
        return self.trained.task

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, None for values. Raises NotTrained."""
        return self.trained.classes

    @property
    def class_type(self) -> ClassType:
        """Whether the classes were text or whole numbers. Raises NotTrained."""
        return self.trained.class_type

    @property
    def metrics(self) -> dict[str, float]:
        """How good it is, on what `validation` held back. Raises NotTrained."""
        return dict(self.trained.metrics)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it comes from, as far as it was trained by a job. Raises NotTrained."""
        return dict(self.trained.provenance)

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
        Raises InvalidInput, or ValueError from the trainer, when the parts do not go together.
        """
        recipe = _Recipe(self._preprocessing(), self._model_spec(), self._training_spec(epochs, batch_size, training))
        raw, target = _as_raw(x), self._target(np.asarray(y), recipe.training)
        self._check_shapes(raw, target)
        share, apart = (0.0, validation) if isinstance(validation, tuple) else (validation, None)
        checked = apart and (_as_raw(apart[0]), targets.encode_like(np.asarray(apart[1]), target))
        is_text = isinstance(raw, np.ndarray) and raw.dtype.kind == "O"
        examples = Examples(raw, target, text="" if is_text else None)
        data = prepare_training(examples, recipe, share=share, validation=checked)
        trainer = new_trainer(new_network(recipe, data), recipe.training, data)
        self.history = list(trainer.reports())
        self._trained, self._predictor = trained_model(trainer, data, {}), None
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
        if self._predictor is None:
            self._predictor = ModelPredictor(self.trained)
        return self._predictor.predict(raw)

    def score(self, x: Any, y: Any) -> float:
        """Accuracy for classes, R² for values."""
        scores, given = self.predict_table(_as_raw(x)), np.asarray(y)
        if scores.labels is not None:
            return float(np.mean(np.array(targets.class_names(given), object) == scores.labels))
        assert scores.values is not None
        return metrics.regression(given, scores.values)["r2"]

    def save(self, path: str | Path) -> None:
        """Write `path` (model.json) and its weights beside it; or both into a directory. Raises NotTrained."""
        files.save(self.trained, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model back. Raises NotFound, ModelFormatError."""
        return cls.of(files.load(Path(path)))

    def export_onnx(self, path: str | Path) -> None:
        """Write the network, which takes prepared rows, as ONNX. Raises InvalidInput without the extra `onnx`."""
        files.export_onnx(self.trained, Path(path))

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

    def _preprocessing(self) -> PreprocessingSpec | None:
        wanted = self._parameters["preprocessing"]
        return None if wanted is None else PreprocessingSpec.model_validate(wanted)

    def _target(self, y: Array, spec: TrainingSpec) -> Target:
        task: Task | None = self._parameters["task"] or task_of_loss(spec.loss)
        outputs = _width(self._parameters["output_shape"])
        if task is None and y.dtype.kind in "biu" and y.ndim == 1 and (outputs or 0) > 1:
            task = "classification"
        target = targets.encode(y.astype(object) if y.dtype.kind == "U" else y, task)
        if target.classes is None or outputs is None:
            return target
        if target.class_type == "integer" and set(target.classes) <= set(map(str, range(outputs))):
            classes = tuple(map(str, range(outputs)))  # a class may be absent from these rows
            return Target(target.task, targets.number_classes(y, classes), classes, "integer")
        return target

    def _check_shapes(self, raw: Raw, target: Target) -> None:
        """Raises InvalidInput unless the rows are as the parameters say, and as many as the targets."""
        shape, outputs = self._parameters["input_shape"], self._parameters["output_shape"]
        if row_count(raw) != len(target.y):
            raise InvalidInput(Problem("y", f"has {len(target.y)} rows, but x has {row_count(raw)}"))
        if shape is not None and isinstance(raw, np.ndarray) and raw.shape[1:] != _shape(shape):
            raise InvalidInput(Problem("x", f"has rows of shape {raw.shape[1:]}, input_shape is {_shape(shape)}"))
        width = len(target.classes) if target.classes is not None else target.y.shape[1]
        if outputs is not None and _width(outputs) not in {width, 1 if width == 2 else width}:
            raise InvalidInput(Problem("y", f"needs {width} outputs, output_shape is {_shape(outputs)}"))


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
