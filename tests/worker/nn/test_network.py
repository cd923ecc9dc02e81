"""Planning, naming, saving; and the worked example."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from singlepoint.jobs.spec.network import (
    LSTM,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePool,
    MaxPool2D,
    Normal,
)
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.nn.inference import InferenceSession
from singlepoint.worker.nn.learning.trainer import Trainer
from singlepoint.worker.nn.network import Network, ShapeError, plan
from singlepoint.worker.nn.passes import Pass

CONV = Conv2D(type="conv2d", filters=8, kernel=3, padding="same", activation="relu")
POOL, FLAT = MaxPool2D(type="max_pool2d"), Flatten(type="flatten")
OUT = Dense(type="dense", units=10, activation="softmax", name="out")
IMAGES = [CONV, BatchNorm(type="batch_norm"), POOL, FLAT, OUT]


def test_a_plan_knows_every_shape_and_count():
    planned = plan(IMAGES, (12, 10, 3))
    assert [layer.output_shape for layer in planned.layers] == [(12, 10, 8), (12, 10, 8), (6, 5, 8), (240,), (10,)]
    assert planned.parameter_count == (27 * 8 + 8) + (8 + 8) + (240 * 10 + 10)
    assert planned.buffer_count == 16
    assert planned.expected_tensors() == {
        "0.weight": (8, 3, 3, 3),
        "0.bias": (8,),
        "1.weight": (8,),
        "1.bias": (8,),
        "1.running_mean": (8,),
        "1.running_var": (8,),
        "out.weight": (10, 240),
        "out.bias": (10,),
    }


def test_planning_a_huge_network_allocates_nothing():
    tracemalloc.start()
    planned = plan([Dense(type="dense", units=2**31 - 1), Dense(type="dense", units=2**31 - 1)], (2**31 - 1,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert planned.parameter_count > 2**62
    assert peak < 100_000


MISFITS = [
    ([Dense(type="dense", units=3)], (4, 4, 1), r"layer 0 \(dense\).*\(features,\).*\(4, 4, 1\).*flatten"),
    (
        [CONV, Conv2D(type="conv2d", filters=2, kernel=13, name="big")],
        (9, 9, 1),
        r"layer 1 \(conv2d 'big'\).*13x13.*same",
    ),
    ([Conv1D(type="conv1d", filters=2, kernel=3)], (9, 9, 1), r"layer 0 \(conv1d\).*\(steps, features\).*conv2d"),
    ([CONV], (28, 28), r"layer 0 \(conv2d\).*channel axis"),
    ([POOL], (1, 1, 3), r"layer 0 \(max_pool2d\).*2x2 does not fit"),
    ([LSTM(type="lstm", units=2)], (7,), r"layer 0 \(lstm\).*embedding"),
    ([Embedding(type="embedding", dimension=2)], (7,), r"layer 0 \(embedding\).*vocabulary"),
    ([FLAT, Embedding(type="embedding", dimension=2, vocabulary=9)], (7,), r"layer 1 \(embedding\).*first"),
    ([GlobalAveragePool(type="global_average_pool")], (7,), r"layer 0 \(global_average_pool\).*images or sequences"),
]


@pytest.mark.parametrize(("layers", "shape", "message"), MISFITS)
def test_a_layer_that_does_not_fit_is_named_with_the_shapes(layers, shape, message):
    with pytest.raises(ShapeError, match=message):
        plan(layers, shape)


def test_names_must_differ_and_there_must_be_layers():
    with pytest.raises(ValueError, match="'out' is taken"):
        plan([OUT, OUT], (3,))
    with pytest.raises(ValueError, match="needs a layer"):
        plan([], (3,))


def test_a_state_dict_is_a_copy_and_restores_every_bit():
    network, other = Network.build(IMAGES, (6, 6, 3)), Network.build(IMAGES, (6, 6, 3))
    network.initialise(3)
    network.buffers[...] = np.arange(16)
    saved = network.state_dict()
    before = network.parameters.copy()
    network.parameters[...] = 0
    other.load_state_dict(saved)
    assert np.array_equal(other.parameters, before)
    assert np.array_equal(other.buffers, network.buffers)
    assert all(tensor.flags.c_contiguous and tensor.flags.owndata for tensor in saved.values())


def test_tensors_that_do_not_fit_are_refused_by_name():
    network = Network.build(IMAGES, (6, 6, 3))
    tensors = network.state_dict()
    with pytest.raises(ValueError, match=r"missing \['0.bias'\]"):
        network.load_state_dict({name: tensor for name, tensor in tensors.items() if name != "0.bias"})
    with pytest.raises(ValueError, match=r"unknown \['x'\]"):
        network.load_state_dict(tensors | {"x": tensors["0.bias"]})
    with pytest.raises(ValueError, match=r"'0.bias' has shape \(9,\).*\(8,\)"):
        network.load_state_dict(tensors | {"0.bias": np.zeros(9)})


def test_pooling_a_convolution_as_one_gives_the_same_bits_as_one_after_the_other(monkeypatch):
    x = np.random.default_rng(0).standard_normal((9, 11, 10, 3)).astype(np.float32)
    layers = [Conv2D(type="conv2d", filters=5, kernel=3, activation="relu"), POOL, FLAT, OUT]
    ends = []
    for together in (True, False):
        monkeypatch.setattr(
            "singlepoint.worker.nn.passes.can_be_pooled",
            lambda conv, pool, together=together: together and pool.index == 1,
        )
        network = Network.build(layers, (11, 10, 3))
        network.initialise(1)
        bound = Pass(network, 9, training=True)
        outputs = bound.forward(x).copy()
        bound.backward(np.ones((9, 10), np.float32))
        ends.append((outputs, network.gradients.copy()))
    assert len(bound._kernels) == 4
    assert np.allclose(ends[0][0], ends[1][0], rtol=1e-6)
    assert np.allclose(ends[0][1], ends[1][1], rtol=1e-4, atol=1e-6)


def test_the_worked_example_is_expressible_and_learns():
    """Input 10, output 5, hidden width 5, ReLU twice, mean squared error, gradient descent at 0.01."""

    def layer(variance: float) -> Dense:
        return Dense(
            type="dense",
            units=5,
            activation="relu",
            initialiser=Normal(variance=variance),
            bias_initialiser=Normal(variance=1 / 2),
        )

    network = Network.build([layer(1 / 10), layer(1 / 5)], (10,))
    network.initialise(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 10)).astype(np.float32)
    y = np.maximum(x @ rng.standard_normal((10, 5)).astype(np.float32), 0)
    options = {"epochs": 100, "optimiser": {"type": "gd", "learning_rate": 0.01}, "loss": "mean_squared_error"}
    trainer = Trainer(network, TrainingSpec.model_validate(options), x, y, x, y, task="regression")
    reports = []
    while not trainer.finished:
        reports.append(trainer.advance())
    assert trainer.step == 100
    assert [report.epoch for report in reports] == list(range(1, 101))
    assert reports[-1].loss < reports[0].loss
    assert (InferenceSession(network).predict(x) >= 0).all()
