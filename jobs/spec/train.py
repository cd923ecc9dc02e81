"""A training: what may be asked, and what must agree between its sections beyond each one's own bounds. Pure.

Whether the data fits the network is not known here; that is checked by `worker` before a job is accepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from singlepoint.jobs.errors import Problem

from .common import JobSpec, Kind, always_a_path
from .data import DataSpec, PreprocessingSpec, mark_problems
from .network import ModelSpec
from .training import GD, SGD, TrainingSpec


class TrainSpec(JobSpec):
    """Train a model and keep it under the job's name."""

    kind: Literal["train"] = "train"
    data: DataSpec
    preprocessing: PreprocessingSpec = PreprocessingSpec()
    model: ModelSpec
    training: TrainingSpec = TrainingSpec()


_ONLY_WITH_HIDDEN = (
    "activation",
    "output_activation",
    "dropout",
    "batch_norm",
    "initialiser",
    "bias_initialiser",
    "l1",
    "l2",
)


def _hidden_or_layers(model: ModelSpec) -> Iterator[Problem]:
    if model.hidden is None and model.layers is None:
        yield Problem("model", "says nothing of the network", "give hidden = [32, 16], or all layers = [...]")
    if model.hidden is not None and model.layers is not None:
        yield Problem("model", "has both hidden and layers", "leave one of them out")
    if model.layers is not None and not model.layers:
        yield Problem("model.layers", "has no layer", "the last layer is the output")
    if model.layers is not None:
        for name in _ONLY_WITH_HIDDEN:
            if name in model.model_fields_set:
                yield Problem(f"model.{name}", "goes with hidden, not with layers", "say it in the layer itself")


def _optimiser(training: TrainingSpec) -> Iterator[Problem]:
    optimiser = training.optimiser
    if isinstance(optimiser, GD) and training.batch_size is not None:
        yield Problem(
            "training.batch_size",
            f"is {training.batch_size}, but gd takes all rows in one step",
            "leave it out, or use sgd",
        )
    if isinstance(optimiser, SGD) and optimiser.nesterov and optimiser.momentum == 0.0:
        yield Problem("training.optimiser.nesterov", "needs a momentum above 0", "momentum = 0.9 is usual")


def _loss(training: TrainingSpec) -> Iterator[Problem]:
    given, loss = training.model_fields_set, training.loss
    if training.label_smoothing and loss not in (None, "softmax_cross_entropy"):
        yield Problem("training.label_smoothing", f"goes with softmax_cross_entropy, not with {loss}")
    if "huber_delta" in given and loss != "huber":
        yield Problem("training.huber_delta", f"goes with loss = 'huber', not with {loss or 'the default loss'}")
    if training.class_weights is not None and loss not in (None, "softmax_cross_entropy", "binary_cross_entropy"):
        yield Problem("training.class_weights", f"goes with classes, not with {loss}")


def _task(data: DataSpec, training: TrainingSpec) -> Iterator[Problem]:
    classes = ("softmax_cross_entropy", "binary_cross_entropy")
    if data.task == "regression" and training.loss in classes:
        yield Problem("training.loss", f"{training.loss} is for classes, but data.task is 'regression'")
    if data.task == "regression" and training.class_weights is not None:
        yield Problem("training.class_weights", "goes with classes, but data.task is 'regression'")


def _monitor(data: DataSpec, training: TrainingSpec) -> Iterator[Problem]:
    stopping = training.early_stopping
    if stopping and stopping.monitor != "loss" and not data.validation and data.validation_path is None:
        yield Problem(
            "training.early_stopping.monitor",
            f"{stopping.monitor} needs validation data, but data.validation is 0",
            "hold back a share (data.validation = 0.2), or monitor the loss",
        )


def _columns(data: DataSpec) -> Iterator[Problem]:
    if data.features is not None and not data.features:
        yield Problem("data.features", "is empty: there is nothing to learn from", "leave it out for all columns")
    targets = (data.target,) if isinstance(data.target, str) else data.target or ()
    for field, names in (("target", targets), ("features", data.features or ()), ("ignore", data.ignore)):
        yield from _named_twice(f"data.{field}", names)
    for name in targets:
        if data.features is not None and name in data.features:
            yield Problem("data.features", f"{name!r} is the target, so it cannot be a feature")
        if name in data.ignore:
            yield Problem("data.ignore", f"{name!r} is the target, so it cannot be ignored")
        if name == data.text:
            yield Problem("data.text", f"{name!r} is the target, so it cannot be the text")
    for name in data.features or ():
        if name in data.ignore:
            yield Problem("data.ignore", f"{name!r} is among data.features")
    if data.text is not None and data.text in data.ignore:
        yield Problem("data.text", f"{data.text!r} is among data.ignore")


def _named_twice(field: str, names: Sequence[str]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(field, f"{name!r} is named {'twice' if count == 2 else f'{count} times'}", "name it once")


def _marks(data: DataSpec) -> Iterator[Problem]:
    yield from mark_problems(data, "data.")


def _validation(data: DataSpec) -> Iterator[Problem]:
    if data.validation_path is not None and "validation" in data.model_fields_set:
        yield Problem("data.validation", "is a share of data.path, but data.validation_path is given", "leave one out")
    if data.validation_target_path is not None and data.validation_path is None:
        yield Problem("data.validation_target_path", "needs data.validation_path")


def _preprocessing(data: DataSpec, preprocessing: PreprocessingSpec) -> Iterator[Problem]:
    if "text" in preprocessing.model_fields_set and data.text is None:
        yield Problem("preprocessing.text", "has no text to work on", "name the column in data.text")
    if preprocessing.categorical == "auto":
        return
    yield from _named_twice("preprocessing.categorical", preprocessing.categorical)
    for name in preprocessing.categorical:
        if name in data.ignore or name == data.text or name == data.target:
            where = "ignore" if name in data.ignore else "text" if name == data.text else "target"
            yield Problem("preprocessing.categorical", f"{name!r} is in data.{where}")


def _decisive(spec: Mapping[str, Any]) -> Any:
    training = {name: value for name, value in spec["training"].items() if name not in ("epochs", "seed")}
    training["optimiser"] = spec["training"]["optimiser"]["type"]
    return [spec["data"], spec.get("preprocessing"), spec["model"], training]


def _work(spec: TrainSpec) -> float:
    """Epochs, as the rows are the same for like jobs; of one that may stop early they say little."""
    return 0.0 if spec.training.early_stopping else float(spec.training.epochs)


TRAIN = Kind(
    spec=TrainSpec,
    checks=(
        (("data",), _columns),
        (("data",), _marks),
        (("data",), _validation),
        (("data", "preprocessing"), _preprocessing),
        (("model",), _hidden_or_layers),
        (("training",), _optimiser),
        (("training",), _loss),
        (("data", "training"), _task),
        (("data", "training"), _monitor),
    ),
    decisive=_decisive,
    work=_work,
    paths={
        ("data", name): always_a_path for name in ("path", "target_path", "validation_path", "validation_target_path")
    },
)
