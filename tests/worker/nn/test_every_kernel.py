"""That a row's bits depend on that row alone holds under every kernel OpenBLAS can be told to use on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from singlepoint.worker.ground.numeric_environment import fingerprint
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.layers import products
from singlepoint.worker.nn.layers.products import LANES, block, in_lanes, lanes_are_equal, one_by_one

KERNELS = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "SkylakeX", "Cooperlake")
ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(
    not fingerprint(1)["blas"].startswith("openblas"), reason="this machine: its BLAS has no kernels to choose from"
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_row_has_the_same_bits_in_any_company_under_every_kernel(kernel: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_L2_SIZE"}
    look = subprocess.run(
        [sys.executable, "-m", "tests.worker.nn.every_kernel"],
        cwd=ROOT,
        env={**environment, "OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        timeout=600,
    )
    if look.returncode < 0:
        pytest.skip(f"this machine: its processor lacks what {kernel} needs: signal {-look.returncode}")
    assert look.returncode == 0, look.stderr.decode()
    found = json.loads(look.stdout)
    assert found["dependent"] == [], found
    assert found["lanes_are_equal"] == (found["kernel"] != "Sandybridge")
    assert found["lanes"] == 256 or found["kernel"] not in ("SkylakeX", "Cooperlake", "SapphireRapids"), found


def test_one_by_one_is_the_same_product() -> None:
    draw = np.random.default_rng(0)
    w, x = draw.normal(size=(7, 33)).astype(np.float32), draw.normal(size=(2, 33, 16)).astype(np.float32)
    together, alone = np.empty((2, 7, 16), np.float32), np.empty((2, 7, 16), np.float32)
    in_lanes(w, x, together)
    one_by_one(w, x, alone)
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5)
    assert lanes_are_equal(one_by_one)


def test_a_product_whose_lanes_differ_is_found_out() -> None:
    def favours_the_first(w: Array, x: Array, out: Array) -> None:
        np.matmul(w, x, out)
        out[0, :, 0] = np.nextafter(out[0, :, 0], np.float32(np.inf))

    assert not lanes_are_equal(favours_the_first)


@pytest.fixture
def tried_anew() -> Iterator[None]:
    products._is_like_few.cache_clear()
    yield
    products._is_like_few.cache_clear()


@pytest.mark.usefixtures("tried_anew")
def test_more_rows_at_once_only_where_each_keeps_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 64

    def differs_beyond(w: Array, x: Array, out: Array) -> None:
        np.einsum("oi,bil->bol", w, x, out=out)
        if x.shape[-1] > most:
            out[-1, -1, -1] = np.nextafter(out[-1, -1, -1], np.float32(np.inf))

    monkeypatch.setattr(products, "in_lanes", differs_beyond)
    for side_by_side in (False, True):
        shapes = [(3, 5), (2, 7)]
        assert block(256, shapes, differs_beyond, side_by_side=side_by_side) == (4, most)
        assert block(32, shapes, differs_beyond, side_by_side=side_by_side) == (1, 32)
        assert block(48, shapes, differs_beyond, side_by_side=side_by_side) == (3, LANES)
        assert block(7, shapes, differs_beyond, side_by_side=side_by_side) == (1, LANES)
    assert block(256, shapes, one_by_one) == (16, LANES)


@pytest.mark.usefixtures("tried_anew")
def test_a_product_too_large_to_be_tried_is_tried_with_fewer_outputs_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def watched(w: Array, x: Array, out: Array) -> None:
        tried.append(w.shape)
        out[...] = 0

    monkeypatch.setattr(products, "in_lanes", watched)
    assert block(256, [(100_010, 1000)], watched) == (1, 256)
    [(outputs, inputs)] = {*tried}
    assert inputs == 1000 and outputs * inputs <= products.TRIED_VALUES and (100_010 - outputs) % products.ALIKE == 0

    assert block(256, [(100_000, 2)], watched) == (1, 256)
    assert max(outputs for outputs, _ in tried) * 256 <= products.TRIED_VALUES

    tried.clear()
    assert block(256, [(10, 100_000)], watched) == (16, LANES)
    assert not tried
