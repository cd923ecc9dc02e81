"""A training is a function of its spec, data and seed, and can be cut anywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from singlepoint.jobs.spec.network import Dense, Dropout
from singlepoint.jobs.spec.training import EarlyStopping, TrainingSpec
from singlepoint.worker.data.preprocessing.rows import sparse_rows
from singlepoint.worker.nn.learning.penalties import Penalties
from singlepoint.worker.nn.learning.trainer import Diverged, Trainer
from singlepoint.worker.nn.network import Network
from tests.worker.nn.checks import out_of, relative_gradient_error

LAYERS = [
    Dense(type="dense", units=16, activation="relu", l2=1e-3),
    Dropout(type="dropout", rate=0.2),
    Dense(type="dense", units=3, activation="softmax"),
]


def a_training(layers=LAYERS, rows=100, seed=7, validation=True, **options) -> Trainer:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows + 40, 6)).astype(np.float32)
    y = (np.abs(x[:, 0]) + x[:, 1] > 1).astype(int) + (x[:, 2] > 0.5)
    network = Network.build(layers, (6,))
    network.initialise(seed)
    options = {"epochs": 4, "batch_size": 16, "seed": seed} | options
    spec = TrainingSpec.model_validate(options)
    held_back = (x[rows:], y[rows:]) if validation else (None, None)
    return Trainer(network, spec, x[:rows], y[:rows], *held_back, task="classification", n_classes=3)


def state_of(trainer: Trainer) -> tuple[bytes, dict]:
    vector = np.empty(trainer.state_size, trainer.network.dtype)
    counters = trainer.snapshot(vector)
    return vector.tobytes(), counters


def run(trainer: Trainer) -> list:
    reports = []
    while not trainer.finished:
        report = trainer.advance()
        reports += [report] if report else []
    trainer.finish()
    return reports


OPTIMISERS = [
    {"type": "gd"},
    {"type": "sgd", "momentum": 0.9, "nesterov": True, "schedule": {"type": "cosine"}},
    {"type": "rmsprop"},
    {"type": "adam", "schedule": {"type": "warm_up", "epochs": 1}},
    {"type": "adamw"},
]


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda o: o["type"])
def test_a_training_cut_after_any_step_ends_in_the_same_bits(optimiser):
    options = {"optimiser": optimiser, "early_stopping": EarlyStopping(patience=2)}
    options |= {"batch_size": None} if optimiser["type"] == "gd" else {}
    whole = a_training(**options)
    reports = run(whole)
    cut, reports_cut = a_training(**options), []
    while not cut.finished:
        report = cut.advance()
        reports_cut += [report] if report else []
        vector = np.empty(cut.state_size, np.float32)
        counters = cut.snapshot(vector)
        cut = a_training(**options)
        cut.network.initialise(99)  # nothing may come from anywhere but the state
        cut.restore(out_of(vector), counters)
    cut.finish()
    assert state_of(cut) == state_of(whole)
    assert reports_cut == reports


def test_an_epoch_sees_each_row_once():
    trainer = a_training(rows=100)
    parts = [slice(start, min(start + 16, 100)) for start in range(0, 100, 16)]
    seen = [trainer._gather(0, part)[1].copy() for part in parts]
    assert [len(part) for part in seen] == [16] * 6 + [4]
    assert np.array_equal(np.sort(np.concatenate(seen), axis=0), np.sort(trainer._x, axis=0))


@pytest.mark.parametrize("optimiser", [{"type": "gd", "learning_rate": 0.1}, {"type": "sgd", "learning_rate": 0.1}])
def test_a_batch_too_large_for_one_pass_gives_the_same_gradient_in_parts(optimiser, monkeypatch):
    options = {"optimiser": optimiser, "class_weights": "balanced", "batch_size": None}
    options |= {} if optimiser["type"] == "gd" else {"batch_size": 60}
    whole = a_training(LAYERS[::2], **options)
    monkeypatch.setattr("singlepoint.worker.nn.learning.trainer.TRAINING_ROWS", 17)
    parts = a_training(LAYERS[::2], **options)
    reports = run(whole), run(parts)
    assert parts.pass_rows == 17
    assert np.allclose(whole.network.parameters, parts.network.parameters, rtol=1e-4, atol=1e-6)
    assert reports[0][-1].loss == pytest.approx(reports[1][-1].loss, rel=1e-5)


def test_another_seed_gives_another_order_and_the_same_seed_the_same():
    weights = [run_and_get(seed) for seed in (7, 7, 8)]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def run_and_get(seed: int) -> np.ndarray:
    trainer = a_training(seed=seed)
    run(trainer)
    return trainer.network.parameters


def test_a_state_of_another_training_is_refused():
    trainer, other = a_training(), a_training(batch_size=10)
    vector = np.empty(trainer.state_size, np.float32)
    counters = trainer.snapshot(vector)
    with pytest.raises(ValueError, match="another training"):
        other.restore(out_of(vector), counters)
    with pytest.raises(ValueError, match="not readable"):
        trainer.restore(out_of(vector), {"step": "x"})


def test_a_diverging_training_says_so_and_what_to_do():
    trainer = a_training(optimiser={"type": "sgd", "learning_rate": 1e30})
    with pytest.raises(Diverged, match="learning_rate"):
        run(trainer)


@pytest.mark.parametrize("validated", [False, True])
def test_weights_that_are_not_finite_after_the_last_step_are_a_divergence(validated: bool):
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40.0)
    spec = TrainingSpec.model_validate({"epochs": 1, "optimiser": {"type": "gd", "learning_rate": 1e38}})
    held_back = {"x_validation": x, "y_validation": y} if validated else {}
    network = Network.build([Dense(type="dense", units=8), Dense(type="dense", units=1)], (3,))
    network.initialise(0)
    trainer = Trainer(network, spec, x, y, **held_back, task="regression")
    with pytest.raises(Diverged, match=r"step 1; lower training.optimiser.learning_rate"):
        list(trainer.reports())


def test_answers_to_training_rows_that_are_not_finite_are_a_divergence():
    trainer = a_training(epochs=1)
    while not trainer.finished:
        trainer.advance()
    trainer.network.parameters[:] = 3e38
    with pytest.raises(Diverged, match="the answer to training row 1 is not finite"):
        trainer.finish()


def test_early_stopping_keeps_the_best_weights():
    trainer = a_training(
        epochs=60, early_stopping=EarlyStopping(patience=3), optimiser={"type": "adam", "learning_rate": 0.05}
    )
    reports = run(trainer)
    losses = [report.validation_loss for report in reports]
    assert len(reports) < 60
    assert trainer.early_stop.best_epoch == 1 + int(np.argmin(losses))
    assert trainer.evaluate()[0] == min(losses)


def test_an_epoch_in_which_the_monitor_has_no_value_is_no_improvement():
    trainer = a_training(epochs=60, early_stopping=EarlyStopping(patience=3, monitor="roc_auc"))
    x, targets, y = trainer._validation
    trainer._validation = (x, np.zeros_like(targets), np.zeros_like(y))  # one class alone: no area
    assert len(run(trainer)) == 3 and trainer.early_stop.best is None


def test_one_batch_can_be_learned_by_heart():
    trainer = a_training(rows=12, epochs=300, optimiser={"type": "adam", "learning_rate": 0.02}, layers=LAYERS[::2])
    assert run(trainer)[-1].loss < 0.1


@pytest.mark.parametrize(
    ("options", "layers", "message"),
    [
        ({"loss": "binary_cross_entropy"}, LAYERS, "training.loss.*sigmoid.*softmax"),
        ({"loss": "mean_squared_error", "label_smoothing": 0.1}, LAYERS, "training.label_smoothing"),
        ({}, [Dense(type="dense", units=4, activation="softmax")], "3 classes.*has 4"),
        ({"class_weights": {"dog": 2.0}}, LAYERS, "class_weights.*dog"),
        ({"early_stopping": {"monitor": "validation_los"}}, LAYERS, "monitor: 'validation_los'.*validation_loss"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_with_the_field(options, layers, message):
    with pytest.raises(ValueError, match=message):
        a_training(layers, **options)


def a_text_training(x, layers=LAYERS, **options) -> Trainer:
    network = Network.build(layers, (x.shape[1],))
    network.initialise(3)
    spec = TrainingSpec.model_validate({"epochs": 3, "batch_size": 16, "seed": 3} | options)
    return Trainer(network, spec, x, np.arange(x.shape[0]) % 3, task="classification", n_classes=3)


def some_sparse_rows(rows: int = 50, width: int = 400):
    rng = np.random.default_rng(0)
    places = [
        np.sort(rng.choice(width, 1 + row % 7, replace=False)).tolist() if row % 11 else [] for row in range(rows)
    ]
    return sparse_rows([(columns, rng.random(len(columns)).tolist()) for columns in places], width)


def test_rows_that_are_mostly_0_train_as_their_dense_array_does():
    sparse = some_sparse_rows()
    one, other = a_text_training(sparse), a_text_training(sparse[:])
    assert run(one)[-1].loss == pytest.approx(run(other)[-1].loss, rel=1e-4)
    np.testing.assert_allclose(one.network.parameters, other.network.parameters, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.1}, {"optimiser": {"type": "gd"}, "batch_size": None}])
def test_a_training_on_sparse_rows_that_was_cut_ends_in_the_same_bits(options):
    sparse = some_sparse_rows()
    whole, first = a_text_training(sparse, **options), a_text_training(sparse, **options)
    for _ in range(2):
        first.advance()
    vector = np.empty(first.state_size, np.float32)
    counters = first.snapshot(vector)
    second = a_text_training(sparse, **options)
    second.restore(out_of(vector), counters)
    assert run(whole)[-1] == run(second)[-1]
    assert whole.network.parameters.tobytes() == second.network.parameters.tobytes()


def test_sparse_rows_are_made_dense_for_a_layer_that_is_not():
    sparse = some_sparse_rows()
    layers = [Dropout(type="dropout", rate=0.1), *LAYERS]
    assert state_of(a_text_training(sparse, layers)) == state_of(a_text_training(sparse[:], layers))
    assert run(a_text_training(sparse, layers)) == run(a_text_training(sparse[:], layers))


class Doubled:
    """Rows made when asked for."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape = x / 2, x.shape

    def take_rows(self, indices: np.ndarray, out: np.ndarray) -> None:
        out[...] = self.x[indices] * 2


def test_rows_made_on_demand_and_a_memory_map_train_to_the_same_bits_as_an_array(tmp_path):
    trainer = a_training()
    x, y = trainer._x, trainer._y
    np.save(tmp_path / "x.npy", x)
    ends = []
    for rows in (x, Doubled(x), np.load(tmp_path / "x.npy", mmap_mode="r")):
        network = Network.build(LAYERS, (6,))
        network.initialise(7)
        spec = TrainingSpec(epochs=2, seed=7)
        other = Trainer(network, spec, rows, y, rows, y, task="classification", n_classes=3)
        reports = run(other)
        ends.append((network.parameters.tobytes(), reports))
    assert ends[0] == ends[1] == ends[2]


def test_two_classes_may_share_one_sigmoid_output():
    trainer = a_training()
    y = (trainer._x[:, 0] > 0).astype(int)
    network = Network.build([Dense(type="dense", units=1, activation="sigmoid")], (6,))
    network.initialise(0)
    adam = {"type": "adam", "learning_rate": 0.05}
    spec = TrainingSpec.model_validate({"epochs": 30, "class_weights": "balanced", "optimiser": adam})
    one = Trainer(network, spec, trainer._x, y, trainer._x, y, task="classification", n_classes=2)
    assert one.objective.loss == "binary_cross_entropy"
    assert run(one)[-1].metrics["accuracy"] > 0.9


def test_values_are_learned_with_each_regression_loss():
    x = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    y = x[:, :2] @ np.array([[1.0, 2.0], [0.5, -1.0]])
    for loss in ("mean_squared_error", "mean_absolute_error", "huber"):
        network = Network.build([Dense(type="dense", units=2)], (6,))
        network.initialise(0)
        spec = TrainingSpec.model_validate(
            {"epochs": 60, "loss": loss, "optimiser": {"type": "adam", "learning_rate": 0.02}}
        )
        reports = run(Trainer(network, spec, x, y, x, y, task="regression"))
        assert reports[-1].metrics["r2"] > 0.99, loss


@pytest.mark.parametrize("penalty", [{"l1": 0.3}, {"l2": 0.3}])
def test_a_penalty_is_part_of_the_loss_and_of_its_gradient(penalty):
    layers = [Dense(type="dense", units=4, activation="tanh", **penalty), Dense(type="dense", units=2)]
    network = Network.build(layers, (3,), dtype=np.float64)
    network.initialise(0)
    penalties = Penalties(network)
    network.gradients[...] = 0
    value = penalties.apply()
    weight = network.state_dict()["0.weight"]
    assert value == pytest.approx(0.3 * (np.abs(weight).sum() if "l1" in penalty else (weight**2).sum()))
    gradient = network.gradients.copy()
    assert relative_gradient_error(penalties.apply, gradient, network.parameters) < 1e-8


@pytest.mark.parametrize("held_back", [True, False])
def test_the_figures_of_the_last_epoch_survive_the_end_of_the_process(held_back):
    whole, cut = (a_training(**({} if held_back else {"validation": False})) for _ in range(2))
    run(whole)
    run(cut)
    vector = np.empty(cut.state_size, np.float32)
    counters = json.loads(json.dumps(cut.snapshot(vector)))
    again = a_training(**({} if held_back else {"validation": False}))
    again.restore(out_of(vector), counters)
    assert again.finished
    assert again.measured() == whole.measured()
    assert ("loss" in again.measured()) != held_back
