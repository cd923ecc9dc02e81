"""How long a training takes is reckoned from its shapes: more of anything takes longer, and by about how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import TypeAdapter

from singlepoint.jobs.spec.network import Layer
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.nn.learning.duration import answering_s, training_s
from singlepoint.worker.nn.network import Plan, plan

DENSE = ({"type": "dense", "units": 256, "activation": "relu"}, {"type": "dense", "units": 10})


def planned(layers: Sequence[dict[str, Any]], shape: tuple[int, ...], vocabulary: int | None = None) -> Plan:
    return plan(TypeAdapter(list[Layer]).validate_python(layers), shape, vocabulary)


def reckoned_s(layers: Sequence[dict[str, Any]], shape: tuple[int, ...], rows: int = 10_000, **training: Any) -> float:
    return training_s(
        planned(layers, shape, 50_000), TrainingSpec(**{"epochs": 10, "batch_size": 32, **training}), rows
    )


def test_ten_times_the_epochs_or_the_rows_take_ten_times_as_long() -> None:
    once = reckoned_s(DENSE, (100,))
    assert reckoned_s(DENSE, (100,), epochs=100) == pytest.approx(10 * once, rel=0.1)
    assert reckoned_s(DENSE, (100,), rows=100_000) == pytest.approx(10 * once, rel=0.1)


def test_larger_batches_make_small_networks_quicker_and_large_ones_hardly() -> None:
    small, large = ({"type": "dense", "units": 2},), ({"type": "dense", "units": 4000},)
    assert reckoned_s(small, (10,), batch_size=1024) < 0.2 * reckoned_s(small, (10,))
    assert reckoned_s(large, (4000,), batch_size=1024) > 0.8 * reckoned_s(large, (4000,), batch_size=512)


def test_each_use_of_a_weight_counts_not_each_weight() -> None:
    convolution = ({"type": "conv2d", "filters": 32, "kernel": 3}, {"type": "flatten"}, {"type": "dense", "units": 2})
    assert reckoned_s(convolution, (56, 56, 8)) > 3 * reckoned_s(convolution, (28, 28, 8))
    recurrent = ({"type": "lstm", "units": 64}, {"type": "dense", "units": 2})
    assert reckoned_s(recurrent, (100, 32)) > 3 * reckoned_s(recurrent, (25, 32))


def test_a_table_of_words_is_looked_up_not_multiplied() -> None:
    words = ({"type": "embedding", "dimension": 32}, {"type": "global_average_pool"}, {"type": "dense", "units": 2})
    wide, narrow = (answering_s(planned(words, (20,), vocabulary), 1000) for vocabulary in (500_000, 500))
    assert wide == narrow


def test_rows_kept_sparse_are_multiplied_by_the_columns_that_a_batch_has() -> None:
    text, training = planned(DENSE, (20_000,)), TrainingSpec(epochs=1, batch_size=32, optimiser={"type": "sgd"})
    whole, sparse, empty = (training_s(text, training, 10_000, density=share) for share in (1.0, 0.002, 0.0))
    assert empty < sparse < 0.7 * whole


def test_the_held_back_part_is_answered_after_each_epoch_and_takes_less_than_to_learn_it() -> None:
    network, training = planned(DENSE, (100,)), TrainingSpec(epochs=10, batch_size=32)
    apart, together = training_s(network, training, 5000, 5000), training_s(network, training, 10_000)
    assert training_s(network, training, 5000) < apart < together
