"""The bits of a predicted row depend on the weights and on that row only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from singlepoint.jobs.spec.network import (
    GRU,
    LSTM,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    MaxPool2D,
    SimpleRNN,
)
from singlepoint.worker.nn.inference import InferenceSession
from singlepoint.worker.nn.network import Network

OUT = Dense(type="dense", units=10, activation="softmax")
CONV = Conv2D(type="conv2d", filters=16, kernel=3, activation="relu", padding="same")
NETWORKS = {
    "table": ([Dense(type="dense", units=64, activation="relu"), Dense(type="dense", units=33), OUT], (30,)),
    "one output": ([Dense(type="dense", units=64, activation="tanh"), Dense(type="dense", units=1)], (41,)),
    "wide": ([Dense(type="dense", units=512, activation="gelu"), Dropout(type="dropout", rate=0.5), OUT], (784,)),
    "images": ([CONV, MaxPool2D(type="max_pool2d"), CONV, Flatten(type="flatten"), OUT], (11, 13, 2)),
    "norms": ([Dense(type="dense", units=64), LayerNorm(type="layer_norm"), BatchNorm(type="batch_norm"), OUT], (30,)),
    **{
        f"{kind.__name__} over tokens": (
            [
                Embedding(type="embedding", dimension=20),
                kind(type=name, units=24, bidirectional=True, return_sequence=True),
                kind(type=name, units=40, bidirectional=True),
                OUT,
            ],
            (9,),
        )
        for kind, name in ((SimpleRNN, "simple_rnn"), (GRU, "gru"), (LSTM, "lstm"))
    },
    "global": ([CONV, GlobalAveragePool(type="global_average_pool"), OUT], (11, 13, 2)),
}


def a_network(name: str) -> Network:
    layers, shape = NETWORKS[name]
    network = Network.build(layers, shape, vocabulary=50)
    network.initialise(1)
    return network


def rows_for(network: Network, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if network.plan.takes_tokens:
        tokens = rng.integers(0, 50, (count, *network.input_shape)).astype(np.int32)
        return tokens * (np.arange(network.input_shape[0]) < rng.integers(0, network.input_shape[0] + 1, (count, 1)))
    return rng.standard_normal((count, *network.input_shape)).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_prediction_has_the_same_bits_in_any_company(name):
    network = a_network(name)
    x = rows_for(network, 1100)  # two of the largest passes, and more
    whole = InferenceSession(network).predict(x)
    for size, count in ((1, 64), (7, 300), (64, 1100), (299, 1100)):
        parts = [InferenceSession(network).predict(x[start : start + size]) for start in range(0, count, size)]
        assert np.array_equal(np.concatenate(parts)[:count], whole[:count]), f"{size} rows at a time"
    shuffled = np.random.default_rng(1).permutation(len(x))
    assert np.array_equal(InferenceSession(network).predict(x[shuffled]), whole[shuffled])


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_may_lie_anyhow_in_memory_and_stay_as_they_were(name):
    network = a_network(name)
    x = rows_for(network, 64)
    given, session = x.copy(), InferenceSession(network)
    whole = session.predict(x)
    misaligned = np.frombuffer(b" " + x.tobytes(), x.dtype, offset=1).reshape(x.shape)
    swapped = x.astype(x.dtype.newbyteorder())
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], misaligned, swapped, x):
        assert session.predict(same).tobytes() == whole.tobytes()
    assert x.tobytes() == given.tobytes()


def test_rows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(30,\).*\(5, 31\)"):
        InferenceSession(a_network("table")).predict(np.zeros((5, 31)))


def test_rows_that_fill_no_pass_leave_few_places_over():
    network = a_network("table")
    session, x = InferenceSession(network), rows_for(network, 1324)
    parts = [(part.stop - part.start, session.padded(part.stop - part.start)) for part, _ in session.passes(x)]
    assert parts == [(512, 512), (512, 512), (256, 256), (44, 64)]


def test_a_recurrent_pass_leaves_numpys_buffer_as_it_was():
    before = np.getbufsize()
    InferenceSession(a_network("LSTM over tokens")).bound(64)()
    assert np.getbufsize() == before


def test_no_rows_give_no_predictions():
    assert InferenceSession(a_network("table")).predict(np.zeros((0, 30))).shape == (0, 10)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_bound_pass_has_the_same_bits_whatever_the_session_did_before(name):
    network = a_network(name)
    x, session = rows_for(network, 40), InferenceSession(network)
    whole = InferenceSession(network).predict(x)
    for rows in (1, 40, 1, 7, 16, 1):
        bound = session.bound(rows)
        bound.x[:rows] = x[:rows]
        with np.errstate(all="ignore"):
            answers = bound()[:rows]
        assert answers.tobytes() == whole[:rows].tobytes(), rows


@pytest.mark.parametrize("name", NETWORKS)
def test_a_session_told_that_the_weights_have_changed_answers_with_the_new_ones(name):
    network = a_network(name)
    x, session = rows_for(network, 40), InferenceSession(network)
    for rows in (1, 40):
        session.predict(x[:rows])
    network.initialise(seed=2)
    session.weights_changed()
    for rows in (40, 1):
        assert session.predict(x[:rows]).tobytes() == InferenceSession(network).predict(x[:rows]).tobytes()


def test_a_session_for_each_thread_answers_alike():
    network = a_network("wide")
    x = rows_for(network, 64)
    whole = InferenceSession(network).predict(x)

    def again(_: int) -> bool:
        session = InferenceSession(network)
        return all(np.array_equal(session.predict(x[i : i + 9]), whole[i : i + 9]) for i in range(0, 64, 9))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(again, range(8)))
