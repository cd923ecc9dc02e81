"""Updates follow PyTorch's, and do not depend on how the vectors are cut."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from singlepoint.jobs.spec.training import Optimiser, Schedule
from singlepoint.worker.nn.learning import optimisers
from singlepoint.worker.nn.learning.optimisers import Updater, clip_gradients, slot_count
from singlepoint.worker.nn.learning.schedules import rate_factor

OPTIMISERS = {
    "gd": ({"type": "gd"}, "SGD", {}),
    "sgd": ({"type": "sgd"}, "SGD", {}),
    "momentum": ({"type": "sgd", "momentum": 0.9}, "SGD", {"momentum": 0.9}),
    "nesterov": ({"type": "sgd", "momentum": 0.9, "nesterov": True}, "SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ({"type": "rmsprop", "learning_rate": 0.01}, "RMSprop", {}),
    "adam": ({"type": "adam", "learning_rate": 0.01}, "Adam", {}),
    "adamw": ({"type": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}, "AdamW", {"weight_decay": 0.1}),
}


def an_optimiser(options: dict) -> Optimiser:
    return TypeAdapter(Optimiser).validate_python(options)


def gradient_at(step: int, like: np.ndarray) -> np.ndarray:
    return np.random.default_rng(step).standard_normal(like.size).astype(like.dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_each_optimiser_follows_pytorchs_for_a_hundred_steps(name, dtype):
    torch = pytest.importorskip("torch")
    options, theirs, arguments = OPTIMISERS[name]
    optimiser = an_optimiser(options)
    p, g = np.random.default_rng(0).standard_normal(50).astype(dtype), np.empty(50, dtype)
    parameter = torch.nn.Parameter(torch.tensor(p))
    pytorchs = getattr(torch.optim, theirs)([parameter], lr=optimiser.learning_rate, **arguments)
    updater = Updater(optimiser, p, g)
    for step in range(100):
        g[...] = gradient_at(step, g)
        updater.apply(optimiser.learning_rate, step + 1)
        parameter.grad = torch.tensor(g)
        pytorchs.step()
    tolerance = 1e-10 if dtype is np.float64 else 1e-5
    assert np.allclose(p, parameter.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_bits_do_not_depend_on_the_block(name, monkeypatch):
    optimiser = an_optimiser(OPTIMISERS[name][0])
    ends = []
    for block in (7, 16, 1000):
        monkeypatch.setattr(optimisers, "BLOCK", block)
        p, g = np.ones(50, np.float32), np.empty(50, np.float32)
        updater = Updater(optimiser, p, g)
        assert updater.slots.size == slot_count(optimiser) * 50
        for step in range(5):
            g[...] = gradient_at(step, g)
            updater.apply(0.1, step + 1)
        ends.append(p.tobytes() + updater.slots.tobytes())
    assert len(set(ends)) == 1


def test_clipping_by_norm_is_pytorchs_and_by_value_cuts_each_component():
    torch = pytest.importorskip("torch")
    g = np.random.default_rng(0).standard_normal(30)
    parameter = torch.nn.Parameter(torch.zeros(30, dtype=torch.float64))
    parameter.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_([parameter], 1.5)
    ours = g.copy()
    clip_gradients(ours, norm=1.5, value=None)
    assert np.allclose(ours, parameter.grad.numpy(), rtol=1e-14)
    clip_gradients(g, norm=None, value=0.3)
    assert np.abs(g).max() == 0.3


def factors(options: dict, steps: int, per_epoch: int = 2) -> list[float]:
    schedule = TypeAdapter(Schedule).validate_python(options)
    return [rate_factor(schedule, step, per_epoch, steps) for step in range(steps)]


def test_schedules_have_the_shapes_they_promise():
    assert factors({"type": "constant"}, 3) == [1, 1, 1]
    assert factors({"type": "step", "every_epochs": 1, "factor": 0.5}, 6) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert factors({"type": "cosine", "final_fraction": 0.2}, 2) == pytest.approx([1, 0.6])
    warm = factors({"type": "warm_up", "epochs": 2, "then": {"type": "cosine"}}, 6)
    assert warm == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.5])
