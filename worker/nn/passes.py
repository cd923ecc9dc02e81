"""A network at work: its kernels in a row, bound to a number of rows."""

from __future__ import annotations

from dataclasses import replace

from singlepoint.worker.nn.layers.base import Kernel, LayerPlan, Moment, Setting
from singlepoint.worker.nn.layers.convolution import PooledConvolutionKernel, can_be_pooled
from singlepoint.worker.nn.layers.dense import DenseKernel
from singlepoint.worker.nn.layers.products import Product, in_lanes
from singlepoint.worker.nn.layers.recurrent import RecurrentKernel

from .arrays import Array, Compact, Memory
from .layers import KINDS
from .network import Network


class Pass:
    """A network bound to a number of rows: one forward half, and in training a backward half, without allocation.

    logits: leave out the last layer's activation, for a loss that is fused with it.
    memory: shared with other passes of the same network, of which one is in use at a time.
    product: how a prediction multiplies, so that a row's bits depend on that row alone.
    """

    def __init__(
        self,
        network: Network,
        rows: int,
        *,
        training: bool,
        logits: bool = False,
        memory: Memory | None = None,
        product: Product = in_lanes,
    ) -> None:
        memory = memory or Memory(network.dtype)
        memory.rewind()
        layers = network.plan.layers
        # Nothing before the first trained layer needs a gradient, nor does that layer's input.
        self._first = next((i for i, layer in enumerate(layers) if layer.parameters), len(layers))
        self._kernels: list[Kernel] = []
        if logits:
            layers = (*layers[:-1], _without_activation(layers[-1]))
        lengths = None
        for layer, after, tensors in zip(layers, (*layers[1:], None), network.tensors(training), strict=True):
            setting = Setting(rows, memory, training, training and layer.index > self._first, lengths, product)
            if layer.index > 0 and can_be_pooled(layers[layer.index - 1], layer):
                continue  # done by the convolution before it
            if after and can_be_pooled(layer, after):
                self._kernels.append(PooledConvolutionKernel((layer, after), tensors, setting))
            else:
                self._kernels.append(KINDS[type(layer.layer)].kernel(layer, tensors, setting))
            lengths = self._kernels[-1].lengths

    @property
    def takes_compact(self) -> bool:
        """Whether rows may enter without the columns that are all 0."""
        return isinstance(self._kernels[0], DenseKernel)

    @property
    def only_reads(self) -> bool:
        """Whether rows may enter where they lie: they are neither kept nor given back."""
        return isinstance(self._kernels[0], DenseKernel | RecurrentKernel)

    def prepare(self) -> None:
        """Before the first prediction, and whenever the weights have changed. A training does so itself."""
        for kernel in self._kernels:
            kernel.prepare()

    def forward(self, x: Array | Compact, moment: Moment | None = None) -> Array:
        """Outputs (rows, *output_shape) for x (rows, *input_shape), overwritten by the next call.

        x: compact only if that is taken.  moment: when in the training this is; needed by layers that draw.
        """
        for kernel in self._kernels:
            x = kernel.forward(x, moment)  # type: ignore[arg-type]  # compact for a DenseKernel alone
        assert not isinstance(x, Compact)
        return x

    def backward(self, dy: Array) -> None:
        """Fills the network's gradients, given that of the outputs of the last `forward`; dy may be overwritten."""
        for kernel in reversed(self._kernels[self._first :]):  # kernels before the first trained layer are one each
            dy = kernel.backward(dy)


def _without_activation(layer: LayerPlan) -> LayerPlan:
    return replace(layer, layer=layer.layer.model_copy(update={"activation": "linear"}))
