"""Gates are the same numbers, whichever of its loops numpy has the quicker one of on a processor."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from singlepoint.jobs.spec.network import GRU, LSTM
from singlepoint.worker.nn.arrays import Memory
from singlepoint.worker.nn.inference import InferenceSession
from singlepoint.worker.nn.layers import cells
from singlepoint.worker.nn.layers.cells import ByExponentials, ByTangents, Squash, quicker_squash
from tests.worker.nn.checks import a_network, network_gradient_error

WAYS = (ByExponentials, ByTangents)


@pytest.mark.parametrize("kind", WAYS)
def test_sums_become_sigmoids_and_tangents_however_large_they_are(kind: type[Squash]) -> None:
    sums = np.concatenate([np.linspace(-20, 20, 2001), [-1e4, 1e4, -np.inf, np.inf, 0.0]])
    every = np.stack([sums * kind.sigmoid, sums * kind.tangent]).astype(np.float32)
    with np.errstate(over="ignore"):
        kind(Memory(np.float32))(every, (every[0],), (every[1],))
        np.testing.assert_allclose(every[0], 1 / (1 + np.exp(-sums)), atol=1e-7)
    np.testing.assert_allclose(every[1], np.tanh(sums), atol=3e-7)


def test_tangents_are_taken_where_the_processor_has_wide_vectors() -> None:
    assert [quicker_squash(has) for has in ((), ("X86_V3",), ("AVX2", "AVX512F"))] == [ByExponentials] * 3
    assert [quicker_squash(has) for has in (("X86_V3", "X86_V4"), ("AVX2", "AVX512_SKX"))] == [ByTangents] * 2


@pytest.mark.skipif(platform.machine() != "x86_64", reason="this processor: it has other features")
def test_a_processor_with_nothing_that_numpy_lists_takes_exponentials() -> None:
    """numpy has no list then."""
    program = "from singlepoint.worker.nn.layers.cells import SQUASH; print(SQUASH.__name__)"
    listed = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", ())
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(listed)}
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert made.stdout == "ByExponentials\n"


@pytest.mark.parametrize("layer", [LSTM(type="lstm", units=3, bidirectional=True), GRU(type="gru", units=3)])
def test_a_network_learns_the_same_both_ways(layer: LSTM | GRU, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((5, 4, 2))
    answers = []
    for way in WAYS:
        monkeypatch.setattr(cells, "SQUASH", way)
        network = a_network([layer], (4, 2))
        assert network_gradient_error(network, x) < 1e-6
        answers.append(InferenceSession(network).predict(x))
    np.testing.assert_allclose(*answers, rtol=1e-12)
