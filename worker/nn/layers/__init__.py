"""Every kind of layer: how it is planned and what computes it.

The table is the registry: a record of a kind that is not in it cannot be part of a network. Replacing a kernel
here replaces it everywhere. A new layer is a record in `jobs.spec.network`, a file beside this one, an entry in the
table, and how it is exported in `worker.models.onnx`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from singlepoint.jobs.spec import network as spec
from singlepoint.jobs.spec.base import Part

from . import convolution, dense, embedding, normalisation, pooling, recurrent, reshaping
from .base import Kernel, LayerPlan, Place


class Kind(NamedTuple):
    """plan: from a record and its place to shapes and parameters.  kernel: the arithmetic."""

    plan: Callable[[Any, Place], LayerPlan]
    kernel: type[Kernel]


KINDS: dict[type[Part], Kind] = {
    spec.Dense: Kind(dense.plan, dense.DenseKernel),
    spec.Conv1D: Kind(convolution.plan, convolution.ConvolutionKernel),
    spec.Conv2D: Kind(convolution.plan, convolution.ConvolutionKernel),
    spec.MaxPool1D: Kind(pooling.plan_pool, pooling.MaxPoolKernel),
    spec.MaxPool2D: Kind(pooling.plan_pool, pooling.MaxPoolKernel),
    spec.AveragePool1D: Kind(pooling.plan_pool, pooling.AveragePoolKernel),
    spec.AveragePool2D: Kind(pooling.plan_pool, pooling.AveragePoolKernel),
    spec.GlobalAveragePool: Kind(pooling.plan_global, pooling.GlobalAveragePoolKernel),
    spec.BatchNorm: Kind(normalisation.plan_batch_norm, normalisation.BatchNormKernel),
    spec.LayerNorm: Kind(normalisation.plan_layer_norm, normalisation.LayerNormKernel),
    spec.Embedding: Kind(embedding.plan, embedding.EmbeddingKernel),
    spec.SimpleRNN: Kind(recurrent.plan, recurrent.RecurrentKernel),
    spec.GRU: Kind(recurrent.plan, recurrent.RecurrentKernel),
    spec.LSTM: Kind(recurrent.plan, recurrent.RecurrentKernel),
    spec.Flatten: Kind(reshaping.plan_flatten, reshaping.FlattenKernel),
    spec.Dropout: Kind(reshaping.plan_dropout, reshaping.DropoutKernel),
}
