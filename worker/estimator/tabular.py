"""Classifier and Regressor: networks for tables whose defaults do, by scikit-learn's conventions.

    model = Classifier().fit(frame, labels)
    model.predict(frame), model.predict_proba(frame), model.score(frame, labels)

Columns of words are found to be categories, numbers are standardised and missing ones filled with the median; a tenth
of the rows, where there are enough, tells when to stop. scikit-learn need not be there; where it is, these pass its
checks and go into its pipelines and searches. A model is a function of data, parameters and `random_state`.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.spec.data import PreprocessingSpec, Task
from singlepoint.jobs.spec.network import Activation, ModelSpec
from singlepoint.jobs.spec.training import EarlyStopping, TrainingSpec
from singlepoint.worker.data import targets
from singlepoint.worker.data.preprocessing import Raw, row_count
from singlepoint.worker.fitting.training import trained
from singlepoint.worker.fitting.training_set import Examples
from singlepoint.worker.models import files
from singlepoint.worker.models.predictor import ModelPredictor, Scores
from singlepoint.worker.models.trained_model import TrainedModel
from singlepoint.worker.nn.arrays import Array

from .inputs import category_columns, raw_rows, rows_for, target_names_of, targets_of, text_columns
from .refusals import checked, not_trained, refusals, refused
from .scores import accuracy, r2

HELD_BACK = 0.1
HELD_BACK_FROM_ROWS = 100
"""With fewer rows a tenth of them tells too little: the loss on all of them says when to stop."""
PATIENCE_EPOCHS = 20


@dataclass(frozen=True)
class _Recipe:
    preprocessing: PreprocessingSpec
    model: ModelSpec
    training: TrainingSpec


class _Tabular:
    """What both share.

    hidden: widths of the hidden layers.  activation: theirs.  learning_rate: the optimiser's first.
    epochs: at most.  batch_size: rows a step, None: 32.  optimiser: a name, or a record with options.
    preprocessing: fields of `[preprocessing]` to set; None: as above.
    early_stopping: True, False, the patience in epochs, or fields of `[training.early_stopping]`.
    random_state: a whole number, a RandomState, or None for 0: the same rows always give the same model.
    """

    _task: ClassVar[Task]
    _estimator_type: ClassVar[str]

    def __init__(
        self,
        hidden: Sequence[int] = (32,),
        *,
        activation: Activation = "relu",
        learning_rate: float = 0.005,
        epochs: int = 200,
        batch_size: int | None = None,
        optimiser: str | Mapping[str, Any] = "adam",
        preprocessing: Mapping[str, Any] | None = None,
        early_stopping: bool | int | Mapping[str, Any] = True,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimiser = optimiser
        self.preprocessing = preprocessing
        self.early_stopping = early_stopping
        self.random_state = random_state

    # -- scikit-learn's conventions ------------------------------------------------------------------------------

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters it was made with."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **parameters: Any) -> Self:
        """Other parameters for the next `fit`. Raises InvalidArgument for a name that is none."""
        names = self._parameter_names()
        for name in parameters:
            if name not in names:
                raise refused(name, "there is no such parameter", f"there are: {', '.join(names)}")
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        usual = inspect.signature(type(self).__init__).parameters
        told = [f"{name}={value!r}" for name, value in self.get_params().items() if value is not usual[name].default]
        return f"{type(self).__name__}({', '.join(told)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "trained_")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn wants to know; called by it alone, so it is there."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        classes = self._task == "classification"
        return Tags(
            estimator_type="classifier" if classes else "regressor",
            target_tags=TargetTags(required=True, multi_output=not classes, single_output=True),
            classifier_tags=ClassifierTags() if classes else None,
            regressor_tags=None if classes else RegressorTags(),
            input_tags=InputTags(allow_nan=True, categorical=True),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without the predictor, whose buffers are views of the weights; it is made anew."""
        return {name: value for name, value in self.__dict__.items() if name != "_predictor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "trained_" in state:
            self._predictor = ModelPredictor(self.trained_)

    # -- learning and answering ----------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from rows X, a table or (n, columns), and their targets y, from newly drawn weights.

        Raises InvalidArgument or BadArgumentRow, naming argument and column; Diverged.
        """
        named = self._categories(X)
        raw = raw_rows(X, "X", categorical=named)
        values = targets_of(y)
        if row_count(raw) != len(values):
            raise refused("y", f"has {len(values)} rows, but X has {row_count(raw)}")
        if len(values) == 1:
            raise refused("X", "has only one row (n_samples=1)", "give more: one tells nothing of others")
        values = self._own_targets(values)
        recipe = self._recipe(raw, named)
        with refusals(recipe.model, "X"):
            target = targets.encode(values, self._task)
            text = "" if isinstance(raw, np.ndarray) and raw.dtype.kind == "O" else None
            examples = Examples(raw, target, target_names_of(y), text, header=isinstance(raw, Mapping))
            share = HELD_BACK if self._holds_back(recipe) else 0.0
            self.trained_, self.history_ = trained(examples, recipe, share=share)
        self._predictor = ModelPredictor(self.trained_)
        self.n_iter_ = len(self.history_)
        self.n_features_in_ = len(raw) if isinstance(raw, Mapping) else int(np.prod(raw.shape[1:]))
        if isinstance(raw, Mapping):
            self.feature_names_in_ = np.array(list(raw), object)
        return self

    def save(self, path: str | Path) -> None:
        """Write `path` (model.json) and its weights beside it, as `Model.save`; `Model.load` reads it."""
        files.save(self._fitted(), Path(path))

    def _fitted(self) -> TrainedModel:
        if not hasattr(self, "trained_"):
            raise not_trained()
        return self.trained_

    def _scores(self, X: Any) -> Scores:
        model = self._fitted()
        with refusals(rows="X"):
            return self._predictor.predict(rows_for(X, model.preprocessor, "X", model=type(self).__name__))

    # -- from parameters to a spec -------------------------------------------------------------------------------

    def _categories(self, X: Any) -> tuple[str, ...]:
        """The columns read as categories: those that `preprocessing` names, as `predict` reads these; else those that
        say so of themselves."""
        wanted = self.preprocessing or {}
        named = checked(PreprocessingSpec, wanted).categorical if "categorical" in wanted else "auto"
        return category_columns(X) if named == "auto" else named

    def _recipe(self, raw: Raw, categorical: Sequence[str]) -> _Recipe:
        is_table = not isinstance(raw, np.ndarray) or (raw.ndim == 2 and raw.dtype.kind != "O")
        found = {
            "impute": "median",
            "categorical": tuple(dict.fromkeys((*categorical, *text_columns(raw)))),
        }
        preprocessing = {**(found if is_table else {}), **(self.preprocessing or {})}
        optimiser = {"type": self.optimiser} if isinstance(self.optimiser, str) else dict(self.optimiser)
        training = {
            "epochs": self.epochs,
            "optimiser": {**optimiser, "learning_rate": optimiser.get("learning_rate", self.learning_rate)},
            "seed": self._seed(),
            "early_stopping": self._early_stopping(row_count(raw)),
        }
        if self.batch_size is not None:
            training["batch_size"] = self.batch_size
        hidden = [self.hidden] if isinstance(self.hidden, int | np.integer) else self.hidden
        return _Recipe(
            checked(PreprocessingSpec, preprocessing),
            checked(ModelSpec, {"hidden": hidden, "activation": self.activation}),
            checked(TrainingSpec, training),
        )

    def _early_stopping(self, rows: int) -> dict[str, Any] | None:
        asked = self.early_stopping
        if asked is False:
            return None
        if isinstance(asked, EarlyStopping):
            asked = asked.model_dump(exclude_unset=True)
        monitor = "validation_loss" if rows >= HELD_BACK_FROM_ROWS else "loss"
        usual = {"patience": PATIENCE_EPOCHS, "monitor": monitor}
        if isinstance(asked, Mapping):
            return {**usual, **asked}
        return usual if isinstance(asked, bool) else {**usual, "patience": asked}

    @staticmethod
    def _holds_back(recipe: _Recipe) -> bool:
        stopping = recipe.training.early_stopping
        return stopping is not None and stopping.monitor != "loss"

    def _seed(self) -> int:
        state = self.random_state
        if state is None:
            return 0
        if hasattr(state, "randint"):
            return int(state.randint(2**31 - 1))
        if hasattr(state, "integers"):
            return int(state.integers(2**31 - 1))
        if not isinstance(state, int | np.integer) or isinstance(state, bool) or state < 0:
            raise refused("random_state", f"is {state!r}", "give a whole number, a RandomState, or None")
        return int(state)

    def _own_targets(self, values: Array) -> Array:
        return values


class Classifier(_Tabular):
    """Learns one of several classes: text, whole numbers or truth values, which come back as they are."""

    _task = "classification"
    _estimator_type = "classifier"

    @property
    def classes_(self) -> Array:
        """The classes in the order of `predict_proba`'s columns."""
        model = self._fitted()
        return targets.in_own_type(model.classes or (), model.class_type)

    def predict(self, X: Any) -> Array:
        """The likeliest class of each row, (n,)."""
        labels = self._scores(X).labels
        assert labels is not None
        return targets.in_own_type(labels.tolist(), self.trained_.class_type)

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """The probability of each class, (n, classes); rows add up to 1."""
        probabilities = self._scores(X).probabilities
        assert probabilities is not None
        wide = probabilities.astype(np.float64)
        summed: npt.NDArray[np.float64] = wide / wide.sum(axis=1, keepdims=True)
        return summed

    def score(self, X: Any, y: Any) -> float:
        """Accuracy."""
        return accuracy(self._own_targets(targets_of(y)), self.predict(X))

    def _own_targets(self, values: Array) -> Array:
        values = _single_column(values)
        if values.ndim != 1:
            raise refused("y", f"has shape {values.shape}", "classes need one column")
        if values.dtype.kind == "f" and np.isfinite(values).all() and (values != np.floor(values)).any():
            raise refused(
                "y", "Unknown label type: continuous values", "classes are text or whole numbers; or Regressor"
            )
        return values


class Regressor(_Tabular):
    """Learns values: one or several a row. They are scaled inside, so far-off or tiny ones do."""

    _task = "regression"
    _estimator_type = "regressor"

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """The value of each row, (n,), or (n, k) where there are several targets."""
        values = self._scores(X).values
        assert values is not None
        return (values[:, 0] if values.shape[1] == 1 else values).astype(np.float64)

    def score(self, X: Any, y: Any) -> float:
        """R², the share of the targets' variance that is explained; mean over several targets."""
        return r2(targets_of(y), self.predict(X))

    def _own_targets(self, values: Array) -> Array:
        return _single_column(values)


def _single_column(values: Array) -> Array:
    """(n, 1) as (n,), with scikit-learn's warning where it is in use."""
    if values.ndim != 2 or values.shape[1] != 1:
        return values
    theirs = sys.modules.get("sklearn.exceptions")
    if theirs is not None:
        what = "A column-vector y was passed when a 1d array was expected; y[:, 0] is taken."
        warnings.warn(what, theirs.DataConversionWarning, stacklevel=4)
    return values[:, 0]
