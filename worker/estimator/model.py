"""A model: a network with all that is needed to use it. Raw rows in; labels, probabilities or values out.

    model = Model(input_shape=(10,), output_shape=(5,), activation="relu")
    model.fit(x, y, epochs=100, batch_size=32)
    model.predict(x)

Rows are an array, or columns by name: a mapping, a table of pandas, polars or Arrow. It knows every layer and option;
`Classifier` and `Regressor` are for tables, with defaults that do. A row's answer never depends, in any bit, on the
rows it is scored with. Every refusal is one of `jobs.errors` and names argument and column.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.client.find import find_model
from singlepoint.jobs.errors import NotFound, NotNow
from singlepoint.jobs.spec.data import PreprocessingSpec, Task
from singlepoint.jobs.spec.network import Activation, Initialiser, Layer, ModelSpec
from singlepoint.jobs.spec.predict import is_model_name
from singlepoint.jobs.spec.training import Loss, Optimiser, TrainingSpec
from singlepoint.jobs.store.home import Home, default_path
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.worker.data import targets
from singlepoint.worker.data.preprocessing import Preprocessor, Raw, row_count
from singlepoint.worker.data.targets import ClassType, Target
from singlepoint.worker.fitting.training import trained
from singlepoint.worker.fitting.training_set import Examples, task_of_loss
from singlepoint.worker.models import files
from singlepoint.worker.models.predictor import ModelPredictor, Scores
from singlepoint.worker.models.trained_model import TrainedModel
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.learning.trainer import EpochReport
from singlepoint.worker.nn.network import Network

from .inputs import category_columns, raw_rows, rows_for, target_names_of, targets_of, text_columns
from .refusals import NotTrained, checked, not_trained, refusals, refused
from .scores import accuracy, r2

__all__ = ["Model", "NotTrained"]

Shape = int | Sequence[int]


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
    Named columns of words are categories, whether named in `preprocessing.categorical` or not.
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
            raise not_trained()
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
        Raises InvalidArgument, BadArgumentRow (InvalidInput and ValueError) naming argument and column; Diverged.
        """
        named = (*category_columns(x), *self._categories())
        raw, values = raw_rows(x, categorical=named), targets_of(y)
        recipe = _Recipe(
            self._preprocessing((*named, *text_columns(raw))),
            self._model_spec(),
            self._training_spec(epochs, batch_size, training),
        )
        with refusals(recipe.model):
            target = self._target(values, recipe.training)
            self._check_shapes(raw, target)
            text = "" if isinstance(raw, np.ndarray) and raw.dtype.kind == "O" else None
            examples = Examples(raw, target, target_names_of(y), text, header=isinstance(raw, Mapping))
            if isinstance(validation, tuple):
                apart = self._apart(*validation, like=target, categorical=named)
                self._trained, self.history = trained(examples, recipe, validation=apart)
            else:
                self._trained, self.history = trained(examples, recipe, share=_share(validation))
        self._predictor = None
        return self

    @staticmethod
    def _apart(x: Any, y: Any, *, like: Target, categorical: Sequence[str]) -> tuple[Raw, Array]:
        """Rows to measure on, and their targets numbered as those of the training."""
        raw, values = raw_rows(x, "validation", categorical=categorical), targets_of(y, "validation")
        if row_count(raw) != len(values):
            raise refused("validation", f"has {len(values)} targets, but {row_count(raw)} rows")
        return raw, targets.encode_like(values, like, name="validation")

    def predict(self, x: Any) -> Array:
        """Classes (n,) as they were in the targets, or values (n,) or (n, k)."""
        scores = self.predict_table(x)
        if scores.labels is not None:
            return targets.in_own_type(scores.labels.tolist(), self.class_type)
        assert scores.values is not None
        return scores.values[:, 0] if scores.values.shape[1] == 1 else scores.values

    def predict_proba(self, x: Any) -> npt.NDArray[np.float32]:
        """The probability of each class, (n, classes), in the order of `classes_`."""
        probabilities = self.predict_table(x).probabilities
        if probabilities is None:
            raise AttributeError("a model of values has no probabilities")
        return probabilities

    def predict_table(self, x: Any) -> Scores:
        """All that is answered to rows x. Raises InvalidArgument, BadArgumentRow."""
        if self._predictor is None:
            self._predictor = ModelPredictor(self.trained)
        with refusals():
            raw = rows_for(x, self.preprocessor)
            self._predictor.weights_changed()  # `network` is anybody's to write to
            return self._predictor.predict(raw)

    def score(self, x: Any, y: Any) -> float:
        """Accuracy for classes, R² for values. Raises InvalidArgument where R² has no value."""
        answers, given = self.predict(x), targets_of(y)
        return accuracy(given, answers) if self.classes is not None else r2(given, answers)

    def save(self, path: str | Path) -> None:
        """Write `path` (model.json) and its weights beside it; or both into a directory. Raises NotTrained."""
        files.save(self.trained, Path(path))

    @classmethod
    def load(cls, path: str | Path, home: str | Path | None = None) -> Self:
        """Read a model back: from a file or directory, or by the NAME (NAME/n, NAME~n, a job) that it has in a home.

        home: by default the one that the commands use. Raises NotFound, ModelFormatError, NotNow.
        """
        place = Path(path)
        if not place.exists() and is_model_name(str(path)):
            place = _in_home(str(path), Path(home).expanduser() if home is not None else default_path())
        return cls.of(files.load(place))

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
            raise refused(min(unknown), "there is no such parameter", f"there are: {', '.join(self._parameters)}")
        self.__init__(**{**self._parameters, **parameters})  # type: ignore[misc]
        return self

    # -- fitting -------------------------------------------------------------------------------------------------

    def _training_spec(self, epochs: int, batch_size: int | None, more: Mapping[str, Any]) -> TrainingSpec:
        made = self._parameters
        optimiser = made["optimiser"]
        optimiser = {"type": optimiser} if isinstance(optimiser, str) else optimiser
        if made["learning_rate"] is not None:
            given = optimiser if isinstance(optimiser, Mapping) else optimiser.model_dump(exclude_unset=True)
            optimiser = {**given, "learning_rate": made["learning_rate"]}
        fields = {"optimiser": optimiser, "loss": made["loss"], "seed": made["seed"], **more}
        return checked(TrainingSpec, {"epochs": epochs, "batch_size": batch_size, **fields})

    def _model_spec(self) -> ModelSpec:
        made = self._parameters
        if made["layers"] is not None:
            return checked(ModelSpec, {"layers": made["layers"]})
        names = ("activation", "output_activation", "initialiser", "bias_initialiser")
        given = {name: made[name] for name in names if made[name] is not None}
        return checked(ModelSpec, {"hidden": (32,) if made["hidden"] is None else made["hidden"], **given})

    def _categories(self) -> tuple[str, ...]:
        """The columns that `preprocessing` names as categories; words are found ("auto") whatever it says."""
        named = checked(PreprocessingSpec, self._parameters["preprocessing"] or {}).categorical
        return () if named == "auto" else named

    def _preprocessing(self, categorical: Sequence[str]) -> PreprocessingSpec | None:
        wanted = self._parameters["preprocessing"]
        if wanted is None and not categorical:
            return None
        spec = checked(PreprocessingSpec, {"normalise": "none"} if wanted is None else wanted)
        return spec.model_copy(update={"categorical": tuple(dict.fromkeys((*self._categories(), *categorical)))})

    def _target(self, y: Array, spec: TrainingSpec) -> Target:
        task: Task | None = self._parameters["task"] or task_of_loss(spec.loss)
        outputs = _width(self._parameters["output_shape"])
        if task is None and y.dtype.kind in "biu" and y.ndim == 1 and (outputs or 0) > 1:
            task = "classification"
        target = targets.encode(y, task)
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
            raise refused("y", f"has {len(target.y)} rows, but x has {row_count(raw)}")
        if shape is not None and isinstance(raw, np.ndarray) and raw.shape[1:] != _shape(shape):
            raise refused("x", f"has rows of shape {raw.shape[1:]}, input_shape is {_shape(shape)}")
        width = len(target.classes) if target.classes is not None else target.y.shape[1]
        if outputs is not None and _width(outputs) not in {width, 1 if width == 2 else width}:
            raise refused("y", f"needs {width} outputs, output_shape is {_shape(outputs)}")


def _shape(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _width(shape: Shape | None) -> int | None:
    return None if shape is None else _shape(shape)[-1]


def _share(validation: Any) -> float:
    if isinstance(validation, int | float | np.number) and 0 <= validation < 1:
        return float(validation)
    raise refused("validation", f"is {validation!r}", "give a share of the rows below 1, or a tuple (x, y)")


def _in_home(name: str, path: Path) -> Path:
    home = Home(path)
    if not home.models.is_dir():
        raise NotFound(f"there is no file {name}, and no home in {path}", hint="give the path of a model.json")
    place = Path(find_model(JobStore(home), name))
    if not place.is_absolute():
        raise NotNow(f"training {name} has not ended", hint=f"`singlepoint wait {name}`")
    return place
