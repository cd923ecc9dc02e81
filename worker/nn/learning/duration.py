"""How many seconds of one core a training or a prediction takes, worked out from shapes alone. Pure.

A plain model: each layer costs something for being called, so much for each floating operation of its products, and so
much for each value that it writes; an optimiser so much for each weight. The figures are of one core of an Intel Xeon
with AVX-512, fitted to a hundred measurements of 22 networks (dense, convolutional, recurrent; batches of 8 to 512),
whose steps take what comes out within 28 % (one standard deviation). Another machine is so many times faster or slower,
which its own jobs soon tell: what is reckoned here decides who goes first only as long as nothing better is known.
"""

from __future__ import annotations

from math import ceil, prod

from singlepoint.jobs.spec.network import GRU, LSTM, Conv1D, Conv2D, Embedding, SimpleRNN
from singlepoint.jobs.spec.training import GD, TrainingSpec
from singlepoint.worker.nn.layers.base import LayerPlan
from singlepoint.worker.nn.network import Plan

from .optimisers import slot_count
from .trainer import BATCH_ROWS

CALL_S, TIME_STEP_S = 28e-6, 18e-6
"""A layer in a step of training, besides a time step of a recurrent one."""

TRAINED_S, TRAINED_VALUE_S, UPDATED_S = 23e-12, 0.86e-9, 1e-9
"""A floating operation, a value written (both of forward and backward together), and a weight or one of its slots."""

IN_A_JOB = 1.7
"""So many times as much as steps alone: rows come from further away, and epochs end with figures."""

ANSWERED_S, ANSWERED_VALUE_S, ANSWERED_ROW_S = 14e-12, 0.28e-9, 0.1e-6
"""The same of a row that is answered; the last for each layer."""


def training_s(
    plan: Plan, training: TrainingSpec, rows: int, validation_rows: int = 0, *, density: float = 1.0
) -> float:
    """All epochs, as if none was saved by early stopping. density: of the values that enter, the share that is not 0
    where rows are kept sparse; columns that are 0 in all of a batch take no part in its products."""
    batch = rows if isinstance(training.optimiser, GD) else min(training.batch_size or BATCH_ROWS, rows)
    entering = 1.0 - (1.0 - density) ** batch
    steps = ceil(rows / max(1, batch))
    calls_s = sum(CALL_S + TIME_STEP_S * _time_steps(layer) for layer in plan.layers)
    rows_s = TRAINED_S * _operations(plan, entering) + TRAINED_VALUE_S * sum(
        layer.floats_per_row for layer in plan.layers
    )
    update_s = UPDATED_S * plan.parameter_count * (1 + slot_count(training.optimiser))
    epoch_s = steps * (calls_s + update_s) + rows * rows_s + answering_s(plan, validation_rows)
    return IN_A_JOB * training.epochs * epoch_s + answering_s(plan, rows)


def answering_s(plan: Plan, rows: int) -> float:
    """Many rows, together."""
    layers = plan.layers
    values_s = sum(ANSWERED_ROW_S + ANSWERED_VALUE_S * layer.floats_per_row for layer in layers)
    return rows * (ANSWERED_S * _operations(plan) + values_s)


def _operations(plan: Plan, entering: float = 1.0) -> float:
    """Floating operations of a row on its way forward: a product and a sum for each use of a weight.

    entering: the share of the first layer's that is made.
    """
    first, *rest = (2.0 * _uses(one) * sum(parameter.size for parameter in one.parameters) for one in plan.layers)
    return entering * first + sum(rest)


def _uses(layer: LayerPlan) -> int:
    """How often a row uses each weight of a layer."""
    if isinstance(layer.layer, Embedding):
        return 0  # a table: rows of it are copied
    if isinstance(layer.layer, Conv1D | Conv2D):
        return prod(layer.output_shape[:-1])
    return max(1, _time_steps(layer))


def _time_steps(layer: LayerPlan) -> int:
    return layer.input_shape[0] if isinstance(layer.layer, SimpleRNN | GRU | LSTM) else 0
