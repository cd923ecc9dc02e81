"""Embedding: a trained vector for each token."""

from __future__ import annotations

import numpy as np

from singlepoint.jobs.spec.network import Embedding, Normal
from singlepoint.worker.nn.arrays import Array

from .base import Kernel, LayerPlan, Moment, Parameter, Place, Setting, Tensors


def plan(layer: Embedding, place: Place) -> LayerPlan:
    place.need_rank(
        1, "(steps,)", "an embedding takes token numbers, as preprocessing.text of type sequence makes them"
    )
    if place.index > 0:
        raise place.error("takes tokens, so it must be the first layer")
    vocabulary = layer.vocabulary or place.vocabulary
    if vocabulary is None:
        raise place.error("the size of the vocabulary is not known; set `vocabulary`")
    initialiser = layer.initialiser or Normal(variance=1 / layer.dimension)
    shape = (vocabulary, layer.dimension)
    table = Parameter("weight", shape, initialiser, vocabulary, layer.dimension, axes=(0, 1), padding_row=True)
    steps = place.input_shape[0]
    return place.plan(
        (steps, layer.dimension), floats_per_row=2 * steps * layer.dimension + 8 * steps, parameters=(table,)
    )


class EmbeddingKernel(Kernel):
    """y = table[tokens]. Padding (token 0) is at the end of a row; its vector is zero and stays zero.

    A token outside the table is taken for the nearest inside it: the vocabulary is checked where rows are made.
    lengths: of each row, up to the last token that is not padding.
    """

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        rows, memory = setting.rows, setting.memory
        steps, self.dimension = plan.output_shape
        self.table = tensors.parameters["weight"]
        self.y = memory.array((rows, *plan.output_shape))
        self.lengths = memory.array((rows,), np.intp)
        self.ordinal = np.arange(1, steps + 1)
        self.reached = memory.array((rows, steps), np.intp)
        if setting.training:
            self.dtable = tensors.gradients["weight"]
            self.key = memory.array((rows * steps,), np.int64)
            self.place = memory.array((rows * steps,), np.int64)
            self.sorted_dy = memory.array((rows * steps, self.dimension))

    def forward(self, x: Array, moment: Moment | None) -> Array:
        self.x = x
        np.take(self.table, x, axis=0, out=self.y, mode="clip")
        np.not_equal(x, 0, out=self.reached)
        np.multiply(self.reached, self.ordinal, out=self.reached)
        np.maximum.reduce(self.reached, axis=1, out=self.lengths)
        return self.y

    def backward(self, dy: Array) -> Array:
        """Adds up the gradients of equal tokens: sorted by token, each is one run."""
        count = self.key.size
        # Token and place in one number: sorting it in place needs no memory, and places tell the order of a tie.
        np.multiply(self.x.reshape(-1), count, out=self.key)
        np.add(self.key, np.arange(count), out=self.key)
        self.key.sort()
        np.divmod(self.key, count, out=(self.key, self.place))
        first = np.flatnonzero(np.diff(self.key, prepend=-1))
        np.take(dy.reshape(count, self.dimension), self.place, axis=0, out=self.sorted_dy, mode="clip")
        self.dtable[...] = 0
        self.dtable[self.key[first]] = np.add.reduceat(self.sorted_dy, first, axis=0)
        self.dtable[0] = 0
        return dy
