"""What holds for any shape, stride, padding and mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singlepoint.jobs.spec.network import (
    GRU,
    LSTM,
    AveragePool2D,
    Conv2D,
    Dense,
    Embedding,
    GlobalAveragePool,
    MaxPool2D,
    SimpleRNN,
)
from singlepoint.worker.nn.arrays import Memory
from singlepoint.worker.nn.inference import InferenceSession
from singlepoint.worker.nn.network import Network
from singlepoint.worker.nn.passes import Pass
from tests.worker.nn.checks import a_network, network_gradient_error

few = settings(max_examples=25, deadline=None, derandomize=True)
sizes, strides = st.integers(1, 4), st.integers(1, 3)
paddings = st.sampled_from(["valid", "same"])


@st.composite
def images_and_windows(draw, largest_stride: int = 3):
    """(image shape, window, stride, padding) that fit each other."""
    window = draw(st.tuples(sizes, sizes))
    shape = tuple(draw(st.integers(extent, 8)) for extent in window)
    stride = draw(st.tuples(*[st.integers(1, largest_stride)] * 2))
    return (*shape, draw(st.sampled_from([1, 3, 9]))), window, stride, draw(paddings)


def padded(x: np.ndarray, window, stride, padding: str, fill: float) -> np.ndarray:
    """x (rows, height, width, channels), padded for these windows."""
    if padding == "valid":
        return x
    missing = [max((-(-n // s) - 1) * s + w - n, 0) for n, w, s in zip(x.shape[1:3], window, stride, strict=True)]
    margins = [(m // 2, m - m // 2) for m in missing]
    return np.pad(x, [(0, 0), *margins, (0, 0)], constant_values=fill)


def each_window(x: np.ndarray, window, stride):
    """[(row, column, pixels (rows, height, width, channels))], by definition."""
    for row, top in enumerate(range(0, x.shape[1] - window[0] + 1, stride[0])):
        for column, left in enumerate(range(0, x.shape[2] - window[1] + 1, stride[1])):
            yield row, column, x[:, top : top + window[0], left : left + window[1]]


@few
@given(images_and_windows(), st.integers(1, 5))
def test_a_convolution_is_the_sum_over_its_windows(case, rows):
    shape, window, stride, padding = case
    network = a_network([Conv2D(type="conv2d", filters=4, kernel=window, stride=stride, padding=padding)], shape)
    x = np.random.default_rng(0).standard_normal((rows, *shape))
    tensors = network.state_dict()
    y = InferenceSession(network).predict(x)
    for row, column, pixels in each_window(padded(x, window, stride, padding, 0), window, stride):
        expected = np.einsum("nhwc,ochw->no", pixels, tensors["0.weight"]) + tensors["0.bias"]
        assert np.allclose(y[:, row, column], expected)
    assert y.shape[1:3] == (row + 1, column + 1)


@few
@given(images_and_windows())
def test_a_convolutions_gradient_holds_for_any_window(case):
    shape, window, stride, padding = case
    first = Conv2D(type="conv2d", filters=3, kernel=1, activation="tanh")
    second = Conv2D(type="conv2d", filters=2, kernel=window, stride=stride, padding=padding)
    x = np.random.default_rng(0).standard_normal((3, *shape))
    assert network_gradient_error(a_network([first, second], shape), x) < 1e-6


@few
@given(images_and_windows(), st.sampled_from(["max_pool2d", "average_pool2d"]), st.booleans())
def test_pooling_is_the_maximum_or_the_mean_over_its_windows(case, kind, after_a_convolution):
    shape, window, stride, padding = case
    record = (MaxPool2D if kind == "max_pool2d" else AveragePool2D)(
        type=kind, size=window, stride=stride, padding=padding
    )
    layers = [Conv2D(type="conv2d", filters=3, kernel=1, activation="relu")] * after_a_convolution
    x = np.random.default_rng(0).standard_normal((3, *shape))
    entered = InferenceSession(a_network(layers, shape)).predict(x) if layers else x
    y = InferenceSession(a_network([*layers, record], shape)).predict(x)
    for row, column, pixels in each_window(padded(entered, window, stride, padding, np.nan), window, stride):
        expected = (np.nanmax if kind == "max_pool2d" else np.nanmean)(pixels, axis=(1, 2))
        assert np.allclose(y[:, row, column], expected)


@few
@given(images_and_windows(), st.sampled_from(["max_pool2d", "average_pool2d"]))
def test_poolings_gradient_holds_for_any_window(case, kind):
    shape, window, stride, padding = case
    record = (MaxPool2D if kind == "max_pool2d" else AveragePool2D)(
        type=kind, size=window, stride=stride, padding=padding
    )
    first = Conv2D(type="conv2d", filters=3, kernel=1, activation="relu")
    x = np.random.default_rng(0).standard_normal((3, *shape))
    assert network_gradient_error(a_network([first, first, record, first], shape), x) < 1e-6


@few
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_a_convolution_is_linear_and_its_input_gradient_is_its_adjoint(height, width, stride):
    first = Conv2D(type="conv2d", filters=3, kernel=1)
    layers = [first, Conv2D(type="conv2d", filters=2, kernel=(height, width), stride=stride, padding="same")]
    network = a_network(layers, (6, 5, 2))
    network.tensors(training=False)[0].parameters["bias"][...] = 0
    network.tensors(training=False)[1].parameters["bias"][...] = 0
    rng = np.random.default_rng(0)
    x, other = rng.standard_normal((2, 4, 6, 5, 2))
    bound = Pass(network, 4, training=True)
    y, of_other, of_sum = (bound.forward(rows).copy() for rows in (x, other, 2 * x + other))
    assert np.allclose(of_sum, 2 * y + of_other)
    # With <y, v> as the loss, the gradient of the first kernel times that kernel is <conv(x), v> again (Euler).
    v = rng.standard_normal(y.shape)
    bound.forward(x)
    bound.backward(v.copy())
    tensors = network.tensors(training=True)[0]
    assert np.vdot(tensors.gradients["weight"], tensors.parameters["weight"]) == pytest.approx(np.vdot(y, v))


RECURRENT = {SimpleRNN: "simple_rnn", GRU: "gru", LSTM: "lstm"}


@few
@given(
    st.sampled_from(list(RECURRENT)), st.booleans(), st.booleans(), st.lists(st.integers(0, 5), min_size=1, max_size=4)
)
def test_more_padding_changes_nothing(kind, both_ways, sequence, lengths):
    """Not the outputs of the real steps, not a gradient."""
    steps, rows = 5, len(lengths)
    tokens = np.random.default_rng(0).integers(1, 9, (rows, steps)).astype(np.int32)
    tokens *= np.arange(steps) < np.array(lengths)[:, None]
    ends = []
    for extra in (0, 3):
        layer = kind(type=RECURRENT[kind], units=4, bidirectional=both_ways, return_sequence=sequence)
        after = [GlobalAveragePool(type="global_average_pool")] if sequence else []
        layers = [Embedding(type="embedding", dimension=3, vocabulary=9), layer, *after, Dense(type="dense", units=2)]
        network = a_network(layers, (steps + extra,))
        x = np.pad(tokens, ((0, 0), (0, extra)))
        bound = Pass(network, rows, training=True)
        outputs = bound.forward(x).copy()
        bound.backward(np.ones((rows, 2)))
        ends.append((outputs, network.gradients.copy(), InferenceSession(network).predict(x)))
    for one, other in zip(*ends, strict=True):
        assert np.allclose(one, other, rtol=1e-12, atol=1e-14)


@few
@given(st.permutations(range(6)), st.sampled_from(["dense", "conv", "lstm"]))
def test_the_order_of_a_batch_does_not_matter(order, kind):
    layers, shape = {
        "dense": ([Dense(type="dense", units=4, activation="tanh")], (3,)),
        "conv": (
            [Conv2D(type="conv2d", filters=2, kernel=2, activation="tanh"), MaxPool2D(type="max_pool2d")],
            (5, 5, 1),
        ),
        "lstm": ([LSTM(type="lstm", units=3)], (4, 2)),
    }[kind]
    network = a_network(layers, shape)
    x = np.random.default_rng(0).standard_normal((6, *shape))
    bound = Pass(network, 6, training=True)
    y = bound.forward(x).copy()
    bound.backward(np.ones_like(y))
    gradients = network.gradients.copy()
    assert np.allclose(bound.forward(x[list(order)]), y[list(order)])
    bound.backward(np.ones_like(y))
    assert np.allclose(network.gradients, gradients)


def test_a_smaller_batch_shares_the_memory_of_a_larger_one_unharmed():
    first = Conv2D(type="conv2d", filters=3, kernel=3, padding="same", activation="gelu")
    layers = [first, MaxPool2D(type="max_pool2d", padding="same"), GlobalAveragePool(type="global_average_pool")]
    network: Network = a_network(layers, (5, 5, 2))
    x = np.random.default_rng(0).standard_normal((7, 5, 5, 2))
    memory = Memory(network.dtype)
    large, small = (Pass(network, rows, training=True, memory=memory) for rows in (7, 3))
    alone = Pass(network, 3, training=True).forward(x[:3]).copy()
    for _ in range(2):
        large.forward(x)
        assert np.array_equal(small.forward(x[:3]), alone)
