"""A network as an ONNX graph, for whoever serves models elsewhere. Needs the optional extra `onnx`.

The graph takes *prepared* rows (what the model's preprocessing gives) of shape (rows, *input_shape) and answers
what an `InferenceSession` does, to about 1e-6; for scaled targets, the values that stands for, in float64. Images stay
channels-last at the border; convolutions are wrapped in transpositions, which runtimes fuse away. Classes and
preprocessing travel as metadata. Pure: gives bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import pi, sqrt
from typing import Any

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec import network as spec
from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.network import Activation
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.layers.activations import LEAKY_SLOPE
from singlepoint.worker.nn.layers.base import LayerPlan, Place
from singlepoint.worker.nn.layers.pooling import windows_of
from singlepoint.worker.nn.layers.windows import Windows

from .trained_model import TrainedModel

OPSET = 17
IR_VERSION = 8


def onnx_bytes(model: TrainedModel) -> bytes:
    """The model's network as a serialised ONNX model. Raises InvalidInput when the package `onnx` is absent."""
    try:
        from onnx import TensorProto, checker, helper
    except ImportError:
        problem = Problem("onnx", "exporting needs the package onnx", "pip install 'singlepoint[onnx]'")
        raise InvalidInput(problem) from None
    network = model.network
    graph = _Graph(network.state_dict())
    name = "x"
    for layer in network.plan.layers:
        name = _EMITTERS[type(layer.layer)](graph, layer, name)
    kind, gives = TensorProto.INT32 if network.plan.takes_tokens else TensorProto.FLOAT, TensorProto.FLOAT
    if model.target_scale is not None:
        gives = TensorProto.DOUBLE
        scale, offset = (graph.constant(c, np.float64) for c in (model.target_scale.scale, model.target_scale.offset))
        name = graph.add("Add", [graph.add("Mul", [graph.add("Cast", [name], to=gives), scale]), offset])
    graph.add("Identity", [name], outputs=["y"])
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node(*node.parts, **node.attributes) for node in graph.nodes],
            "singlepoint",
            [helper.make_tensor_value_info("x", kind, ["rows", *network.input_shape])],
            [helper.make_tensor_value_info("y", gives, ["rows", *network.output_shape])],
            [_tensor(constant, value) for constant, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="singlepoint",
    )
    preprocessing = model.preprocessor.model_dump(mode="json") if model.preprocessor else None
    helper.set_model_props(
        made, {"classes": json.dumps(model.classes), "task": model.task, "preprocessing": json.dumps(preprocessing)}
    )
    checker.check_model(made)
    return bytes(made.SerializeToString())


def _tensor(name: str, value: Array) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(value, name)


@dataclass(frozen=True)
class _Node:
    parts: tuple[str, list[str], list[str]]
    attributes: dict[str, Any]


@dataclass
class _Graph:
    """Nodes and constants so far.

    state: the network's tensors by name.  lengths: the tensor (rows,) int32 of how many steps of each row are
    real; None when all are.
    """

    state: dict[str, Array]
    nodes: list[_Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    lengths: str | None = None

    def add(self, kind: str, inputs: Sequence[str], *, outputs: list[str] | None = None, **attributes: Any) -> str:
        """A node; answers the name of its (first) output."""
        names = outputs or [f"t{len(self.nodes)}"]
        self.nodes.append(_Node((kind, list(inputs), names), attributes))
        return next(name for name in names if name)

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        return name

    def tensor(self, layer: LayerPlan, name: str) -> Array:
        return self.state[f"{layer.name}.{name}"]


def _activated(graph: _Graph, activation: Activation, name: str) -> str:
    return _ACTIVATIONS[activation](graph, name)


def _gelu(graph: _Graph, name: str) -> str:
    cube = graph.add("Mul", [graph.add("Mul", [name, name]), name])
    inner = graph.add("Add", [name, graph.add("Mul", [cube, graph.constant(0.044715)])])
    tanh = graph.add("Tanh", [graph.add("Mul", [inner, graph.constant(sqrt(2 / pi))])])
    half = graph.add("Mul", [name, graph.constant(0.5)])
    return graph.add("Mul", [half, graph.add("Add", [tanh, graph.constant(1.0)])])


_ACTIVATIONS: dict[Activation, Callable[[_Graph, str], str]] = {
    "linear": lambda graph, name: name,
    "relu": lambda graph, name: graph.add("Relu", [name]),
    "leaky_relu": lambda graph, name: graph.add("LeakyRelu", [name], alpha=LEAKY_SLOPE),
    "gelu": _gelu,
    "tanh": lambda graph, name: graph.add("Tanh", [name]),
    "sigmoid": lambda graph, name: graph.add("Sigmoid", [name]),
    "softmax": lambda graph, name: graph.add("Softmax", [name], axis=-1),
}


def _dense(graph: _Graph, layer: LayerPlan, x: str) -> str:
    weight, bias = (graph.constant(graph.tensor(layer, name)) for name in ("weight", "bias"))
    return _activated(graph, layer.layer.activation, graph.add("Gemm", [x, weight, bias], transB=1))  # type: ignore[attr-defined]


def _channels_first(graph: _Graph, x: str, axes: int) -> str:
    return graph.add("Transpose", [x], perm=[0, axes + 1, *range(1, axes + 1)])


def _channels_last(graph: _Graph, x: str, axes: int) -> str:
    return graph.add("Transpose", [x], perm=[0, *range(2, axes + 2), 1])


def _frame(windows: Windows, axes: int) -> dict[str, Any]:
    """Kernel, strides and padding as ONNX attributes, of the last `axes` axes."""
    frame = (windows.y, windows.x)[2 - axes :]
    return {
        "kernel_shape": [axis.window for axis in frame],
        "strides": [axis.stride for axis in frame],
        "pads": [axis.before for axis in frame] + [axis.after for axis in frame],
    }


def _convolution(graph: _Graph, layer: LayerPlan, x: str) -> str:
    part, axes = layer.layer, len(layer.input_shape) - 1
    assert isinstance(part, spec.Conv1D | spec.Conv2D)
    windows = Windows.over(_place(layer), part.kernel, part.stride, part.padding)
    weight, bias = (graph.constant(graph.tensor(layer, name)) for name in ("weight", "bias"))
    y = graph.add("Conv", [_channels_first(graph, x, axes), weight, bias], **_frame(windows, axes))
    graph.lengths = None
    return _activated(graph, part.activation, _channels_last(graph, y, axes))


def _pool(graph: _Graph, layer: LayerPlan, x: str) -> str:
    part, axes = layer.layer, len(layer.input_shape) - 1
    assert isinstance(part, spec.MaxPool1D | spec.MaxPool2D | spec.AveragePool1D | spec.AveragePool2D)
    kind = "MaxPool" if isinstance(part, spec.MaxPool1D | spec.MaxPool2D) else "AveragePool"
    frame = _frame(windows_of(part, _place(layer)), axes)
    graph.lengths = None
    return _channels_last(graph, graph.add(kind, [_channels_first(graph, x, axes)], **frame), axes)


def _place(layer: LayerPlan) -> Place:
    return Place(layer.index, layer.name, layer.layer, layer.input_shape, None)


def _global_average(graph: _Graph, layer: LayerPlan, x: str) -> str:
    lengths, graph.lengths = graph.lengths, None
    if lengths is None:
        return graph.add("ReduceMean", [x], axes=list(range(1, len(layer.input_shape))), keepdims=0)
    column = graph.add("Unsqueeze", [lengths, graph.constant([1], np.int64)])
    real = graph.add("Less", [graph.constant(np.arange(layer.input_shape[0]), np.int32), column])
    real = graph.add("Unsqueeze", [graph.add("Cast", [real], to=1), graph.constant([2], np.int64)])
    total = graph.add("ReduceSum", [graph.add("Mul", [x, real]), graph.constant([1], np.int64)], keepdims=0)
    count = graph.add("Max", [graph.add("Cast", [column], to=1), graph.constant(1.0)])
    return graph.add("Div", [total, count])


def _flatten(graph: _Graph, layer: LayerPlan, x: str) -> str:
    graph.lengths = None
    if len(layer.input_shape) == 3:  # images are flattened channel by channel
        x = _channels_first(graph, x, axes=2)
    return graph.add("Flatten", [x], axis=1)


def _nothing(graph: _Graph, layer: LayerPlan, x: str) -> str:
    return x


def _batch_norm(graph: _Graph, layer: LayerPlan, x: str) -> str:
    weight, bias, mean, var = (graph.tensor(layer, n) for n in ("weight", "bias", "running_mean", "running_var"))
    factor: Array = weight / np.sqrt(np.add(var, layer.layer.epsilon))  # type: ignore[attr-defined]
    scaled = graph.add("Mul", [graph.add("Sub", [x, graph.constant(mean)]), graph.constant(factor)])
    return graph.add("Add", [scaled, graph.constant(bias)])


def _layer_norm(graph: _Graph, layer: LayerPlan, x: str) -> str:
    weight, bias = (graph.constant(graph.tensor(layer, name)) for name in ("weight", "bias"))
    return graph.add("LayerNormalization", [x, weight, bias], axis=-1, epsilon=layer.layer.epsilon)  # type: ignore[attr-defined]


def _embedding(graph: _Graph, layer: LayerPlan, x: str) -> str:
    table, steps = graph.tensor(layer, "weight"), layer.input_shape[0]
    real = graph.add("Cast", [graph.add("Cast", [x], to=9)], to=6)  # to bool and to int32: 1 unless padding
    reached = graph.add("Mul", [real, graph.constant(np.arange(1, steps + 1), np.int32)])
    graph.lengths = graph.add("ReduceMax", [reached], axes=[1], keepdims=0)
    limits = [graph.constant(limit, np.int32) for limit in (0, len(table) - 1)]
    return graph.add("Gather", [graph.constant(table), graph.add("Clip", [x, *limits])], axis=0)


@dataclass(frozen=True)
class _Recurrence:
    """gates: where ONNX's gates stand among PyTorch's."""

    kind: str
    gates: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


_RECURRENCES: dict[type[Part], _Recurrence] = {
    spec.SimpleRNN: _Recurrence("RNN", (0,)),
    spec.GRU: _Recurrence("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    spec.LSTM: _Recurrence("LSTM", (0, 3, 1, 2)),
}


def _recurrent(graph: _Graph, layer: LayerPlan, x: str) -> str:
    part, how = layer.layer, _RECURRENCES[type(layer.layer)]
    assert isinstance(part, spec.SimpleRNN | spec.GRU | spec.LSTM)
    ends = ("", "_reverse") if part.bidirectional else ("",)
    inputs, states = (
        np.stack([_gated(graph.tensor(layer, f"{name}_l0{end}"), how.gates) for end in ends])
        for name in ("weight_ih", "weight_hh")
    )
    biases = np.stack(
        [
            np.concatenate([_gated(graph.tensor(layer, f"{n}_l0{end}"), how.gates) for n in ("bias_ih", "bias_hh")])
            for end in ends
        ]
    )
    graph.add(
        how.kind,
        [
            graph.add("Transpose", [x], perm=[1, 0, 2]),
            *map(graph.constant, (inputs, states, biases)),
            graph.lengths or "",
        ],
        outputs=[f"{layer.name}:steps", f"{layer.name}:last"],
        hidden_size=part.units,
        direction="bidirectional" if part.bidirectional else "forward",
        **how.attributes,
    )
    width = part.units * len(ends)
    if part.return_sequence:  # (steps, directions, rows, units)
        rows_first = graph.add("Transpose", [f"{layer.name}:steps"], perm=[2, 0, 1, 3])
        return graph.add("Reshape", [rows_first, graph.constant([0, 0, width], np.int64)])
    graph.lengths = None
    rows_first = graph.add("Transpose", [f"{layer.name}:last"], perm=[1, 0, 2])
    return graph.add("Reshape", [rows_first, graph.constant([0, width], np.int64)])


def _gated(tensor: Array, gates: tuple[int, ...]) -> Array:
    """The blocks of a tensor (gates * units, …) in ONNX's order."""
    blocks = np.split(tensor, len(gates))
    return np.concatenate([blocks[gate] for gate in gates])


_EMITTERS: dict[type[Part], Callable[[_Graph, LayerPlan, str], str]] = {
    spec.Dense: _dense,
    spec.Conv1D: _convolution,
    spec.Conv2D: _convolution,
    spec.MaxPool1D: _pool,
    spec.MaxPool2D: _pool,
    spec.AveragePool1D: _pool,
    spec.AveragePool2D: _pool,
    spec.GlobalAveragePool: _global_average,
    spec.Flatten: _flatten,
    spec.Dropout: _nothing,
    spec.BatchNorm: _batch_norm,
    spec.LayerNorm: _layer_norm,
    spec.Embedding: _embedding,
    spec.SimpleRNN: _recurrent,
    spec.GRU: _recurrent,
    spec.LSTM: _recurrent,
}
