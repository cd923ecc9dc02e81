"""Resuming: the ten classes of bugs that trainers still have, each a test. Restarts go through checkpoints on disk.

The training under test has what is easily forgotten: dropout, batch normalisation, an optimiser with slots, a
schedule, early stopping, a last batch that is not full.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.spec.network import GRU, BatchNorm, Conv2D, Dense, Dropout, Flatten
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.jobs.store.job_files import CheckpointName
from singlepoint.worker.checkpoints import checkpoint
from singlepoint.worker.checkpoints.checkpoint import Counters
from singlepoint.worker.nn.learning.trainer import EpochReport, Trainer
from singlepoint.worker.nn.network import Network

ROWS, BATCH, EPOCHS = 50, 16, 4  # 3 full batches and one of 2 rows: 4 steps an epoch
STEPS = EPOCHS * 4
IDENTITY = "this training"

DENSE = [
    Dense(type="dense", units=8, activation="relu"),
    BatchNorm(type="batch_norm"),
    Dropout(type="dropout", rate=0.3),
    Dense(type="dense", units=3, activation="softmax"),
]
CONVOLUTION = [Conv2D(type="conv2d", filters=2, kernel=3, padding="same"), Flatten(type="flatten"), *DENSE[2:]]
RECURRENT = [GRU(type="gru", units=4), *DENSE[2:]]
SHAPES = {"dense": (DENSE, (8,)), "convolution": (CONVOLUTION, (4, 2, 1)), "recurrent": (RECURRENT, (4, 2))}

OPTIMISERS: dict[str, dict[str, Any]] = {
    "momentum": {"type": "sgd", "momentum": 0.9, "schedule": {"type": "step", "every_epochs": 2}},
    "adam": {"type": "adam", "schedule": {"type": "warm_up", "epochs": 1, "then": {"type": "cosine"}}},
}


def a_training(kind: str = "dense", optimiser: str = "adam", *, patience: int = 9, weights_from: int = 7) -> Trainer:
    """weights_from: a resumed training begins with other weights, so that nothing can come from anywhere but disk."""
    layers, shape = SHAPES[kind]
    chance = np.random.default_rng(0)
    x = chance.standard_normal((ROWS + 20, *shape)).astype(np.float32)
    y = (x.reshape(len(x), -1)[:, 0] > 0).astype(int) + (x.reshape(len(x), -1)[:, 1] > 0.5)
    network = Network.build(layers, shape)  # type: ignore[arg-type]
    network.initialise(weights_from)
    spec = TrainingSpec.model_validate(
        {
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "seed": 7,
            "optimiser": OPTIMISERS[optimiser],
            "early_stopping": {"patience": patience},
        }
    )
    return Trainer(network, spec, x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:], task="classification", n_classes=3)


def save(trainer: Trainer, directory: Path, attempt: int = 1) -> Path:
    vector = np.empty(trainer.state_size, trainer.network.dtype)
    counters = trainer.snapshot(vector)
    facts = Counters(int(counters["step"]), attempt, IDENTITY, {}, counters)
    return checkpoint.save(directory, facts, vector, fence=contextlib.nullcontext)


def resumed(directory: Path, make: Callable[..., Trainer] = a_training) -> Trainer:
    """A new training that has read the newest sound checkpoint."""
    trainer = make(weights_from=99)
    sound, _ = checkpoint.newest_sound(directory, IDENTITY)
    if sound is not None:
        trainer.restore(sound.read_into, dict(sound.counters.trainer))
    return trainer


def restarted(trainer: Trainer, directory: Path, make: Callable[..., Trainer] = a_training) -> Trainer:
    """Saved, forgotten, and read by a new training."""
    save(trainer, directory)
    return resumed(directory, make)


def steps(trainer: Trainer, count: int) -> list[EpochReport]:
    reports = [trainer.advance() for _ in range(count)]
    return [report for report in reports if report is not None]


def end(trainer: Trainer) -> tuple[bytes, str]:
    """Everything a training comes to."""
    while not trainer.finished:
        trainer.advance()
    trainer.finish()
    vector = np.empty(trainer.state_size, trainer.network.dtype)
    counters = trainer.snapshot(vector)
    return vector.tobytes(), json.dumps(counters)


def batches(trainer: Trainer, count: int) -> Iterator[bytes]:
    """The rows of the next batches, as the network sees them, while training goes on."""
    gather = trainer._gather
    seen: list[bytes] = []

    def noting(*arguments: Any) -> Any:
        found = gather(*arguments)
        seen.append(found[1].tobytes())
        return found

    trainer._gather = noting  # type: ignore[assignment]
    steps(trainer, count)
    trainer._gather = gather  # type: ignore[method-assign]
    return iter(seen)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_killed_after_any_step_it_ends_in_the_same_bits(tmp_path: Path, kind: str, optimiser: str) -> None:
    def make(**options: int) -> Trainer:
        return a_training(kind, optimiser, **options)

    whole = end(make())
    trainer = make()
    for _ in range(STEPS):  # killed after every one of them, in one life
        steps(trainer, 1)
        trainer = restarted(trainer, tmp_path, make)
    assert end(trainer) == whole


@pytest.mark.parametrize("step", [1, 3, 6, STEPS - 1])
def test_a_the_order_of_the_rows_is_restored_with_the_position(tmp_path: Path, step: int) -> None:
    calm, disturbed = a_training(), a_training()
    steps(calm, step)
    steps(disturbed, step)
    rest = STEPS - step
    assert list(batches(restarted(disturbed, tmp_path), rest)) == list(batches(calm, rest))


@pytest.mark.parametrize("step", [3, 4, 5])
def test_b_no_epoch_is_dropped_or_doubled_at_its_boundary(tmp_path: Path, step: int) -> None:
    trainer = a_training()
    before = steps(trainer, step)
    after = steps(restarted(trainer, tmp_path), STEPS - step)
    assert [(report.epoch, report.step) for report in before + after] == [(n, 4 * n) for n in range(1, EPOCHS + 1)]


def test_c_the_second_and_third_resume_drift_no_more_than_the_first(tmp_path: Path) -> None:
    whole = end(a_training())
    for places in ([5], [5, 6], [5, 6, 11], [1, 1, 1, 15]):
        directory = tmp_path / "-".join(map(str, places))
        directory.mkdir()
        trainer = a_training()
        for place in places:
            steps(trainer, place - trainer.step)
            trainer = restarted(trainer, directory)
        assert end(trainer) == whole, places


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_d_the_optimisers_slots_are_there_before_they_are_loaded(tmp_path: Path, optimiser: str) -> None:
    def make(**options: int) -> Trainer:
        return a_training("dense", optimiser, **options)

    trainer = make()
    steps(trainer, 5)
    slots = trainer._updater.slots.copy()
    assert slots.any()
    assert np.array_equal(restarted(trainer, tmp_path, make)._updater.slots, slots)


def test_e_nothing_random_is_used_up_between_resuming_and_the_first_step(tmp_path: Path) -> None:
    calm, disturbed = a_training(), a_training()
    steps(calm, 6)
    steps(disturbed, 6)
    disturbed = restarted(disturbed, tmp_path)
    disturbed.evaluate()
    disturbed.evaluate()  # whatever is done in between
    assert end(disturbed) == end(calm)


def test_f_a_truncated_newest_checkpoint_costs_steps_and_not_the_job(tmp_path: Path) -> None:
    whole = end(a_training())
    trainer = a_training()
    steps(trainer, 5)
    save(trainer, tmp_path)
    steps(trainer, 3)
    newest = save(trainer, tmp_path)
    os.truncate(newest, 0)
    trainer = resumed(tmp_path)
    assert trainer.step == 5 and [path.name for path in checkpoint.set_aside(tmp_path)]
    assert end(trainer) == whole


def test_g_there_is_a_sound_checkpoint_at_every_instant_of_a_save(tmp_path: Path) -> None:
    trainer = a_training()
    for number in range(1, 6):
        steps(trainer, 1)

        @contextlib.contextmanager
        def looking(number: int = number) -> Iterator[None]:
            sound, _ = checkpoint.newest_sound(tmp_path, IDENTITY)
            assert number == 1 or (sound is not None and sound.counters.step == number - 1)
            yield

        vector = np.empty(trainer.state_size, np.float32)
        counters = trainer.snapshot(vector)
        checkpoint.save(tmp_path, Counters(trainer.step, 1, IDENTITY, {}, counters), vector, fence=looking)
        assert len(checkpoint.in_order(tmp_path)) == min(number, checkpoint.KEPT)


def test_h_no_good_checkpoint_is_taken_for_a_temporary_file(tmp_path: Path) -> None:
    trainer = a_training()
    steps(trainer, 5)
    good = save(trainer, tmp_path)
    left_over = tmp_path / f".{CheckpointName(9, 1)}.tmp"
    left_over.write_bytes(good.read_bytes())  # whole, but never published
    assert set(tmp_path.glob(".*.tmp")) == {left_over}  # what `leftovers.sweep` removes
    assert resumed(tmp_path).step == 5


def test_i_patience_and_the_best_weights_survive(tmp_path: Path) -> None:
    def make(**options: int) -> Trainer:
        return a_training("dense", "momentum", patience=1, **options)

    calm = make()
    while not calm.finished:
        calm.advance()
    assert calm.early_stop is not None and calm.early_stop.stopped and calm.step < STEPS
    for step in range(1, calm.step):
        directory = tmp_path / str(step)
        directory.mkdir()
        trainer = make()
        steps(trainer, step)
        assert end(restarted(trainer, directory, make)) == end(make()), step


def test_j_weights_and_counters_cannot_be_of_two_checkpoints(tmp_path: Path) -> None:
    trainer = a_training()
    files = []
    for _ in range(2):
        steps(trainer, 4)
        files.append(save(trainer, tmp_path))
    older, newer = (path.read_bytes() for path in files)
    header = 8 + int.from_bytes(newer[:8], "little")
    files[1].write_bytes(newer[:header] + older[-len(newer[header:]) :])  # one file's head on the other's body
    assert resumed(tmp_path).step == 4
