"""The same network in PyTorch, from the same named tensors, trains to the same weights.

float64 within 1e-10 and float32 within 1e-5 over a hundred optimiser steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.spec import network as spec
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.nn.learning.trainer import Trainer
from singlepoint.worker.nn.network import Network

torch = pytest.importorskip("torch")
F = torch.nn.functional
torch.set_num_threads(1)  # small operations crawl when threads wait for each other

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda z: z,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": lambda z: F.gelu(z, approximate="tanh"),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda z: z,  # the loss takes logits
}


def dense(layer, own, x):
    return ACTIVATIONS[layer.activation](F.linear(x, own["weight"], own["bias"]))


def pad_same(x, sizes, strides, value=0.0):
    """Pads the last axes so that the output is ceil(input / stride)."""
    pads = []
    for size, window, stride in reversed(list(zip(x.shape[2:], sizes, strides, strict=True))):
        missing = max((-(-size // stride) - 1) * stride + window - size, 0)
        pads += [missing // 2, missing - missing // 2]
    return F.pad(x, pads, value=value)


def channels_first(x):
    return x.movedim(-1, 1)


def channels_last(x):
    return x.movedim(1, -1)


def pair(value, count):
    return value if isinstance(value, tuple) else (value,) * count


def conv(layer, own, x):
    count = own["weight"].ndim - 2
    x, stride = channels_first(x), pair(layer.stride, count)
    if layer.padding == "same":
        x = pad_same(x, own["weight"].shape[2:], stride)
    convolve = F.conv1d if count == 1 else F.conv2d
    return ACTIVATIONS[layer.activation](channels_last(convolve(x, own["weight"], own["bias"], stride=stride)))


def max_pool(layer, own, x):
    count = x.ndim - 2
    x, size, stride = channels_first(x), pair(layer.size, count), pair(layer.stride or layer.size, count)
    if layer.padding == "same":
        x = pad_same(x, size, stride, value=-float("inf"))
    return channels_last((F.max_pool1d if count == 1 else F.max_pool2d)(x, size, stride))


def average_pool(layer, own, x):
    count = x.ndim - 2
    x, size, stride = channels_first(x), pair(layer.size, count), pair(layer.stride or layer.size, count)
    ones = torch.ones_like(x)
    if layer.padding == "same":
        x, ones = pad_same(x, size, stride), pad_same(ones, size, stride)
    pool = F.avg_pool1d if count == 1 else F.avg_pool2d
    return channels_last(pool(x, size, stride) / pool(ones, size, stride))


def batch_norm(layer, own, x):
    y = F.batch_norm(
        channels_first(x),
        own["running_mean"],
        own["running_var"],
        own["weight"],
        own["bias"],
        training=True,
        momentum=layer.momentum,
        eps=layer.epsilon,
    )
    return channels_last(y)


def recurrent(layer, own, x, lengths):
    kind = {"simple_rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}[layer.type]
    module = getattr(torch.nn, kind)(
        x.shape[-1], layer.units, batch_first=True, bidirectional=layer.bidirectional, dtype=x.dtype
    )
    entered = x
    if lengths is not None:
        entered = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    output, state = torch.func.functional_call(module, own, (entered,))
    if layer.return_sequence:
        if lengths is None:
            return output
        return torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])[0]
    state = state[0] if layer.type == "lstm" else state
    return torch.cat(list(state), dim=1)


LAYERS: dict[type, Callable[[Any, Any, Any], Any]] = {
    spec.Dense: dense,
    spec.Conv1D: conv,
    spec.Conv2D: conv,
    spec.MaxPool1D: max_pool,
    spec.MaxPool2D: max_pool,
    spec.AveragePool1D: average_pool,
    spec.AveragePool2D: average_pool,
    spec.GlobalAveragePool: lambda layer, own, x: x.flatten(1, -2).mean(1),
    spec.Flatten: lambda layer, own, x: (channels_first(x) if x.ndim == 4 else x).flatten(1),
    spec.BatchNorm: batch_norm,
    spec.LayerNorm: lambda layer, own, x: F.layer_norm(x, x.shape[-1:], own["weight"], own["bias"], layer.epsilon),
    spec.Embedding: lambda layer, own, x: F.embedding(x, own["weight"], padding_idx=0),
}


def pytorch_outputs(network: Network, tensors: dict, x):
    lengths = (x != 0).sum(1) if network.plan.takes_tokens else None
    for planned in network.plan.layers:
        prefix = planned.name + "."
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if isinstance(planned.layer, spec.SimpleRNN | spec.GRU | spec.LSTM):
            x = recurrent(planned.layer, own, x, lengths)
        else:
            x = LAYERS[type(planned.layer)](planned.layer, own, x)
    return x


def layers(*records: dict) -> list:
    from pydantic import TypeAdapter

    return TypeAdapter(list[spec.Layer]).validate_python(list(records))


OUT = {"type": "dense", "units": 3, "activation": "softmax"}
TANH = {"type": "dense", "units": 8, "activation": "tanh"}
FLAT, GLOBAL = {"type": "flatten"}, {"type": "global_average_pool"}


def conv2d(filters=4, kernel=3, **options):
    return {"type": "conv2d", "filters": filters, "kernel": kernel} | options


def rnn(kind, **options):
    return {"type": kind, "units": 4, "bias_initialiser": {"type": "normal", "variance": 0.1}} | options


TOKENS = {"type": "embedding", "vocabulary": 12, "dimension": 5}
NETWORKS = {
    **{
        name: (layers({"type": "dense", "units": 8, "activation": name}, OUT), (6,))
        for name in ("relu", "leaky_relu", "gelu", "tanh", "sigmoid")
    },
    "conv, pool, conv": (
        layers(conv2d(9, activation="relu"), {"type": "max_pool2d"}, conv2d(5, (2, 3), padding="same"), FLAT, OUT),
        (9, 8, 2),
    ),
    "conv with strides": (
        layers(conv2d(padding="same", stride=2, activation="tanh"), conv2d(stride=(1, 2)), GLOBAL, OUT),
        (9, 8, 2),
    ),
    "overlapping pools": (
        layers(
            conv2d(activation="relu", padding="same", kernel=4),
            {"type": "max_pool2d", "size": 3, "stride": 2, "padding": "same"},
            {"type": "average_pool2d", "size": 2, "stride": 1, "padding": "same"},
            FLAT,
            OUT,
        ),
        (7, 9, 2),
    ),
    "conv1d": (
        layers(
            {"type": "conv1d", "filters": 5, "kernel": 3, "padding": "same", "activation": "gelu"},
            {"type": "max_pool1d", "padding": "same"},
            {"type": "conv1d", "filters": 4, "kernel": 2, "stride": 2},
            {"type": "average_pool1d", "stride": 1},
            FLAT,
            OUT,
        ),
        (13, 2),
    ),
    "batch norm": (layers(conv2d(), {"type": "batch_norm"}, FLAT, TANH, {"type": "batch_norm"}, OUT), (5, 4, 2)),
    "layer norm": (layers(conv2d(), {"type": "layer_norm"}, FLAT, TANH, {"type": "layer_norm"}, OUT), (5, 4, 2)),
    **{
        kind: (layers(rnn(kind, return_sequence=True), rnn(kind), OUT), (6, 3))
        for kind in ("simple_rnn", "gru", "lstm")
    },
    **{
        f"{kind} both ways over padded tokens": (
            layers(TOKENS, rnn(kind, bidirectional=True, return_sequence=True), rnn(kind, bidirectional=True), OUT),
            (7,),
        )
        for kind in ("simple_rnn", "gru", "lstm")
    },
    "embedding": (layers(TOKENS, FLAT, OUT), (5,)),
}


def rows_for(network: Network, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if not network.plan.takes_tokens:
        return rng.standard_normal((count, *network.input_shape)).astype(network.dtype)
    steps = network.input_shape[0]
    tokens = rng.integers(1, 12, (count, steps)).astype(np.int32)
    return tokens * (np.arange(steps) < rng.integers(1, steps + 1, (count, 1)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_hundred_steps_end_where_pytorchs_do(name, dtype):
    records, shape = NETWORKS[name]
    network = Network.build(records, shape, dtype=dtype)
    network.initialise(1)
    x, y = rows_for(network, 8), np.arange(8) % 3
    start = network.state_dict()
    options = {"epochs": 100, "batch_size": 8, "shuffle": False, "optimiser": {"type": "sgd", "learning_rate": 0.05}}
    trainer = Trainer(network, TrainingSpec.model_validate(options), x, y, task="classification", n_classes=3)
    while not trainer.finished:
        trainer.advance()

    tensors = {key: torch.tensor(value) for key, value in start.items()}
    trained = [value.requires_grad_() for key, value in tensors.items() if "running" not in key]
    optimiser = torch.optim.SGD(trained, lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        F.cross_entropy(pytorch_outputs(network, tensors, torch.tensor(x)), torch.tensor(y)).backward()
        optimiser.step()

    tolerance = 1e-10 if dtype is np.float64 else 1e-5
    for key, ours in network.state_dict().items():
        theirs = tensors[key].detach().numpy()
        scale = np.abs(theirs).max()
        assert np.abs(ours - theirs).max() <= tolerance * max(scale, 1), key
    last = f"{len(records) - 1}.weight"
    assert np.abs(network.state_dict()[last] - start[last]).max() > 0.01, "nothing was learned"
