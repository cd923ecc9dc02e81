"""What can be told of a training before it runs, cheaply: whether its data, network, loss and memory go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import Task
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.nn.learning import metrics
from singlepoint.worker.nn.learning.objective import resolve
from singlepoint.worker.nn.learning.optimisers import slot_count
from singlepoint.worker.nn.network import plan

from .loading import TrainSections, load_training_set
from .training import as_problem, layers_of

CHECKED_CELLS = 4_000_000
"""How many values a check at submit reads at most: a second or two."""


def check_training(spec: TrainSections, base: Path) -> int:
    """Everything that can be told before a job runs, cheaply. Raises NotFound; InvalidInput with every problem.

    Answers how many bytes the network takes while it trains, without its activations and the data: weights,
    gradients and what the optimiser keeps, and the copy of the state that a checkpoint is written from.
    Reads at most `CHECKED_CELLS` values, so a bad cell far down a large file is found only by the job.
    """
    data = load_training_set(spec, base, most_cells=CHECKED_CELLS)
    layers = layers_of(spec, data)
    try:
        shapes = plan(layers, data.input_shape, data.vocabulary)
        # Of a file that was only looked at, more classes may come further down.
        most = data.outputs if data.complete else max(data.outputs, shapes.output_shape[-1])
        objective = resolve(shapes, spec.training, data.task, None if data.classes is None else most)
        if data.complete:
            objective.class_weights(objective.targets(data.y, np.float32), data.classes)
    except ValueError as error:
        raise InvalidInput(as_problem(str(error), spec.model)) from None
    _check_monitor(spec.training, data.task)
    state = shapes.parameter_count * (1 + slot_count(spec.training.optimiser)) + shapes.buffer_count
    return np.dtype(np.float32).itemsize * (2 * state + shapes.parameter_count)


def _check_monitor(training: TrainingSpec, task: Task) -> None:
    known = ("loss", "validation_loss", *metrics.NAMES[task])
    stopping = training.early_stopping
    if stopping is not None and stopping.monitor not in known:
        message = f"'{stopping.monitor}' is not measured in a {task}"
        raise InvalidInput(Problem("training.early_stopping.monitor", message, "one of " + ", ".join(known)))
