"""Every kind of layer gives the same answers in onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from singlepoint.jobs.spec.network import Layer
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.models.onnx import _EMITTERS, onnx_bytes
from singlepoint.worker.models.trained_model import TrainedModel
from singlepoint.worker.nn.inference import InferenceSession
from singlepoint.worker.nn.layers import KINDS
from singlepoint.worker.nn.network import Network

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

LAYERS: TypeAdapter[tuple[Layer, ...]] = TypeAdapter(tuple[Layer, ...])
DRAW = np.random.default_rng(0)


def layer(kind: str, **options: Any) -> dict[str, Any]:
    return {"type": kind, **options}


OUT = layer("dense", units=3, activation="softmax")
IMAGES: list[list[dict[str, Any]]] = [
    [
        layer("conv2d", filters=4, kernel=[3, 2], stride=[1, 2], padding=padding, activation=activation),
        layer("flatten"),
        OUT,
    ]
    for padding in ("same", "valid")
    for activation in ("relu", "gelu")
] + [
    [layer(kind, size=3, stride=2, padding=padding), layer("global_average_pool"), OUT]
    for kind in ("max_pool2d", "average_pool2d")
    for padding in ("same", "valid")
]
SEQUENCES: list[list[dict[str, Any]]] = [
    [layer("conv1d", filters=4, kernel=3, stride=2, padding="same", activation="leaky_relu"), layer("flatten"), OUT],
    [layer("max_pool1d", size=2, padding="same"), layer("layer_norm"), layer("flatten"), OUT],
    [layer("average_pool1d", size=3, padding="same"), layer("batch_norm"), layer("flatten"), OUT],
]
RECURRENT: list[list[dict[str, Any]]] = [
    [layer(kind, units=4, bidirectional=both), OUT] for kind in ("simple_rnn", "gru", "lstm") for both in (False, True)
] + [
    [layer("lstm", units=4, bidirectional=True, return_sequence=True), layer("gru", units=3), OUT],
    [layer("gru", units=4, return_sequence=True), layer("dropout", rate=0.5), layer("global_average_pool"), OUT],
]
DENSE: list[list[dict[str, Any]]] = [
    [layer("dense", units=6, activation=activation), layer("batch_norm"), layer("dropout", rate=0.5), OUT]
    for activation in ("linear", "tanh", "sigmoid", "relu")
]


def a_network(layers: list[dict[str, Any]], shape: tuple[int, ...]) -> Network:
    network = Network.build(LAYERS.validate_python(layers), shape, vocabulary=9)
    network.initialise(1)
    network.parameters[...] += DRAW.normal(0, 0.1, network.parameters.shape)
    network.buffers[...] = DRAW.uniform(0.5, 1.5, network.buffers.shape)
    return network


def answers(network: Network, x: np.ndarray) -> np.ndarray:
    model = TrainedModel(network, None, "classification", ("a", "b", "c"))
    session = runtime.InferenceSession(onnx_bytes(model), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"x": x})
    return np.asarray(out)


@pytest.mark.parametrize(("layers", "shape"), [
    *((layers, (6,)) for layers in DENSE),
    *((layers, (9, 8, 2)) for layers in IMAGES),
    *((layers, (9, 4)) for layers in SEQUENCES + RECURRENT),
])  # fmt: skip
def test_answers_agree_with_onnxruntime(layers: list[dict[str, Any]], shape: tuple[int, ...]) -> None:
    x = DRAW.normal(size=(7, *shape)).astype(np.float32)
    network = a_network(layers, shape)
    np.testing.assert_allclose(answers(network, x), InferenceSession(network).predict(x), atol=1e-5)


@pytest.mark.parametrize("layers", [*RECURRENT, [layer("global_average_pool"), OUT]])
def test_padded_tokens_agree_with_onnxruntime(layers: list[dict[str, Any]]) -> None:
    tokens = np.zeros((7, 10), np.int32)
    for row, length in enumerate((10, 1, 3, 7, 2, 9, 5)):
        tokens[row, :length] = DRAW.integers(1, 9, length)
    network = a_network([layer("embedding", dimension=5), *layers], (10,))
    if any(part.type not in ("embedding",) and part.type in ("simple_rnn", "gru", "lstm") for part in network.layers):
        assert not np.allclose(
            InferenceSession(network).predict(tokens)[2], InferenceSession(network).predict(tokens[:, ::-1].copy())[2]
        )
    np.testing.assert_allclose(answers(network, tokens), InferenceSession(network).predict(tokens), atol=1e-5)


def test_every_kind_of_layer_is_exported() -> None:
    assert _EMITTERS.keys() == KINDS.keys()


def test_a_trained_model_is_exported_to_a_file_that_answers_alike(tmp_path: Path) -> None:
    x = DRAW.normal(size=(60, 4)).astype(np.float32)
    model = Model(hidden=(8,), seed=1).fit(x, (x[:, 0] > 0).astype(int), epochs=2)
    model.export_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(answers, model.predict_proba(x), atol=1e-5)


def test_values_come_out_in_the_units_of_their_targets() -> None:
    x = DRAW.normal(size=(40, 3)).astype(np.float32)
    model = Model(hidden=[4]).fit(x, 1.7e9 + x[:, :2].astype(np.float64), epochs=2)
    session = runtime.InferenceSession(onnx_bytes(model.trained), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"x": x})
    assert out.dtype == np.float64
    np.testing.assert_allclose(out - 1.7e9, model.predict(x) - 1.7e9, atol=1e-5)
