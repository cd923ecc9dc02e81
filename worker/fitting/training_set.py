"""From `[data]`, `[preprocessing]` and `[model]` to numbers to train on and a network to train.

`load_training_set` reads the files, holds rows back for validation (a function of the seed), fits the
preprocessing on the rest alone, and prepares both. `check_training` does the same on the first few million values
before a job is accepted, and builds the network's shapes without allocating it: what it lets pass can be trained.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec, Task
from singlepoint.jobs.spec.network import Layer, ModelSpec
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.data import targets
from singlepoint.worker.data.formats.training import RawData, data_files, read_training_data, validation_file
from singlepoint.worker.data.preprocessing import (
    Preprocessor,
    SequencePreprocessor,
    TfIdfPreprocessor,
    fit_array,
    fit_table,
    fit_text,
    prepare,
    select,
)
from singlepoint.worker.data.preprocessing.rows import Raw
from singlepoint.worker.data.targets import ClassType, Target
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.nn.architecture import complete_layers, takes_sequences
from singlepoint.worker.nn.arrays import Array, Indices, Rows
from singlepoint.worker.nn.learning import metrics
from singlepoint.worker.nn.learning.objective import resolve
from singlepoint.worker.nn.learning.optimisers import slot_count
from singlepoint.worker.nn.learning.trainer import Trainer
from singlepoint.worker.nn.network import Network, plan

CHECKED_CELLS = 4_000_000
"""How many values a check at submit reads at most: a second or two."""


class TrainSections(Protocol):
    """The parts of a training's spec that decide what is learned."""

    @property
    def data(self) -> DataSpec: ...
    @property
    def preprocessing(self) -> PreprocessingSpec: ...
    @property
    def model(self) -> ModelSpec: ...
    @property
    def training(self) -> TrainingSpec: ...


@dataclass(frozen=True)
class TrainingSet:
    """Prepared rows and their targets.

    x, x_validation: float32 (n, …), int32 tokens (n, steps), or `Rows` that are made when needed.
    y, y_validation: int64 class numbers (n,), or float32 values (n, k).  Validation: None when there is none.
    classes: their names in the order of their numbers, None for values.  target_names: of the target's columns.
    digest: sha256 over the bytes of every file, in the order of the spec ("" when only looked at).
    complete: False when only the first rows were read, for a check.
    """

    x: Array | Rows
    y: Array
    x_validation: Array | Rows | None
    y_validation: Array | None
    task: Task
    classes: tuple[str, ...] | None
    class_type: ClassType
    target_names: tuple[str, ...]
    preprocessor: Preprocessor
    digest: str
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
        return self.preprocessor.output_shape

    @property
    def outputs(self) -> int:
        """Classes (two at least), or values a row."""
        return max(2, len(self.classes)) if self.classes is not None else int(self.y.shape[1])


def load_training_set(
    data: DataSpec,
    preprocessing: PreprocessingSpec,
    training: TrainingSpec,
    base: Path,
    model: ModelSpec | None = None,
    *,
    most_cells: int | None = None,
) -> TrainingSet:
    """Read, split, fit and prepare.

    base: what relative paths are relative to.  model: tells sequences of features from grey images, which both have
    three axes; without it they are taken for images.  most_cells: look at the first rows only.
    Raises NotFound for a missing file; InvalidInput for anything wrong with the data, rows counted in the file.
    """
    files = data_files(data, base)
    raw = read_training_data(data, preprocessing, base, most_cells=most_cells)
    task = data.task or _task_of_loss(training)
    target = targets.encode(raw.y, task, name=raw.target_name, whole=raw.complete, positive=data.positive)
    other = validation_file(data)
    kept, held_back = targets.split(target, 0.0 if other else data.validation, training.seed)
    preprocessor = _fit(raw, kept, data, preprocessing, model)
    x_validation, y_validation = _validation(raw, target, held_back, preprocessor)
    if other is not None:
        second = read_training_data(other, preprocessing, base, most_cells=most_cells)
        x_validation = _prepared(second.x, np.arange(second.rows), preprocessor)
        y_validation = targets.encode_like(second.y, target, name=second.target_name)
    return TrainingSet(
        x=_prepared(raw.x, kept, preprocessor),
        y=target.y[kept],
        x_validation=x_validation,
        y_validation=y_validation,
        task=target.task,
        classes=target.classes,
        class_type=target.class_type,
        target_names=raw.targets,
        preprocessor=preprocessor,
        digest=_digest(files) if most_cells is None else "",
        complete=raw.complete,
    )


def _validation(
    raw: RawData, target: Target, rows: Indices, preprocessor: Preprocessor
) -> tuple[Array | Rows | None, Array | None]:
    if not len(rows):
        return None, None
    return _prepared(raw.x, rows, preprocessor), target.y[rows]


def check_training(spec: TrainSections, base: Path) -> int:
    """Everything that can be told before a job runs, cheaply. Raises NotFound; InvalidInput with every problem.

    Answers how many bytes the network takes while it trains, without its activations and the data: weights,
    gradients and what the optimiser keeps, and the copy of the state that a checkpoint is written from.
    Reads at most `CHECKED_CELLS` values, so a bad cell far down a large file is found only by the job.
    """
    data = load_training_set(spec.data, spec.preprocessing, spec.training, base, spec.model, most_cells=CHECKED_CELLS)
    layers = layers_of(spec.model, spec.training, data)
    try:
        shapes = plan(layers, data.input_shape, data.preprocessor.vocabulary)
        # Of a file that was only looked at, more classes may come further down.
        most = data.outputs if data.complete else max(data.outputs, shapes.output_shape[-1])
        objective = resolve(shapes, spec.training, data.task, None if data.classes is None else most)
        if data.complete:
            objective.class_weights(objective.targets(data.y, np.float32), data.classes)
    except ValueError as error:
        raise InvalidInput(_as_problem(str(error), spec.model)) from None
    _check_monitor(spec.training, data.task)
    state = shapes.parameter_count * (1 + slot_count(spec.training.optimiser)) + shapes.buffer_count
    return np.dtype(np.float32).itemsize * (2 * state + shapes.parameter_count)


def _check_monitor(training: TrainingSpec, task: Task) -> None:
    known = ("loss", "validation_loss", *metrics.NAMES[task])
    stopping = training.early_stopping
    if stopping is not None and stopping.monitor not in known:
        message = f"'{stopping.monitor}' is not measured in a {task}"
        raise InvalidInput(Problem("training.early_stopping.monitor", message, "one of " + ", ".join(known)))


def layers_of(model: ModelSpec, training: TrainingSpec, data: TrainingSet) -> tuple[Layer, ...]:
    """The network that `[model]` means for this data. See `architecture.complete_layers`."""
    return complete_layers(
        model,
        data.input_shape,
        task=data.task,
        outputs=data.outputs,
        tokens=data.preprocessor.vocabulary is not None,
        loss=training.loss,
    )


def new_trainer(model: Model, training: TrainingSpec, data: TrainingSet) -> Trainer:
    """The training of a new model on this data, at its first step. Raises ValueError naming a field."""
    return Trainer(
        model.network,
        training,
        data.x,
        data.y,
        data.x_validation,
        data.y_validation,
        task=data.task,
        n_classes=data.outputs if data.classes is not None else None,
        classes=data.classes,
    )


def new_model(model: ModelSpec, training: TrainingSpec, data: TrainingSet) -> Model:
    """An untrained model for this data, its weights drawn from the seed. Raises InvalidInput."""
    layers = layers_of(model, training, data)
    try:
        network = Network.build(layers, data.input_shape, vocabulary=data.preprocessor.vocabulary)
    except ValueError as error:
        raise InvalidInput(_as_problem(str(error), model)) from None
    network.initialise(training.seed)
    return Model.of(network, data.preprocessor, data.task, data.classes, data.class_type, data.target_names)


def _fit(raw: RawData, rows: Indices, data: DataSpec, spec: PreprocessingSpec, model: ModelSpec | None) -> Preprocessor:
    if raw.text is not None:
        return fit_text(raw.x, rows, spec, column=raw.text, header=data.header, missing=data.missing)
    if isinstance(raw.x, np.ndarray) and raw.x.ndim > 2:
        return fit_array(raw.x, rows, spec, image=not takes_sequences(model))
    header = data.header and not isinstance(raw.x, np.ndarray)
    return fit_table(raw.x, rows, spec, header=header, missing=data.missing)


def _prepared(raw: Raw, rows: Indices, preprocessor: Preprocessor) -> Array | Rows:
    if isinstance(preprocessor, TfIdfPreprocessor | SequencePreprocessor):
        return preprocessor.transform(select(raw, rows))
    return prepare(raw, rows, preprocessor)


def _task_of_loss(training: TrainingSpec) -> Task | None:
    """What the loss says about the task, None when it says nothing."""
    if training.loss is None:
        return None
    return "classification" if training.loss in ("softmax_cross_entropy", "binary_cross_entropy") else "regression"


def _digest(files: Sequence[Path]) -> str:
    """sha256 over the files' bytes, each preceded by its length so that no two lists of files look alike."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.stat().st_size.to_bytes(8, "little"))
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


_NAMED_FIELD = re.compile(r"((?:model|training|data)\.[\w.\[\]]+): (.*)", re.DOTALL)
_NAMED_LAYER = re.compile(r"layer (\d+)")


def _as_problem(message: str, model: ModelSpec) -> Problem:
    """A complaint of the network as a problem with a field of the spec."""
    if named := _NAMED_FIELD.fullmatch(message):
        return Problem(named[1], named[2])
    layer = _NAMED_LAYER.match(message)
    return Problem(f"model.layers[{layer[1]}]" if layer and model.layers else "model", message)
