"""What every layer is made of: a plan, which allocates nothing, and a kernel, which does the arithmetic.

A *plan* is worked out from a layer's record and the shape of one row that enters it; it is where shapes are
checked. A *kernel* is a planned layer bound to its weights, to a number of rows and to every buffer it needs; it has
a forward and a backward half. Shapes of one row never contain the number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.network import Activation, Glorot, He, Initialiser
from singlepoint.worker.nn.arrays import Array, Memory, Shape

from .activations import RECTIFIERS
from .products import Product, in_lanes


class ShapeError(ValueError):
    """A layer does not fit what enters it. The message names the layer and the shapes."""


@dataclass(frozen=True)
class Parameter:
    """A trained tensor of a layer.

    name, shape: PyTorch's; this is how it is saved.  axes: the order in which a kernel holds them.
    blocks: matrices stacked in it, each initialised alone.  l1, l2: penalties.
    padding_row: whether row 0 is zero and stays so.  offset: added to what the initialiser draws.
    """

    name: str
    shape: Shape
    initialiser: Initialiser
    fan_in: int
    fan_out: int
    axes: tuple[int, ...]
    blocks: int = 1
    l1: float = 0.0
    l2: float = 0.0
    padding_row: bool = False
    offset: float = 0.0

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def held_shape(self) -> Shape:
        return tuple(self.shape[axis] for axis in self.axes)

    @property
    def back(self) -> tuple[int, ...]:
        """The order of a kernel's axes that gives PyTorch's."""
        return tuple(self.axes.index(axis) for axis in range(len(self.axes)))


@dataclass(frozen=True)
class Buffer:
    """State of a layer that is kept with its weights but not trained."""

    name: str
    shape: Shape
    initial: float

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class LayerPlan:
    """A layer whose shapes are known.

    name: what its tensors are called by, "<name>.weight".  floats_per_row: scratch a training pass needs.
    answering_floats_per_row: and a prediction.
    """

    layer: Part
    name: str
    index: int
    input_shape: Shape
    output_shape: Shape
    floats_per_row: int
    answering_floats_per_row: int
    parameters: tuple[Parameter, ...] = ()
    buffers: tuple[Buffer, ...] = ()

    @property
    def tensors(self) -> tuple[Parameter | Buffer, ...]:
        return (*self.parameters, *self.buffers)


@dataclass(frozen=True)
class Place:
    """Where in a network a layer stands, for its plan and for messages about it."""

    index: int
    name: str
    layer: Part
    input_shape: Shape
    vocabulary: int | None

    def error(self, what: str) -> ShapeError:
        kind = getattr(self.layer, "type", type(self.layer).__name__)
        called = f" {self.name!r}" if self.name != str(self.index) else ""
        return ShapeError(f"layer {self.index} ({kind}{called}): {what}")

    def need_rank(self, rank: int, axes: str, remedy: str) -> None:
        if len(self.input_shape) != rank:
            raise self.error(f"needs input of shape {axes}, got {self.input_shape}; {remedy}")

    def plan(
        self,
        output_shape: Shape,
        floats_per_row: int,
        parameters: tuple[Parameter, ...] = (),
        buffers: tuple[Buffer, ...] = (),
        answering_floats_per_row: int | None = None,
    ) -> LayerPlan:
        """answering_floats_per_row: where that is less than a training pass needs."""
        answering = floats_per_row if answering_floats_per_row is None else answering_floats_per_row
        shapes = self.input_shape, output_shape
        return LayerPlan(self.layer, self.name, self.index, *shapes, floats_per_row, answering, parameters, buffers)


@dataclass(frozen=True)
class Tensors:
    """Views of one layer's part of the network's flat vectors, by name, in the kernel's layout.

    flat, flat_gradient: the same parts, whole; parameters lie in them in the order of the plan.
    """

    parameters: Mapping[str, Array]
    gradients: Mapping[str, Array]
    buffers: Mapping[str, Array]
    flat: Array
    flat_gradient: Array


@dataclass(frozen=True)
class Setting:
    """What a kernel is bound to beside its weights.

    input_gradient: whether anything before this layer is trained.
    lengths: (rows,), how many steps of each row are real, filled anew by every forward pass; the rest are padding.
        None when all are real.
    product: how a prediction multiplies.
    """

    rows: int
    memory: Memory
    training: bool
    input_gradient: bool
    lengths: Array | None = None
    product: Product = in_lanes


@dataclass(frozen=True)
class Moment:
    """When in a training a forward pass happens: all that randomness depends on.

    step: within the epoch.  part: of a batch too large for one pass.
    """

    seed: int
    epoch: int
    step: int
    part: int = 0


class Kernel:
    """A layer bound to weights and buffers.

    y: its output, (rows, *output_shape), overwritten by every `forward`.
    lengths: how many steps of the output are real, for the layers after it; None: all.
    """

    y: Array

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        self.lengths: Array | None = setting.lengths  # layers that change the steps set it anew

    def prepare(self) -> None:
        """Makes what a prediction takes of the weights alone; before the first, and when they have changed."""

    def forward(self, x: Array, moment: Moment | None) -> Array:
        """The output for x (rows, *input_shape). x must stay as it is until `backward` is done."""
        raise NotImplementedError

    def backward(self, dy: Array) -> Array:
        """Fills the gradients; returns the gradient of the input (meaningless unless `input_gradient`).

        dy: gradient of the output, (rows, *output_shape); may be overwritten.
        """
        raise NotImplementedError


def default_initialiser(activation: Activation) -> Initialiser:
    """What the weights of a layer start from when its record does not say."""
    return He() if activation in RECTIFIERS else Glorot()
