"""Every layer's backward half is the derivative of its forward half."""

from __future__ import annotations

import numpy as np
import pytest

from singlepoint.jobs.spec.network import (
    GRU,
    LSTM,
    AveragePool1D,
    AveragePool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    SimpleRNN,
)
from singlepoint.worker.nn.arrays import RUN_VALUES, Memory
from singlepoint.worker.nn.layers.activations import ACTIVATIONS, softmax
from singlepoint.worker.nn.layers.base import Moment
from singlepoint.worker.nn.layers.dense import DenseKernel
from singlepoint.worker.nn.network import Network, ShapeError, plan
from singlepoint.worker.nn.passes import Pass
from tests.worker.nn.checks import a_network, network_gradient_error


def dense(units: int, activation: str = "linear", **options: object) -> Dense:
    return Dense(type="dense", units=units, activation=activation, **options)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_and_each_activation_match_their_numerical_derivative(activation):
    network = a_network([dense(7, activation), dense(5, activation), dense(3)], (4,))
    x = np.random.default_rng(0).standard_normal((6, 4))
    assert network_gradient_error(network, x) < 1e-6


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 8, 10, 64])
def test_a_softmax_has_the_same_bits_whichever_way_its_rows_lie(width):
    z = np.random.default_rng(0).standard_normal((40, width)).astype(np.float32)
    z[::7], z[1::7], z[2::7, 0], z[3::7, -1] = 0, -0.0, np.nan, np.inf
    row, by_rows, by_columns = np.empty((40, 1), np.float32), z.copy(), z.copy()
    with np.errstate(all="ignore"):
        softmax(by_rows, row)
        softmax(by_columns, row, np.empty((width, 40), np.float32))
    assert by_columns.tobytes() == by_rows.tobytes()


@pytest.mark.parametrize("values", [1, 7, 300, 2 * RUN_VALUES])
def test_a_relu_comes_to_the_bits_of_a_product_with_one_or_zero(values):
    z = np.random.default_rng(0).standard_normal((6, values)).astype(np.float32)
    z[:, 0], z[1:5, -1] = np.nan, (0, -0.0, np.inf, 1e-45)
    y = z.copy()
    ACTIVATIONS["relu"](y, Memory(np.float32), training=False).forward()
    assert y.tobytes() == (z * (z > 0)).tobytes()


def test_a_relu_of_a_sum_that_overflowed_below_zero_is_zero():
    y = np.full((2, 3), -np.inf, np.float32)
    ACTIVATIONS["relu"](y, Memory(np.float32), training=False).forward()
    assert not y.any()


def conv(filters: int = 3, kernel: object = 3, **options: object) -> Conv2D:
    return Conv2D(type="conv2d", filters=filters, kernel=kernel, **options)


def conv1d(filters: int = 3, kernel: int = 3, **options: object) -> Conv1D:
    return Conv1D(type="conv1d", filters=filters, kernel=kernel, **options)


def recurrent(kind: type, units: int = 4, **options: object) -> object:
    return kind(type=kind.model_fields["type"].annotation.__args__[0], units=units, **options)


FLAT, OUT, TANH = Flatten(type="flatten"), dense(3), {"activation": "tanh"}
LAYERS = {
    "conv2d": ([conv(**TANH), conv(4)], (6, 7, 2)),
    "conv2d, same": ([conv(**TANH), conv(padding="same", kernel=(3, 4)), conv(2)], (6, 7, 2)),
    "conv2d, strides": ([conv(**TANH), conv(stride=(2, 3), **TANH), conv(2, 1)], (9, 11, 2)),
    "conv2d, same and strides": ([conv(**TANH), conv(stride=2, padding="same", kernel=4), conv(2, 1)], (8, 9, 2)),
    "conv2d, many channels": ([conv(9, **TANH), conv(10, **TANH), conv(2)], (8, 7, 9)),
    "conv1d": ([conv1d(**TANH), conv1d(4, 2, padding="same"), conv1d(2, 2, stride=2), FLAT, OUT], (9, 2)),
    "max pool": ([conv(**TANH), MaxPool2D(type="max_pool2d"), FLAT, OUT], (7, 8, 2)),
    "max pool, pooled conv": ([conv(**TANH), conv(4, activation="relu"), MaxPool2D(type="max_pool2d")], (9, 10, 2)),
    "max pool, pooled conv, same": (
        [conv(**TANH), conv(4, 2), MaxPool2D(type="max_pool2d", size=3, stride=2, padding="same")],
        (7, 8, 2),
    ),
    "max pool, overlapping": ([conv(**TANH), MaxPool2D(type="max_pool2d", size=3, stride=1)], (6, 7, 2)),
    "max pool 1d": ([conv1d(**TANH), MaxPool1D(type="max_pool1d", size=3, stride=2, padding="same")], (9, 2)),
    "average pool": ([conv(**TANH), AveragePool2D(type="average_pool2d", padding="same", size=(2, 3))], (6, 7, 2)),
    "average pool 1d": ([conv1d(**TANH), AveragePool1D(type="average_pool1d", size=3, stride=2)], (9, 2)),
    "lstm of numbers": ([recurrent(LSTM, return_sequence=True), recurrent(GRU), OUT], (5, 3)),
    "rnn over a conv1d": ([conv1d(**TANH), recurrent(SimpleRNN, bidirectional=True), OUT], (6, 3)),
    "batch norm": ([dense(6, **TANH), BatchNorm(type="batch_norm"), OUT], (4,)),
    "batch norm of images": ([conv(**TANH), BatchNorm(type="batch_norm"), conv(2)], (6, 7, 2)),
    "layer norm": ([dense(6, **TANH), LayerNorm(type="layer_norm"), OUT], (4,)),
    "layer norm of images": ([conv(**TANH), LayerNorm(type="layer_norm"), conv(2)], (6, 7, 2)),
    "global average pool": ([conv(**TANH), GlobalAveragePool(type="global_average_pool"), OUT], (6, 7, 2)),
    "flatten of an image": ([Flatten(type="flatten"), dense(3)], (2, 3, 4)),
    "dropout": ([dense(16, "tanh"), Dropout(type="dropout", rate=0.4), dense(3)], (4,)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_matches_its_numerical_derivative(name):
    layers, shape = LAYERS[name]
    x = np.random.default_rng(0).standard_normal((5, *shape))
    assert network_gradient_error(a_network(layers, shape), x) < 1e-6


SEQUENCES = (
    {
        "embedding": [FLAT, OUT],
        "embedding, mean of the real steps": [GlobalAveragePool(type="global_average_pool"), OUT],
        "embedding, layer norm": [LayerNorm(type="layer_norm"), GlobalAveragePool(type="global_average_pool"), OUT],
    }
    | {
        f"{kind.__name__} {options}": [
            recurrent(kind, **options),
            *([FLAT] if options.get("return_sequence") else []),
            OUT,
        ]
        for kind in (SimpleRNN, GRU, LSTM)
        for options in (
            {},
            {"return_sequence": True},
            {"bidirectional": True},
            {"bidirectional": True, "return_sequence": True},
        )
    }
    | {
        f"two of {kind.__name__}": [recurrent(kind, bidirectional=True, return_sequence=True), recurrent(kind), OUT]
        for kind in (SimpleRNN, GRU, LSTM)
    }
)


@pytest.mark.parametrize("name", SEQUENCES)
def test_each_layer_over_padded_tokens_matches_its_numerical_derivative(name):
    network = a_network([Embedding(type="embedding", dimension=5, vocabulary=9), *SEQUENCES[name]], (7,))
    tokens = np.random.default_rng(0).integers(1, 9, (6, 7)).astype(np.int32)
    tokens *= np.arange(7) < np.array([[7], [3], [1], [0], [5], [7]])  # one row of nothing but padding
    trained = np.ones(network.parameters.size)
    trained[:5] = 0  # the padding row is not a parameter
    assert network_gradient_error(network, tokens, trained=trained) < 1e-6


def test_the_gradient_check_finds_a_wrong_gradient(monkeypatch):
    right = DenseKernel.backward

    def wrong(self, dy):
        dx = right(self, dy)
        self.db *= 1.001
        return dx

    monkeypatch.setattr(DenseKernel, "backward", wrong)
    network = a_network([dense(7, "tanh"), dense(3)], (4,))
    assert network_gradient_error(network, np.random.default_rng(0).standard_normal((6, 4))) > 1e-5


def test_dense_refuses_an_image_and_says_what_to_do():
    with pytest.raises(ShapeError, match=r"layer 1 \(dense 'out'\).*\(4, 4, 1\).*flatten"):
        plan([Dropout(type="dropout", rate=0.1), dense(3, name="out")], (4, 4, 1))


def test_dropout_drops_the_asked_share_and_keeps_the_mean():
    network = Network.build([Dropout(type="dropout", rate=0.25)], (4000,))
    bound = Pass(network, 5, training=True)
    y = bound.forward(np.ones((5, 4000), np.float32), Moment(1, 0, 0)).copy()
    assert abs((y == 0).mean() - 0.25) < 0.01
    assert set(np.unique(y)) == {0, np.float32(4 / 3)}
    for other in (Moment(2, 0, 0), Moment(1, 1, 0), Moment(1, 0, 1), Moment(1, 0, 0, part=1)):
        assert not np.array_equal(y, bound.forward(np.ones((5, 4000), np.float32), other))
    assert np.array_equal(y, bound.forward(np.ones((5, 4000), np.float32), Moment(1, 0, 0)))
