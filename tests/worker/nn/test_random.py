"""Random words depend on their arguments and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from singlepoint.worker.nn.random import Purpose, normal, order_of, permutation, random_words, uniform


def test_words_are_a_function_of_their_arguments():
    words = random_words(7, Purpose.DROPOUT, 10, stream=1, epoch=2, step=3)
    random_words(8, Purpose.SHUFFLE, 1000)
    assert np.array_equal(words, random_words(7, Purpose.DROPOUT, 10, stream=1, epoch=2, step=3))
    assert np.array_equal(words[:4], random_words(7, Purpose.DROPOUT, 4, stream=1, epoch=2, step=3))


def test_no_two_draws_share_a_word():
    draws = [
        random_words(seed, purpose, 50, stream=stream, epoch=epoch, step=step)
        for seed in (0, 1)
        for purpose in (Purpose.DROPOUT, Purpose.SHUFFLE)
        for stream in (0, 1)
        for epoch in (0, 1)
        for step in (0, 1)
    ]
    assert len(np.unique(np.concatenate(draws))) == 32 * 50


def test_these_words_never_change():
    """They decide the bits of every training: a checkpoint must mean the same after an update of numpy."""
    assert random_words(7, Purpose.DROPOUT, 2, stream=1, epoch=2, step=3).tolist() == [
        1217714636452751185,
        18179022806728900939,
    ]


def test_an_order_visits_every_row_once_and_changes_with_the_epoch():
    order = permutation(3, 1000, epoch=0)
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert not np.array_equal(order, permutation(3, 1000, epoch=1))


def test_normal_numbers_have_mean_0_and_variance_1_and_uniform_ones_stay_in_range():
    words = random_words(1, Purpose.INITIALISE, 200_000)
    z, u = np.concatenate([normal(*np.split(words, 2), sine=sine) for sine in (False, True)]), uniform(words)
    assert abs(z.mean()) < 0.01
    assert abs(z.var() - 1) < 0.01
    assert abs((np.abs(z) < 1.96).mean() - 0.95) < 0.002
    assert u.min() >= 0
    assert u.max() < 1
    ends = np.array([0, 2**64 - 1], np.uint64)
    assert all(
        np.isfinite(normal(ends, other, sine=sine)).all() for other in (ends, ends[::-1]) for sine in (True, False)
    )


def test_words_may_be_drawn_from_any_place_on():
    words = random_words(7, Purpose.INITIALISE, 23, stream=1)
    for start in range(23):
        assert np.array_equal(random_words(7, Purpose.INITIALISE, 23 - start, stream=1, start=start), words[start:])


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 1000, 1025])
@pytest.mark.parametrize("bits", [1, 3, 12, 56, 64])
def test_words_are_put_in_the_order_of_a_stable_sort(rows: int, bits: int) -> None:
    """Also where many are the same, or differ in their first or last bits alone."""
    words = random_words(7, Purpose.SHUFFLE, rows)
    for few in (words >> np.uint64(64 - bits), words >> np.uint64(64 - bits) << np.uint64(64 - bits)):
        np.testing.assert_array_equal(order_of(few), np.argsort(few, kind="stable"))
