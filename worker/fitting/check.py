"""What can be told of a training before it runs, cheaply: whether its data, network, loss and memory go together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import Task
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.nn.learning import metrics
from singlepoint.worker.nn.learning.footprint import footprint
from singlepoint.worker.nn.learning.objective import resolve
from singlepoint.worker.nn.network import plan

from .loading import TrainSections, look_at
from .memory import MemoryEstimate, estimate
from .training import as_problem, layers_of

CHECKED_CELLS = 4_000_000
"""How many values a check at submit reads at most: a second or two."""


@dataclass(frozen=True)
class Checked:
    """What a look at a training came to.

    memory: what it will take; of the data, as far as the rows looked at tell.  complete: whether they were all.
    """

    memory: MemoryEstimate
    complete: bool


def check_training(spec: TrainSections, base: Path) -> Checked:
    """Everything that can be told before a job runs, cheaply. Raises NotFound; InvalidInput with every problem.

    Reads at most `CHECKED_CELLS` values, so a bad cell far down a large file is found only by the job.
    """
    examples, data = look_at(spec, base, most_cells=CHECKED_CELLS)
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
    looked_at = data.rows + data.validation_rows
    times = max(1.0, (examples.about_rows or 0) / looked_at)
    rows, held_back = int(data.rows * times), int(data.validation_rows * times)
    network = footprint(shapes, spec.training, objective, rows, held_back)
    return Checked(estimate(examples, data, network, times), data.complete)


def _check_monitor(training: TrainingSpec, task: Task) -> None:
    known = ("loss", "validation_loss", *metrics.NAMES[task])
    stopping = training.early_stopping
    if stopping is not None and stopping.monitor not in known:
        message = f"'{stopping.monitor}' is not measured in a {task}"
        raise InvalidInput(Problem("training.early_stopping.monitor", message, "one of " + ", ".join(known)))
