"""What can be told of a training before it runs, cheaply: whether its data, network, loss and memory go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.data.formats.tile import CHECKED_CELLS
from singlepoint.worker.data.preprocessing.rows import SparseRows
from singlepoint.worker.nn.arrays import Input
from singlepoint.worker.nn.learning.duration import training_s
from singlepoint.worker.nn.learning.footprint import footprint
from singlepoint.worker.nn.learning.objective import resolve
from singlepoint.worker.nn.network import plan

from .loading import TrainSections, look_at
from .memory import MemoryEstimate, estimate
from .summary import summary, warnings
from .training import as_problem, check_monitor, layers_of


@dataclass(frozen=True)
class Outlook:
    """What can be told of a training before it runs.

    memory: what it will take; of the data, as far as the rows looked at tell.  complete: whether they were all.
    reckoned_s: seconds of one core that it should take, by a plain model.
    data, preprocessing: fields that the spec left open, settled.  summary, warnings: lines for the user.
    """

    memory: MemoryEstimate
    reckoned_s: float
    complete: bool
    data: Mapping[str, object]
    preprocessing: Mapping[str, object]
    summary: tuple[str, ...]
    warnings: tuple[str, ...]


def check_training(spec: TrainSections, base: Path) -> Outlook:
    """Everything that can be told before a job runs, cheaply. Raises NotFound; InvalidInput with every problem.

    Reads at most `CHECKED_CELLS` values, so a bad cell far down a large file is found only by the job.
    """
    raw, examples, data = look_at(spec, base, most_cells=CHECKED_CELLS)
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
    check_monitor(spec.training, data)
    looked_at = data.rows + data.validation_rows
    times = max(1.0, (examples.about_rows or 0) / looked_at)
    rows, held_back = int(data.rows * times), int(data.validation_rows * times)
    memory = estimate(examples, data, footprint(shapes, spec.training, objective, rows, held_back), times)
    reckoned_s = training_s(shapes, spec.training, rows, held_back, density=_density(data.x))
    several = {"path": tuple(map(str, raw.paths))} if len(raw.paths) > 1 else {}
    found_words = spec.preprocessing.categorical == "auto" and isinstance(raw.x, Mapping) and raw.text is None
    return Outlook(
        memory,
        reckoned_s,
        data.complete,
        data={**raw.settled, **several},
        preprocessing={"categorical": raw.words} if found_words else {},
        summary=tuple(summary(raw, data, spec, shapes, memory.total, reckoned_s, times)),
        warnings=tuple(warnings(raw, data, spec.data, spec.preprocessing)),
    )


def _density(x: Input) -> float:
    return len(x.values) / max(1, x.shape[0] * x.width) if isinstance(x, SparseRows) else 1.0
