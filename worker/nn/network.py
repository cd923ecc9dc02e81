"""A network: layers whose shapes fit, with their weights in one flat vector.

`plan` checks shapes and counts values without allocating any, so it serves a spec from a stranger. `Network` holds
the weights and knows nothing of the arithmetic, which is that of a `Pass`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np

from singlepoint.jobs.spec.network import Embedding, Layer
from singlepoint.worker.nn.layers.base import Buffer, LayerPlan, Parameter, Place, ShapeError, Tensors

from .arrays import Array, FloatType, Shape, aligned_zeros, hollow
from .initialisers import Draw, initialise
from .layers import KINDS

__all__ = ["Network", "Plan", "ShapeError", "plan"]


@dataclass(frozen=True)
class Plan:
    """What a network will be, before anything is allocated. Shapes are those of one row."""

    input_shape: Shape
    output_shape: Shape
    layers: tuple[LayerPlan, ...]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(parameter for layer in self.layers for parameter in layer.parameters)

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        return tuple(buffer for layer in self.layers for buffer in layer.buffers)

    @property
    def parameter_count(self) -> int:
        return sum(parameter.size for parameter in self.parameters)

    @property
    def buffer_count(self) -> int:
        """Values that are kept with the weights but not trained (running statistics)."""
        return sum(buffer.size for buffer in self.buffers)

    @property
    def activation_bytes_per_row(self) -> int:
        """Scratch a float32 training pass needs for each row of a batch; an estimate, meant to be an upper one."""
        return 4 * (prod(self.input_shape) + sum(layer.floats_per_row for layer in self.layers))

    @property
    def answering_bytes_per_row(self) -> int:
        """The same for a prediction."""
        return 4 * (prod(self.input_shape) + sum(layer.answering_floats_per_row for layer in self.layers))

    @property
    def takes_tokens(self) -> bool:
        """Whether rows are whole numbers (int32) rather than floats."""
        return isinstance(self.layers[0].layer, Embedding)

    def expected_tensors(self) -> dict[str, Shape]:
        """Names and shapes, PyTorch's, of all that `state_dict` holds."""
        return {f"{layer.name}.{tensor.name}": tensor.shape for layer in self.layers for tensor in layer.tensors}


def plan(layers: Sequence[Layer], input_shape: Shape, vocabulary: int | None = None) -> Plan:
    """Shapes and sizes of a network of these layers for rows of this shape.

    vocabulary: the number of different tokens, for an embedding that leaves it open.
    Raises ShapeError, naming the layer and the shapes, when a layer does not fit what enters it; ValueError when there
    is no layer, or two have one name.
    """
    if not layers or not input_shape:
        raise ValueError(f"a network needs a layer and an input shape, got {len(layers)} layers, shape {input_shape}")
    shape, planned = tuple(input_shape), list[LayerPlan]()
    for index, layer in enumerate(layers):
        place = Place(index, layer.name or str(index), layer, shape, vocabulary)
        if any(place.name == earlier.name for earlier in planned):
            raise ValueError(f"layer {index}: the name {place.name!r} is taken by an earlier layer; rename one")
        planned.append(KINDS[type(layer)].plan(layer, place))
        shape = planned[-1].output_shape
    return Plan(tuple(input_shape), shape, tuple(planned))


class Network:
    """Layers with weights.

    parameters: (parameter_count,), every trained value; layers see views of it.
    buffers: (buffer_count,), running statistics.  gradients: like parameters, filled by `Pass.backward`.
    """

    def __init__(self, plan: Plan, dtype: FloatType = np.float32) -> None:
        self._fill(plan, dtype, aligned_zeros(plan.parameter_count, dtype), np.zeros(plan.buffer_count, dtype))
        self._reset_buffers()

    def _fill(self, plan: Plan, dtype: FloatType, parameters: Array, buffers: Array) -> None:
        self.plan = plan
        self.dtype = np.dtype(dtype)
        self.parameters, self.buffers = parameters, buffers
        self._gradients: Array | None = None

    @classmethod
    def hollow(cls, plan: Plan, dtype: FloatType = np.float32) -> Self:
        """A network without memory, to bind passes to that are only counted (see `HollowMemory`)."""
        network = cls.__new__(cls)
        network._fill(plan, dtype, hollow((plan.parameter_count,), dtype), hollow((plan.buffer_count,), dtype))
        network._gradients = network.parameters
        return network

    @classmethod
    def build(
        cls,
        layers: Sequence[Layer],
        input_shape: Shape,
        *,
        vocabulary: int | None = None,
        dtype: FloatType = np.float32,
    ) -> Self:
        """A network with all weights zero. Raises what `plan` raises."""
        return cls(plan(layers, input_shape, vocabulary), dtype)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(layer.layer for layer in self.plan.layers)  # type: ignore[misc]

    @property
    def input_shape(self) -> Shape:
        return self.plan.input_shape

    @property
    def output_shape(self) -> Shape:
        return self.plan.output_shape

    @property
    def input_type(self) -> np.dtype[np.generic]:
        """The type of input rows: int32 for tokens, else the network's."""
        return np.dtype(np.int32) if self.plan.takes_tokens else self.dtype

    @property
    def gradients(self) -> Array:
        if self._gradients is None:  # a network that only predicts never pays for them
            self._gradients = aligned_zeros(self.parameters.size, self.dtype)
        return self._gradients

    def initialise(self, seed: int) -> None:
        """Draws every weight anew, as a function of the seed, and resets the buffers."""
        for stream, (parameter, held) in enumerate(zip(self.plan.parameters, self._held(self.parameters), strict=True)):
            draw = Draw(parameter.shape, parameter.fan_in, parameter.fan_out, seed, stream, parameter.blocks)
            initialise(held.transpose(parameter.back), parameter.initialiser, draw, parameter.offset)
            if parameter.padding_row:
                held[0] = 0
        self._reset_buffers()

    def tensors(self, training: bool) -> list[Tensors]:
        """Each layer's views of the flat vectors, in the layout its kernel works in; gradients only for training."""
        gradients = self.gradients if training else self.parameters[:0]
        held, held_gradients = self._held(self.parameters), self._held(gradients) if training else iter(())
        buffers = _split(self.buffers, (buffer.shape for buffer in self.plan.buffers))
        sizes = [(sum(parameter.size for parameter in layer.parameters),) for layer in self.plan.layers]
        flat, flat_gradients = (
            _split(self.parameters, sizes),
            _split(gradients, sizes if training else [(0,)] * len(sizes)),
        )
        return [
            Tensors(
                {parameter.name: next(held) for parameter in layer.parameters},
                {parameter.name: next(held_gradients) for parameter in layer.parameters if training},
                {buffer.name: next(buffers) for buffer in layer.buffers},
                next(flat),
                next(flat_gradients),
            )
            for layer in self.plan.layers
        ]

    def state_dict(self) -> dict[str, Array]:
        """Copies of all weights and buffers, by PyTorch's names and in its layouts."""
        return {name: view.copy(order="C") for name, view in self.named_tensors().items()}

    def load_state_dict(self, tensors: Mapping[str, Array]) -> None:
        """Takes over what `state_dict` gave. Raises ValueError unless names and shapes are exactly those expected."""
        expected = self.plan.expected_tensors()
        missing, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
        if missing or unknown:
            raise ValueError(f"tensors do not fit the network: missing {sorted(missing)}, unknown {sorted(unknown)}")
        for name, shape in expected.items():
            if tensors[name].shape != shape:
                raise ValueError(f"tensor {name!r} has shape {tensors[name].shape}, the network needs {shape}")
        for name, view in self.named_tensors().items():
            view[...] = tensors[name]

    def _held(self, vector: Array) -> Iterator[Array]:
        return _split(vector, (parameter.held_shape for parameter in self.plan.parameters))

    def _reset_buffers(self) -> None:
        views = _split(self.buffers, (buffer.shape for buffer in self.plan.buffers))
        for view, buffer in zip(views, self.plan.buffers, strict=True):
            view[...] = buffer.initial

    def named_tensors(self) -> dict[str, Array]:
        """Views of all weights and buffers, by PyTorch's names and in its layouts, as `expected_tensors` lists them."""
        named: dict[str, Array] = {}
        for layer, tensors in zip(self.plan.layers, self.tensors(training=False), strict=True):
            for parameter in layer.parameters:
                held = tensors.parameters[parameter.name]
                named[f"{layer.name}.{parameter.name}"] = held.transpose(parameter.back)
            named |= {f"{layer.name}.{name}": view for name, view in tensors.buffers.items()}
        return named


def _split(vector: Array, shapes: Iterable[Shape]) -> Iterator[Array]:
    """Views of consecutive parts of a flat vector."""
    start = 0
    for shape in shapes:
        yield vector[start : start + prod(shape)].reshape(shape)
        start += prod(shape)
