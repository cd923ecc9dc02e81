"""How much memory a training takes at its fullest, worked out without taking any: the same sums as `Trainer` makes.

Everything is in bytes. What does not grow with network, rows or batch (the interpreter, the BLAS's own buffers) is not
in it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from singlepoint.jobs.spec.network import Embedding, Orthogonal
from singlepoint.jobs.spec.training import GD, TrainingSpec
from singlepoint.worker.nn.arrays import HollowMemory
from singlepoint.worker.nn.inference import InferenceSession
from singlepoint.worker.nn.initialisers import BLOCK_VALUES
from singlepoint.worker.nn.network import Network, Plan
from singlepoint.worker.nn.passes import Pass

from .objective import Objective
from .optimisers import slot_count
from .trainer import BATCH_ROWS, TRAINING_ROWS

VALUE = np.dtype(np.float32).itemsize
WORD = np.dtype(np.float64).itemsize


@dataclass(frozen=True)
class Footprint:
    """state: parameters, buffers, slots, best weights.  snapshot: the copy that a checkpoint is written from.
    gradients: with those of penalties and of batches in parts.  batches: activations, and the rows of a batch.
    order: of the rows of an epoch, while the next is drawn.
    answering: passes over rows without training them, and the outputs and figures of the validation part.
    drawing: while weights are drawn, before there is anything but parameters.
    """

    state: int
    snapshot: int
    gradients: int
    batches: int
    order: int
    answering: int
    drawing: int

    @property
    def total(self) -> int:
        """At its fullest: at a save in the midst of training, or when weights are drawn."""
        together = (self.state, self.snapshot, self.gradients, self.batches, self.order, self.answering)
        return max(sum(together), self.drawing)


def footprint(
    plan: Plan,
    training: TrainingSpec,
    objective: Objective,
    rows: int,
    validation_rows: int = 0,
    *,
    gathered: bool = True,
) -> Footprint:
    """Of a training of float32 on so many rows. gathered: False when batches are taken from where they lie."""
    size, kept = plan.parameter_count, plan.parameter_count + plan.buffer_count
    best = kept if training.early_stopping else 0
    state = VALUE * (kept + slot_count(training.optimiser) * size + best)
    whole = isinstance(training.optimiser, GD)
    batch = rows if whole else min(training.batch_size or BATCH_ROWS, rows)
    at_once = batch if plan.buffers else min(batch, TRAINING_ROWS)
    penalised = sum(parameter.size for parameter in plan.parameters if parameter.l1 or parameter.l2)
    return Footprint(
        state=state,
        snapshot=state,
        gradients=VALUE * (size * (2 if at_once < batch else 1) + penalised),
        batches=_batches(plan, objective, _sizes(rows, batch, at_once), gathered=gathered and not whole),
        order=rows * WORD * 4,
        answering=_answering(plan, objective, rows, validation_rows),
        drawing=VALUE * size + max((_drawing(p.shape, p.initialiser, p.blocks) for p in plan.parameters), default=0),
    )


def _sizes(rows: int, batch: int, at_once: int) -> list[int]:
    """The numbers of rows that passes are made for, largest first."""
    parts = {min(at_once, batch)}
    for whole in (batch, rows % batch):
        parts |= {whole % at_once or min(whole, at_once)}
    return sorted(parts - {0}, reverse=True)


def _batches(plan: Plan, objective: Objective, sizes: list[int], *, gathered: bool) -> int:
    network, memory = Network.hollow(plan), HollowMemory(np.float32)
    row = prod(plan.input_shape) + 4 * objective.outputs  # x, y, gradient, and what the loss works in
    for count in sizes:
        Pass(network, count, training=True, logits=objective.fused, memory=memory)
    transient = _embedding_bytes(plan) * sizes[0]
    return memory.size_bytes + transient + sum(VALUE * count * row for count in sizes if gathered)


def _embedding_bytes(plan: Plan) -> int:
    """What adding up the gradients of equal tokens takes for a row, besides the buffers."""
    first = plan.layers[0]
    if not isinstance(first.layer, Embedding):
        return 0
    steps, dimension = first.output_shape
    return steps * (4 * WORD + VALUE * dimension)


def _answering(plan: Plan, objective: Objective, rows: int, validation_rows: int) -> int:
    memory = HollowMemory(np.float32)
    session = InferenceSession(Network.hollow(plan), logits=objective.fused, memory=memory)
    sizes: set[int] = set()
    for count in {rows, validation_rows} - {0}:
        sizes |= {session.padded(min(count, session.rows)), session.padded(count % session.rows or session.rows)}
    for size in sorted(sizes, reverse=True):
        Pass(session.network, size, training=False, logits=objective.fused, memory=memory)
    entering = VALUE * sum(sizes) * prod(plan.input_shape)
    width = max(objective.outputs, objective.n_classes or 0)
    figures = validation_rows * (width * (VALUE + 4 * WORD) + 12 * WORD)  # outputs, and metrics in float64
    return memory.size_bytes + entering + figures


def _drawing(shape: tuple[int, ...], initialiser: object, blocks: int) -> int:
    """An orthogonal matrix is factorised whole; everything else is drawn block by block."""
    if isinstance(initialiser, Orthogonal):
        return 5 * WORD * prod(shape) // blocks
    return 8 * WORD * min(BLOCK_VALUES, prod(shape))
