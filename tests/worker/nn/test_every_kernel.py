"""That a row's bits depend on that row alone holds under every kernel OpenBLAS can be told to use on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from singlepoint.worker.ground.numeric_environment import fingerprint
from singlepoint.worker.nn.arrays import Array, Memory
from singlepoint.worker.nn.layers import products
from singlepoint.worker.nn.layers.products import (
    ALONE,
    BY_LANE,
    BY_ROW,
    IN_TILES,
    LANES,
    ONE_BY_ROW,
    RowProduct,
    cuts,
    in_lanes,
    in_parts,
    lanes_are_equal,
    one_by_one,
    way,
    ways_by_lane,
    ways_by_row,
)

KERNELS = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "SkylakeX", "Cooperlake")
ROOT = Path(__file__).parents[3]
LARGE = (301, 111)  # outputs, inputs: no small product for 32 rows, and not to be divided


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


def adds_from_the_start(w: Array, x: Array, out: Array) -> None:
    """A product whose bits depend on nothing else."""
    out[...] = 0
    for i in range(w.shape[-1]):
        out += w[..., i, None] * x[..., None, i, :]


@pytest.fixture
def tried_anew() -> Iterator[None]:
    products._is_like.cache_clear()
    yield
    products._is_like.cache_clear()


@pytest.mark.usefixtures("tried_anew")
def test_more_rows_at_once_only_where_each_keeps_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 64

    def differs_beyond(w: Array, x: Array, out: Array) -> None:
        adds_from_the_start(w, x, out)
        if x.shape[-1] > most:
            out[-1, -1, -1] = np.nextafter(out[-1, -1, -1], np.float32(np.inf))

    monkeypatch.setattr(products, "in_lanes", differs_beyond)
    shapes = [LARGE, (2, 7)]
    for few, ways in (
        (BY_LANE, lambda rows: ways_by_lane(rows, shapes, differs_beyond)),
        (BY_ROW, lambda rows: ways_by_row(rows, 3, 5)),
    ):
        chosen = {rows: way(rows, shapes, differs_beyond, ways(rows)) for rows in (256, 32, 48, 7)}
        assert {rows: by.lanes for rows, by in chosen.items()} == {256: most, 32: 32, 48: LANES, 7: LANES}
        assert way(256, shapes, one_by_one, ways(256)) == few


@pytest.mark.usefixtures("tried_anew")
def test_rows_side_by_side_go_few_at_a_time_where_all_their_products_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "in_lanes", adds_from_the_start)
    for shapes, lanes in (([(512, 80), (3, 5)], 32), ([(512, 80), LARGE], 256)):
        ways = ways_by_lane(256, shapes, adds_from_the_start)
        assert way(256, shapes, adds_from_the_start, ways).lanes == lanes
    assert ways_by_lane(1, [(3, 5)], adds_from_the_start) == (ONE_BY_ROW, BY_LANE)


@pytest.mark.usefixtures("tried_anew")
def test_what_was_tried_on_one_thread_is_tried_again_on_two(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [1]

    def divided(w: Array, x: Array, out: Array) -> None:
        adds_from_the_start(w, x, out)
        if threads[0] > 1 and x.shape[-1] > LANES:
            out[-1, -1, -1] = np.nextafter(out[-1, -1, -1], np.float32(np.inf))

    monkeypatch.setattr(products, "in_lanes", divided)
    monkeypatch.setattr(products, "blas_threads", lambda: tuple(threads))
    lanes = []
    for threads[0] in (1, 2, 1):
        lanes.append(way(256, [LARGE], divided, ways_by_lane(256, [LARGE], divided)).lanes)
    assert lanes == [256, LANES, 256]


@pytest.mark.parametrize("multiply", [in_lanes, one_by_one])
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 5), (2, 32), (32, 64), (64, 30), (300, 500), (128, 1000)])
def test_rows_are_multiplied_and_the_bias_added_whatever_the_way(
    outputs: int, inputs: int, multiply: products.Product
) -> None:
    draw, memory = np.random.default_rng(0), Memory(np.float32)
    w, b = (draw.standard_normal(shape, np.float32) for shape in ((outputs, inputs), (outputs,)))
    for rows in (256, 1, 48, 16, 7):
        x, row_product = draw.standard_normal((rows, inputs), np.float32), RowProduct(0, rows, w, b, memory, multiply)
        row_product.prepare()
        np.testing.assert_allclose(row_product(x), x @ w.T + b, atol=1e-3)
        memory.rewind()


@pytest.mark.usefixtures("tried_anew")
def test_a_lonely_row_goes_with_few_others_only_where_it_keeps_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    differing = set[int]()

    def differs_for_few(w: Array, x: Array, out: Array) -> None:
        adds_from_the_start(w, x, out)
        if x.shape[-1] in differing:
            out[..., 0, 0] = np.nextafter(out[..., 0, 0], np.float32(np.inf))

    monkeypatch.setattr(products, "in_lanes", differs_for_few)
    for few, ways in ((BY_LANE, ways_by_lane(1, [(30, 40)], differs_for_few)), (BY_ROW, ways_by_row(1, 30, 40))):
        for lanes, chosen in ((64, ONE_BY_ROW), (ALONE, few)):
            differing.clear()
            differing.add(lanes)
            products._is_like.cache_clear()
            assert way(1, [(30, 40)], differs_for_few, ways) == chosen


def adds_in_pieces(ends: tuple[int, ...]) -> products.Product:
    """As BLAS does for all lanes, in a product that it copies the factors of."""

    def product(w: Array, x: Array, out: Array) -> None:
        adds_from_the_start(w, x, out)
        if x.shape[-1] == LANES and w.flags.c_contiguous:
            out[...] = 0
            for begin, end in pairwise((0, *ends, w.shape[-1])):
                piece = np.empty(out.shape, out.dtype)
                adds_from_the_start(w[:, begin:end], x[:, begin:end], piece)
                out += piece

    return product


@pytest.mark.usefixtures("tried_anew")
@pytest.mark.parametrize("ends", [(), (256,), (160,), (144,)])
def test_a_long_sum_is_cut_where_that_is_how_the_lanes_are_added_up(
    ends: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    product = adds_in_pieces(ends)
    monkeypatch.setattr(products, "in_lanes", product)
    known = ends in ((), (160,))
    alone, tiled = ONE_BY_ROW._replace(cuts=ends), IN_TILES._replace(cuts=ends)
    assert way(1, [(40, 300)], product, ways_by_row(1, 40, 300)) == (alone if known else BY_ROW)
    assert way(16, [(128, 300)], product, ways_by_row(16, 128, 300)) == (tiled if known else BY_ROW)


def test_the_last_two_pieces_of_a_sum_are_about_as_long() -> None:
    found = [cuts(inputs, 320) for inputs in (1, 320, 321, 640, 641, 900, 1000)]
    assert found == [(), (), (160,), (320,), (320, 480), (320, 624), (320, 640, 832)]


@pytest.mark.usefixtures("tried_anew")
def test_many_outputs_come_in_tiles_whose_products_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set[tuple[int, ...]]()

    def watched(w: Array, x: Array, out: Array) -> None:
        seen.add((w.shape[-2], x.shape[-1]))
        adds_from_the_start(w, x, out)

    monkeypatch.setattr(products, "in_lanes", watched)

    def tiled(rows: int, outputs: int, inputs: int) -> int:
        """Rows in a tile, 0: none."""
        chosen = way(rows, [(outputs, inputs)], watched, ways_by_row(rows, outputs, inputs))
        return chosen.lanes if chosen.tile else 0

    assert [tiled(rows, 192, 100) for rows in (16, 32, 64, 128)] == [16, 32, 32, 0]
    assert (64, 16) in seen and (64, 32) in seen
    assert tiled(512, 128, 100) == 32, "two tiles are few"
    assert tiled(32, 64, 100) == tiled(32, 190, 100) == 0, "one tile is the whole, and half a one is none"
    assert tiled(1, 192, 100) == 0 and tiled(1, 8192, 100) == ALONE, "small as it is"
    assert tiled(32, 64 * 400, 100) == 0, "too many to be kept once more"


@pytest.mark.usefixtures("tried_anew")
def test_outputs_are_divided_among_small_products_only_where_rows_keep_their_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    least = 128

    def differs_below(w: Array, x: Array, out: Array) -> None:
        adds_from_the_start(w, x, out)
        if out.shape[-2] < least:
            out[..., 0, 0] = np.nextafter(out[..., 0, 0], np.float32(np.inf))

    monkeypatch.setattr(products, "in_lanes", differs_below)
    few, many = (BY_LANE._replace(lanes=lanes) for lanes in (32, 256))
    assert in_parts(few, 512, 100, differs_below) == few._replace(parts=2)
    assert in_parts(few, 512, 200, differs_below) == few._replace(parts=4)
    assert in_parts(few, 512, 400, differs_below) == few, "eight are too small"
    assert in_parts(few, 512, 20, differs_below) == few and in_parts(few, 511, 100, differs_below) == few
    assert in_parts(many, 512, 100, differs_below) == many
    assert in_parts(few, 512, 100, one_by_one) == few


@pytest.mark.usefixtures("tried_anew")
def test_a_product_too_large_to_be_tried_is_tried_with_fewer_outputs_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def watched(w: Array, x: Array, out: Array) -> None:
        tried.append(w.shape)
        out[...] = 0

    monkeypatch.setattr(products, "in_lanes", watched)
    wide = [BY_LANE._replace(lanes=256), BY_LANE]
    assert way(256, [(100_010, 1000)], watched, wide) == wide[0]
    [(outputs, inputs)] = {*tried}
    assert inputs == 1000 and outputs * inputs <= products.TRIED_VALUES and (100_010 - outputs) % products.ALIKE == 0

    assert way(256, [(100_000, 2)], watched, wide) == wide[0]
    assert max(outputs for outputs, _ in tried) * 256 <= products.TRIED_VALUES

    tried.clear()
    assert way(256, [(10, 100_000)], watched, wide) == BY_LANE
    assert not tried
