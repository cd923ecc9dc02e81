"""A steady training step allocates nothing of the size of its data.

What is seen is the peak of everything together: a few Python objects and numpy's iteration buffers of 2 KiB each. Other
threads of the process that runs the tests are in it too, so that one step of five, or two, may show more.
"""

from __future__ import annotations

import tracemalloc
from statistics import median

import numpy as np
import pytest
from pydantic import TypeAdapter

from singlepoint.jobs.spec.network import Layer
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.nn.arrays import CACHE_LINE_BYTES, Memory, aligned_zeros
from singlepoint.worker.nn.learning.trainer import Trainer
from singlepoint.worker.nn.network import Network

OUT = {"type": "dense", "units": 10, "activation": "softmax"}
NETWORKS = {
    "dense": ([{"type": "dense", "units": 256, "activation": "relu", "l2": 0.001}, OUT], (300,)),
    "norms": ([{"type": "dense", "units": 256}, {"type": "batch_norm"}, {"type": "layer_norm"}, OUT], (300,)),
    "images": (
        [
            {"type": "conv2d", "filters": 16, "kernel": 3, "activation": "relu"},
            {"type": "max_pool2d"},
            {"type": "conv2d", "filters": 16, "kernel": 3, "padding": "same", "activation": "tanh"},
            {"type": "average_pool2d"},
            {"type": "flatten"},
            OUT,
        ],
        (18, 18, 3),
    ),
    "lstm": ([{"type": "lstm", "units": 64, "return_sequence": True}, {"type": "lstm", "units": 64}, OUT], (20, 16)),
    "gru": ([{"type": "gru", "units": 64, "bidirectional": True}, OUT], (20, 16)),
}


@pytest.mark.parametrize("optimiser", ["sgd", "rmsprop", "adamw"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_steady_step_allocates_no_arrays(name, optimiser):
    records, shape = NETWORKS[name]
    network = Network.build(TypeAdapter(list[Layer]).validate_python(records), shape)
    network.initialise(0)
    x = np.random.default_rng(0).standard_normal((64 * 30, *shape)).astype(np.float32)
    y = np.arange(len(x)) % 10
    options = {"epochs": 1, "batch_size": 64, "clip_norm": 1.0, "optimiser": {"type": optimiser}}
    trainer = Trainer(network, TrainingSpec.model_validate(options), x, y, task="classification", n_classes=10)
    for _ in range(3):
        trainer.advance()
    tracemalloc.start()
    trainer.advance()  # tracemalloc's own first look at the code
    peaks = []
    for _ in range(5):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        trainer.advance()
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    assert median(peaks) < 8192


@pytest.mark.parametrize("size", [1, 10, 1000, 10**6])
def test_what_a_step_walks_over_starts_at_a_cache_line(size):
    network = Network.build(TypeAdapter(list[Layer]).validate_python([OUT]), (size,))
    memory, zeros = Memory(np.float32), aligned_zeros(size, np.float32)
    vectors = [zeros, network.parameters, network.gradients, memory.array((size,)), memory.array((3,), np.bool_)]
    assert all(vector.ctypes.data % CACHE_LINE_BYTES == 0 for vector in vectors)
    assert zeros.shape == (size,) and not zeros.any()


def test_a_buffer_that_was_outgrown_is_counted_on():
    memory = Memory(np.float32)
    small = memory.array((1000,))
    memory.rewind()
    large = memory.array((3000,))
    assert memory.size_bytes == small.nbytes + large.nbytes
    memory.rewind()
    assert memory.array((2000,)).base is not None and memory.size_bytes == small.nbytes + large.nbytes
