"""From raw rows to numbers to train on: rows held back, preprocessing fitted on the rest, both prepared.

The one way there is, for jobs (whose rows come from files: `loading`) and for Python (whose rows are there).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import Missing, PreprocessingSpec, Task
from singlepoint.jobs.spec.network import ModelSpec
from singlepoint.jobs.spec.training import Loss, TrainingSpec
from singlepoint.worker.data import targets
from singlepoint.worker.data.preprocessing import (
    BadRow,
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
from singlepoint.worker.data.preprocessing.plain import plain_numbers
from singlepoint.worker.data.target_scale import TargetScale, fit_target_scale
from singlepoint.worker.data.targets import ClassType, Target
from singlepoint.worker.nn.architecture import last_activation, takes_sequences, takes_tokens
from singlepoint.worker.nn.arrays import Array, Indices, Input

VALIDATION = "validation"
"""What a bad row of validation rows has for its file."""


class Recipe(Protocol):
    """The parts of a training's spec that say what is made of the rows.

    preprocessing: None takes numbers as they are.
    """

    @property
    def preprocessing(self) -> PreprocessingSpec | None: ...
    @property
    def model(self) -> ModelSpec: ...
    @property
    def training(self) -> TrainingSpec: ...


@dataclass(frozen=True)
class Examples:
    """Raw rows with their encoded target, and what is known of where they come from.

    x: columns by name, or an array.  target_names: of the target's columns.
    text: the name of the column of text ("" when x is a plain array of text), None when there is none.
    header, missing: how a table is read that later rows come from.
    digest, complete: as in `TrainingSet`.  about_rows: how many the file has, None when the first ones do not tell.
    """

    x: Raw
    target: Target
    target_names: tuple[str, ...] = ()
    text: str | None = None
    header: bool = True
    missing: Missing = ()
    digest: str = ""
    complete: bool = True
    about_rows: int | None = None


@dataclass(frozen=True)
class TrainingSet:
    """Prepared rows and their targets.

    x, x_validation: float32 (n, …), int32 tokens (n, steps), or `Rows` that are made when needed.
    y, y_validation: int64 class numbers (n,), or float32 values (n, k) as the network learns them.  Validation: None
    when there is none.
    classes: their names in the order of their numbers, None for values.  target_names: of the target's columns.
    preprocessor: None when the rows are numbers that are taken as they are.
    target_scale: from values to what the network learns; None for classes, and for values that are taken as they are.
    digest: sha256 over the bytes of every file, in the order of the spec ("" when there is none, or only looked at).
    complete: False when only the first rows were read, for a check.
    """

    x: Input
    y: Array
    x_validation: Input | None
    y_validation: Array | None
    task: Task
    classes: tuple[str, ...] | None
    class_type: ClassType
    target_names: tuple[str, ...]
    preprocessor: Preprocessor | None
    target_scale: TargetScale | None = None
    digest: str = ""
    complete: bool = True

    @property
    def rows(self) -> int:
        """Rows to train on."""
        return len(self.y)

    @property
    def validation_rows(self) -> int:
        """Rows held back."""
        return 0 if self.y_validation is None else len(self.y_validation)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one prepared row."""
        return self.x.shape[1:]

    @property
    def vocabulary(self) -> int | None:
        """How many different tokens there are; None when rows are no tokens, or nothing tells."""
        return None if self.preprocessor is None else self.preprocessor.vocabulary

    @property
    def tokens(self) -> bool:
        """Whether the rows are tokens."""
        return self.preprocessor is None or self.vocabulary is not None

    @property
    def outputs(self) -> int:
        """Classes (two at least: the first rows of a file may hold but one), or values a row."""
        return max(2, len(self.classes)) if self.classes is not None else int(self.y.shape[1])


def prepare_training(
    examples: Examples, recipe: Recipe, *, share: float = 0.0, validation: tuple[Raw, Array] | None = None
) -> TrainingSet:
    """Hold rows back, fit the preprocessing on the rest, and prepare both.

    share: of the rows, held back; or validation: raw rows of their own, and their targets encoded alike.
    Raises InvalidInput, BadRow (counted in what was passed; its file is `VALIDATION` for those of the second).
    """
    target = examples.target
    kept, held_back = targets.split(target, 0.0 if validation else share, recipe.training.seed)
    preprocessor = _fitted(examples, kept, recipe)
    scale = _target_scale(target, kept, recipe)
    x_validation: Input | None = None
    y_validation: Array | None = None
    if validation is not None:
        x_validation = _prepared_apart(validation[0], preprocessor)
        y_validation = _learned(validation[1], target, scale)
    elif len(held_back):
        x_validation = _prepared(examples.x, held_back, preprocessor)
        y_validation = _learned(target.y[held_back], target, scale)
    return TrainingSet(
        x=_prepared(examples.x, kept, preprocessor),
        y=_learned(target.y[kept], target, scale),
        x_validation=x_validation,
        y_validation=y_validation,
        task=target.task,
        classes=target.classes,
        class_type=target.class_type,
        target_names=examples.target_names,
        preprocessor=preprocessor,
        target_scale=scale,
        digest=examples.digest,
        complete=examples.complete,
    )


def _target_scale(target: Target, rows: Indices, recipe: Recipe) -> TargetScale | None:
    """What is learned from these rows about the values, unless they are classes, or are to be taken as they are."""
    wanted = recipe.preprocessing and recipe.preprocessing.normalise_target
    if target.task == "classification" or wanted == "none":
        return None
    if (activation := last_activation(recipe.model)) != "linear":
        if wanted is None:
            return None  # it bounds the answers: values of mean 0 would lie outside
        what = f"needs a last layer that is linear, this one has {activation}"
        raise InvalidInput(Problem("preprocessing.normalise_target", what, "set it to 'none'"))
    return fit_target_scale(target.y[rows])


def _learned(y: Array, target: Target, scale: TargetScale | None) -> Array:
    """Encoded targets as the network learns them."""
    if target.task == "classification":
        return y
    return targets.narrow(y) if scale is None else scale.inward(y)


def _prepared_apart(raw: Raw, preprocessor: Preprocessor | None) -> Input:
    try:
        return _prepared(raw, np.arange(row_count(raw)), preprocessor)
    except BadRow as bad:
        raise bad.shifted(0, VALIDATION) from None


def task_of_loss(loss: Loss | None) -> Task | None:
    """What the loss says about the task, None when it says nothing."""
    if loss is None:
        return None
    return "classification" if loss in ("softmax_cross_entropy", "binary_cross_entropy") else "regression"


def _fitted(examples: Examples, rows: Indices, recipe: Recipe) -> Preprocessor | None:
    """What was learned from these rows; None when numbers enter as they are, and are tokens."""
    x, model = examples.x, recipe.model
    array = x if isinstance(x, np.ndarray) else None
    if recipe.preprocessing is None and takes_tokens(model) and array is not None and array.dtype.kind in "iu":
        return None
    spec = recipe.preprocessing or PreprocessingSpec(normalise="none")
    if examples.text is not None:
        return fit_text(x, rows, spec, column=examples.text, header=examples.header, missing=examples.missing)
    if array is not None and array.ndim > 2:
        image = recipe.preprocessing is not None and not takes_sequences(model)
        return fit_array(array, rows, spec, image=image)
    return fit_table(x, rows, spec, header=examples.header and array is None, missing=examples.missing)


def _prepared(raw: Raw, rows: Indices, preprocessor: Preprocessor | None) -> Input:
    if preprocessor is None:
        return plain_numbers(select(raw, rows))
    if isinstance(preprocessor, TfIdfPreprocessor | SequencePreprocessor):
        return preprocessor.transform(select(raw, rows))
    return prepare(raw, rows, preprocessor)
