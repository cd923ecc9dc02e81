"""Each initialiser has the distribution it names."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from singlepoint.jobs.spec.network import GRU, Conv2D, Dense, Embedding, Glorot, He, Normal, Orthogonal, Zeros
from singlepoint.worker.nn import initialisers
from singlepoint.worker.nn.initialisers import Draw, initialise
from singlepoint.worker.nn.network import Network


def values(initialiser, shape=(300, 200), fan_in=200, fan_out=300, blocks=1):
    out = np.empty(shape)
    initialise(out, initialiser, Draw(shape, fan_in, fan_out, seed=1, stream=0, blocks=blocks))
    return out


def test_normal_takes_a_variance_not_a_standard_deviation():
    assert values(Normal(variance=0.1)).var() == pytest.approx(0.1, rel=0.02)


def test_he_and_glorot_scale_with_the_fans():
    assert values(He()).var() == pytest.approx(2 / 200, rel=0.02)
    glorot = values(Glorot())
    assert np.abs(glorot).max() == pytest.approx(sqrt(6 / 500), rel=0.001)
    assert glorot.var() == pytest.approx(2 / 500, rel=0.02)


def test_zeros_are_zero():
    assert not values(Zeros()).any()


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (8, 3, 3, 3)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    q = values(Orthogonal(), shape).reshape(shape[0], -1)
    q = q if q.shape[0] <= q.shape[1] else q.T
    assert np.allclose(q @ q.T, np.eye(len(q)))


def test_gates_are_orthogonal_one_by_one():
    network = Network.build([GRU(type="gru", units=6)], (4, 3))
    network.initialise(0)
    for gate in np.split(network.state_dict()["0.weight_hh_l0"], 3):
        assert np.allclose(gate @ gate.T, np.eye(6), atol=1e-6)


def test_defaults_follow_the_activation():
    layers = [
        Conv2D(type="conv2d", filters=64, kernel=3, activation="relu"),
        Conv2D(type="conv2d", filters=64, kernel=3),
    ]
    network = Network.build(layers, (9, 9, 32))
    network.initialise(0)
    tensors = network.state_dict()
    assert tensors["0.weight"].var() == pytest.approx(2 / (9 * 32), rel=0.05)  # he
    assert tensors["1.weight"].var() == pytest.approx(2 / (9 * 64 + 9 * 64), rel=0.05)  # glorot
    assert not tensors["0.bias"].any()


def test_weights_are_a_function_of_the_seed_and_the_same_in_both_float_types():
    layers = [Dense(type="dense", units=5), Dense(type="dense", units=5, bias_initialiser=Normal(variance=0.5))]
    first, again, other, double = (Network.build(layers, (5,), dtype=kind) for kind in [np.float32] * 3 + [np.float64])
    for network, seed in ((first, 1), (again, 1), (other, 2), (double, 1)):
        network.initialise(seed)
    assert np.array_equal(first.parameters, again.parameters)
    assert not np.array_equal(first.parameters, other.parameters)
    assert np.array_equal(first.parameters, double.parameters.astype(np.float32))
    tensors = first.state_dict()
    assert not np.array_equal(tensors["0.weight"], tensors["1.weight"])


def test_the_padding_vector_starts_at_zero():
    network = Network.build([Embedding(type="embedding", dimension=4, vocabulary=5)], (3,))
    network.initialise(0)
    table = network.state_dict()["0.weight"]
    assert not table[0].any()
    assert table[1:].all()


@pytest.mark.parametrize("initialiser", [Glorot(), He(), Normal(variance=0.5), Orthogonal()], ids=lambda i: i.type)
def test_drawing_some_at_a_time_into_any_layout_gives_the_same_bits(initialiser, monkeypatch):
    for shape in ((7, 5), (6, 4, 3), (9,)) if initialiser.type != "orthogonal" else ((8, 5), (4, 9)):
        draw = Draw(shape, 5, 7, seed=3, stream=2, blocks=2 if initialiser.type == "orthogonal" else 1)
        whole = np.empty(shape)
        initialise(whole, initialiser, draw)
        for size in (1, 3, 4, 10):
            monkeypatch.setattr(initialisers, "BLOCK_VALUES", size)
            turned = np.empty(shape[::-1]).T
            initialise(turned, initialiser, draw)
            assert turned.tobytes() == whole.tobytes()
        monkeypatch.undo()
