"""What a training minimises, and whether the network, the loss and the task go together.

`resolve` needs no data, so a mistake is found when a job is submitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.spec.data import Task
from singlepoint.jobs.spec.network import Activation
from singlepoint.jobs.spec.training import Loss as LossName
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.network import Plan

from .losses import LOSSES, Loss, LossOptions
from .metrics import NAMES


@dataclass(frozen=True)
class Objective:
    """A loss that fits a network and a task.

    outputs: values a row.  activation: the network's last.  fused: whether the loss takes what enters it.
    """

    loss: LossName
    task: Task
    outputs: int
    n_classes: int | None
    activation: Activation
    training: TrainingSpec

    @property
    def fused(self) -> bool:
        return LOSSES[self.loss].absorbs is not None

    def bind(self, rows: int, dtype: npt.DTypeLike, class_weights: Array | None) -> Loss:
        """The loss for batches of up to `rows` rows."""
        options = LossOptions(class_weights, self.training.label_smoothing, self.training.huber_delta)
        return LOSSES[self.loss](rows, self.outputs, dtype, options)

    def targets(self, y: npt.ArrayLike, dtype: npt.DTypeLike) -> Array:
        """y as the loss wants it: labels (n,) for softmax cross-entropy, else (n, outputs) in `dtype`.

        y: labels (n,) of classes, or values (n, outputs); (n,) will do for one output.
        Raises ValueError when y has another shape, or a label is out of range.
        """
        values = np.asarray(y)
        if self.task == "regression":
            values = values.reshape(len(values), -1)
            if values.shape[1] != self.outputs:
                raise ValueError(f"y has {values.shape[1]} values a row, the network's output {self.outputs}")
            return values.astype(dtype)
        if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
            raise ValueError(
                f"y must hold class numbers, whole and of shape (rows,), got {values.dtype} {values.shape}"
            )
        if values.size and not (values.min() >= 0 and values.max() < (self.n_classes or 0)):
            raise ValueError(f"y must lie in [0, {self.n_classes}), got {values.min()} to {values.max()}")
        if self.loss == "softmax_cross_entropy":
            return values.astype(np.intp)
        if self.outputs == 1:
            return values.astype(dtype)[:, None]
        one_hot: Array = np.eye(self.outputs, dtype=dtype)[values]
        return one_hot

    def class_weights(self, targets: Array, classes: Sequence[str] | None) -> Array | None:
        """(n_classes,) weights that the spec asks for, None when it asks for none.

        classes: names of the classes, by default their numbers.
        Raises ValueError when a weight is for no class.
        """
        wanted = self.training.class_weights
        if wanted is None:
            return None
        count = self.n_classes or 0
        if wanted == "balanced":
            rows = np.bincount(targets.reshape(-1).astype(np.intp), minlength=count)
            weights: Array = targets.shape[0] / (count * np.maximum(rows, 1))
            return weights
        names = list(classes) if classes is not None else [str(number) for number in range(count)]
        unknown = wanted.keys() - set(names)
        if unknown:
            raise ValueError(f"training.class_weights: no class is called {sorted(unknown)}; there are {names}")
        return np.array([wanted.get(name, 1.0) for name in names])


def resolve(plan: Plan, training: TrainingSpec, task: Task, n_classes: int | None = None) -> Objective:
    """The objective of a training. Raises ValueError, with the field, when the parts do not go together."""
    last = plan.layers[-1].layer
    activation: Activation = getattr(last, "activation", "linear")
    if len(plan.output_shape) != 1:
        raise ValueError(f"model.layers: the output must be one row of values, got {plan.output_shape}; end in dense")
    default: LossName = "mean_squared_error"
    if task == "classification":
        default = "binary_cross_entropy" if activation == "sigmoid" else "softmax_cross_entropy"
    objective = Objective(training.loss or default, task, plan.output_shape[0], n_classes, activation, training)
    for problem in _problems(objective):
        raise ValueError(problem)
    return objective


def _problems(objective: Objective) -> list[str]:
    training, loss = objective.training, objective.loss
    absorbs = LOSSES[loss].absorbs
    checks = {
        f"training.loss: {loss} needs a last dense layer with activation {absorbs}, it has {objective.activation}": (
            absorbs is not None and objective.activation != absorbs
        ),
        f"training.loss: softmax_cross_entropy is for classes, the task is {objective.task}": (
            loss == "softmax_cross_entropy" and objective.task != "classification"
        ),
        "training.label_smoothing: needs a cross-entropy loss": bool(training.label_smoothing) and absorbs is None,
        "training.class_weights: needs a classification with a cross-entropy loss": (
            training.class_weights is not None and (absorbs is None or objective.task != "classification")
        ),
    }
    problems = [message for message, wrong in checks.items() if wrong] + _monitor_problems(objective)
    return problems + (_class_problems(objective) if objective.task == "classification" else [])


def _monitor_problems(objective: Objective) -> list[str]:
    stopping, known = objective.training.early_stopping, ("loss", "validation_loss", *NAMES[objective.task])
    if stopping is None or stopping.monitor in known:
        return []
    told = f"'{stopping.monitor}' is not measured in a {objective.task}; one of {', '.join(known)}"
    return [f"training.early_stopping.monitor: {told}"]


def _class_problems(objective: Objective) -> list[str]:
    outputs, classes, activation = objective.outputs, objective.n_classes, objective.activation
    if classes is None or classes < 2:
        return [f"a classification needs at least two classes, got {classes}"]
    if activation == "softmax" and outputs == classes:
        return []
    if activation == "sigmoid" and outputs == 1 and classes == 2:
        return []
    return [
        f"model.layers: {classes} classes need a last dense layer of {classes} units with softmax (or, for two, 1 unit "
        f"with sigmoid), it has {outputs} with {activation}"
    ]
