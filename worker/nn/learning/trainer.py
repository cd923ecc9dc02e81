"""Training, one optimiser step at a time, as a function of the spec, the data and the seed.

There is no clock, file or generator here, so a training that is put down after any step and taken up elsewhere ends
in the same bits. What must survive is one vector (`snapshot`) and a few counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.errors import SinglepointError
from singlepoint.jobs.spec.data import Task
from singlepoint.jobs.spec.training import GD, TrainingSpec
from singlepoint.worker.nn.arrays import Array, Compact, Indices, Input, Memory, SparseRows, blocks, take_rows
from singlepoint.worker.nn.inference import INFERENCE_ROWS, InferenceSession
from singlepoint.worker.nn.layers.activations import sigmoid, softmax
from singlepoint.worker.nn.layers.base import Moment
from singlepoint.worker.nn.network import Network
from singlepoint.worker.nn.passes import Pass
from singlepoint.worker.nn.random import permutation

from .early_stopping import EarlyStop
from .losses import Sums
from .objective import resolve
from .optimisers import BLOCK, Updater, clip_gradients
from .penalties import Penalties
from .schedules import rate_factor

BATCH_ROWS = 32  # when the spec leaves it open
TRAINING_ROWS = 4096  # of a larger batch in one pass
BUFFER_VALUES = 512  # numpy's own buffers while it broadcasts: 2 KiB instead of 32, and no slower


class Diverged(SinglepointError, ArithmeticError):
    """Loss, weights or answers are no longer finite numbers."""


_REMEDY = "lower training.optimiser.learning_rate, set training.clip_norm, or normalise the data"


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to.

    epoch: from 1.  step: optimiser steps done in all.  loss: the mean over the epoch, penalties included.
    validation_loss, metrics: of the validation part, None and empty without one. That loss is weighted and smoothed
        as the training's, but has no penalties.
    """

    epoch: int
    step: int
    loss: float
    validation_loss: float | None
    metrics: dict[str, float]


@dataclass(frozen=True)
class _Batch:
    """All that a step on one number of rows works in."""

    network: Pass
    x: Array
    y: Array
    gradient: Array


class Trainer:
    """A training under way. See `advance`.

    x, x_validation: (n, *input_shape), floats (or int32 tokens), an array (a memory map will do) or `Rows`.
    y, y_validation: labels (n,) or values (n, k).  classes: names that `class_weights` may use.
    units: how much 1 is in each of the k values, in the units that the metrics are told in; None: 1.
    Raises ValueError, naming the field, when network, spec and data do not go together.
    """

    def __init__(
        self,
        network: Network,
        training: TrainingSpec,
        x: Input,
        y: npt.ArrayLike,
        x_validation: Input | None = None,
        y_validation: npt.ArrayLike | None = None,
        *,
        task: Task,
        n_classes: int | None = None,
        classes: Sequence[str] | None = None,
        units: Sequence[float] | None = None,
    ) -> None:
        self.network, self.training = network, training
        self._units = np.array(1.0 if units is None else units)
        self.objective = resolve(network.plan, training, task, n_classes)
        self._x, self._y = _input(x, network), self.objective.targets(y, network.dtype)
        self._sparse = self._x if isinstance(self._x, SparseRows) else None
        rows = self._x.shape[0]
        if rows == 0 or len(self._y) != rows:
            raise ValueError(f"training needs as many targets as rows, and one at least: got {len(self._y)} and {rows}")
        self.full_batch = isinstance(training.optimiser, GD)
        self.batch_rows = rows if self.full_batch else min(training.batch_size or BATCH_ROWS, rows)
        self.steps_per_epoch = -(-rows // self.batch_rows)
        self.total_steps = self.steps_per_epoch * training.epochs
        # The order of a whole batch does not matter: nothing need be gathered.
        self._in_place = self.full_batch and isinstance(self._x, np.ndarray)
        self._begin(self.objective.class_weights(self._y, classes))
        self._validation: tuple[Input, Array, Array] | None = None
        if x_validation is not None and y_validation is not None:
            labels = np.asarray(y_validation)
            self._validation = (_input(x_validation, network), self.objective.targets(labels, network.dtype), labels)
        if self.early_stop and self._validation is None and self.early_stop.options.monitor != "loss":
            raise ValueError("training.early_stopping: there is no validation part to watch; set data.validation")

    def _begin(self, class_weights: Array | None) -> None:
        network, training = self.network, self.training
        self.step = 0
        self.latest: EpochReport | None = None
        self._loss_sum = self._weight_sum = 0.0
        self._updater = Updater(training.optimiser, network.parameters, network.gradients)
        self._penalties = Penalties(network)
        self.early_stop = EarlyStop(training.early_stopping) if training.early_stopping else None
        best = network.parameters.size + network.buffers.size if self.early_stop else 0
        self._best = np.zeros(best, network.dtype)
        self._memory = Memory(network.dtype)
        self._batches: dict[int, _Batch] = {}
        self._inference = InferenceSession(network, logits=self.objective.fused)
        self._order: tuple[int, Indices] = (-1, np.arange(0))
        # Batch statistics are of the whole batch; anything else is done in parts of bounded memory, and added up.
        self.pass_rows = self.batch_rows if network.plan.buffers else min(self.batch_rows, TRAINING_ROWS)
        self._loss = self.objective.bind(max(self.pass_rows, INFERENCE_ROWS), network.dtype, class_weights)
        self._gradient_sum = np.zeros_like(network.parameters) if self.pass_rows < self.batch_rows else None
        self._batch(self.pass_rows)  # the largest first: the others fit in its memory

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.step // self.steps_per_epoch

    @property
    def loss(self) -> float | None:
        """Mean loss of the epoch under way, so far; None at its beginning."""
        return self._loss_sum / self._weight_sum if self._weight_sum else None

    @property
    def finished(self) -> bool:
        return self.step >= self.total_steps or (self.early_stop is not None and self.early_stop.stopped)

    def advance(self) -> EpochReport | None:
        """Does one optimiser step; the last of an epoch also evaluates the validation part and answers with a report.

        Does nothing when finished. Raises Diverged when the loss is no longer finite.
        """
        if self.finished:
            return None
        epoch, position = divmod(self.step, self.steps_per_epoch)
        buffer_size = np.setbufsize(BUFFER_VALUES)
        try:
            with np.errstate(all="ignore"):  # an overflow shows in the loss
                loss = self._train_batch(epoch, position)
        finally:
            np.setbufsize(buffer_size)
        if not isfinite(loss):
            raise Diverged(f"the loss became {loss} in epoch {epoch + 1}, step {self.step + 1}; {_REMEDY}")
        self.step += 1
        return self._end_epoch(epoch) if position + 1 == self.steps_per_epoch else None

    def reports(self) -> Iterator[EpochReport]:
        """Trains to the end and finishes, with a report after each epoch. Raises Diverged."""
        while not self.finished:
            report = self.advance()
            if report is not None:
                yield report
        self.finish()

    def finish(self) -> None:
        """Puts the best weights in place, when early stopping was asked for and has seen any.

        Raises Diverged unless the weights, and the answers to the training's own rows, are finite.
        """
        if self.early_stop and self.early_stop.best is not None:
            size = self.network.parameters.size
            self.network.parameters[...] = self._best[:size]
            self.network.buffers[...] = self._best[size:]
        if not (_all_finite(self.network.parameters) and _all_finite(self.network.buffers)):
            raise Diverged(f"the weights are not finite after step {self.step}; {_REMEDY}")
        for rows, answers in self._answers(self._x):
            if not np.isfinite(answers).all():
                row = rows.start + int(np.argmin(np.isfinite(answers).all(axis=1)))
                raise Diverged(f"the answer to training row {row + 1} is not finite after step {self.step}; {_REMEDY}")

    def evaluate(self) -> tuple[float, dict[str, float]] | None:
        """Loss and metrics of the validation part as the network is now; None when there is none. Raises Diverged."""
        if self._validation is None:
            return None
        x, targets, y = self._validation
        loss, outputs = self._outputs(x, targets)
        if not isfinite(loss):
            raise Diverged(f"the validation loss became {loss} after step {self.step}; {_REMEDY}")
        from . import metrics  # here, because a training without a validation part needs none

        if self.objective.task == "regression":
            return loss, metrics.regression(targets * self._units, outputs * self._units)
        if self.objective.outputs == 1:
            outputs = np.concatenate([1 - outputs, outputs], axis=1)
        return loss, metrics.classification(y, outputs, self.objective.n_classes or 0)

    def measured(self) -> dict[str, float]:
        """What the final weights come to: on the validation part, or the last epoch's loss where there is none."""
        latest = self.latest
        if latest is not None and latest.validation_loss is not None and self.early_stop is None:
            return {"validation_loss": latest.validation_loss, **latest.metrics}  # of these very weights
        evaluated = self.evaluate()
        if evaluated is None:
            return {} if latest is None else {"loss": latest.loss}
        loss, scores = evaluated
        return {"validation_loss": loss, **scores}

    # -- one step ------------------------------------------------------------------------------------------------

    def _train_batch(self, epoch: int, position: int) -> float:
        total, weight = self._gradient(epoch, position)
        loss = total / weight + self._penalties.apply()
        clip_gradients(self.network.gradients, self.training.clip_norm, self.training.clip_value)
        optimiser = self.training.optimiser
        factor = rate_factor(optimiser.schedule, self.step, self.steps_per_epoch, self.total_steps)
        self._updater.apply(optimiser.learning_rate * factor, self.step + 1)
        self._loss_sum += loss * weight
        self._weight_sum += weight
        return loss

    def _gradient(self, epoch: int, position: int) -> Sums:
        """Fills the network's gradients with those of a batch's mean loss; returns the sums of that loss."""
        first = position * self.batch_rows
        stop = min(first + self.batch_rows, self._x.shape[0])
        total = weight = 0.0
        for part, start in enumerate(range(first, stop, self.pass_rows)):
            batch, x, y = self._gather(epoch, slice(start, min(start + self.pass_rows, stop)))
            outputs = batch.network.forward(x, Moment(self.training.seed, epoch, position, part))
            sums = self._loss(outputs, y, batch.gradient)
            batch.network.backward(batch.gradient)
            total, weight = total + sums[0], weight + sums[1]
            if self._gradient_sum is not None:  # each part's gradient is of its own mean
                np.multiply(self.network.gradients, sums[1], out=self.network.gradients)
                np.add(self._gradient_sum if part else 0, self.network.gradients, out=self._gradient_sum)
        if self._gradient_sum is not None:
            np.divide(self._gradient_sum, weight, out=self.network.gradients)
        return total, weight

    def _gather(self, epoch: int, part: slice) -> tuple[_Batch, Array | Compact, Array]:
        """The rows at some places of an epoch's order, and where to work on them."""
        batch = self._batch(part.stop - part.start)
        if self._in_place:
            assert isinstance(self._x, np.ndarray)
            return batch, self._x[part], self._y[part]
        rows = self._epoch_order(epoch)[part]
        take_rows(self._y, rows, batch.y)
        if self._sparse is not None and batch.network.takes_compact:
            return batch, self._sparse.compact(rows), batch.y
        take_rows(self._x, rows, batch.x)
        return batch, batch.x, batch.y

    def _epoch_order(self, epoch: int) -> Indices:
        if self._order[0] != epoch:
            rows = self._x.shape[0]
            shuffled = self.training.shuffle and not self.full_batch
            self._order = (epoch, permutation(self.training.seed, rows, epoch) if shuffled else np.arange(rows))
        return self._order[1]

    def _batch(self, rows: int) -> _Batch:
        if rows not in self._batches:
            bound = Pass(self.network, rows, training=True, logits=self.objective.fused, memory=self._memory)
            gathered = 0 if self._in_place else rows
            compact = self._sparse is not None and bound.takes_compact
            x = np.empty((0 if compact else gathered, *self._x.shape[1:]), self.network.input_type)
            y = np.empty((gathered, *self._y.shape[1:]), self._y.dtype)
            gradient = np.empty((rows, self.objective.outputs), self.network.dtype)
            self._batches[rows] = _Batch(bound, x, y, gradient)
        return self._batches[rows]

    # -- the end of an epoch -------------------------------------------------------------------------------------

    def _end_epoch(self, epoch: int) -> EpochReport:
        loss = self._loss_sum / self._weight_sum
        self._loss_sum = self._weight_sum = 0.0
        validation_loss, metrics = self.evaluate() or (None, {})
        report = EpochReport(epoch + 1, self.step, loss, validation_loss, metrics)
        self.latest = report
        if self.early_stop and self.early_stop.observe(report.epoch, _monitored(self.early_stop, report)):
            size = self.network.parameters.size
            self._best[:size] = self.network.parameters
            self._best[size:] = self.network.buffers
        return report

    def _outputs(self, x: Input, targets: Array) -> tuple[float, Array]:
        """Mean loss and outputs (n, k) for rows x."""
        total, weight = 0.0, 0.0
        outputs = np.empty((x.shape[0], self.objective.outputs), self.network.dtype)
        for rows, part in self._answers(x):
            sums = self._loss(part, targets[rows])
            total, weight = total + sums[0], weight + sums[1]
            outputs[rows] = part
        if self.objective.fused:
            _activate(outputs, self.objective.activation)
        return total / weight, outputs

    def _answers(self, x: Input) -> Iterator[tuple[slice, Array]]:
        """See `InferenceSession.passes`; with the weights as they are now."""
        self._inference.weights_changed()
        return self._inference.passes(x)

    # -- what a checkpoint holds ---------------------------------------------------------------------------------

    @property
    def state_size(self) -> int:
        """Values in `snapshot`'s vector, of the network's float type."""
        return sum(part.size for part in self._state())

    def snapshot(self, out: Array) -> dict[str, Any]:
        """Copies all arrays of the state into out (state_size,); returns the rest as plain JSON values.

        The vector is [parameters | buffers | optimiser slots | best weights and buffers, with early stopping].
        """
        np.concatenate(self._state(), out=out)
        return {
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "loss_sum": self._loss_sum.hex(),  # hexadecimal: every bit survives
            "weight_sum": self._weight_sum.hex(),
            "early_stop": self.early_stop.counters() if self.early_stop else None,
            "latest": self.latest and asdict(self.latest),
        }

    def restore(self, fill: Callable[[Sequence[Array]], None], counters: dict[str, Any]) -> None:
        """Takes up where `snapshot` was called.

        fill: puts the vector into the parts of it, in order; so none is needed besides them.
        Raises ValueError when the counters are not of this training; what `fill` raises.
        """
        try:
            step, steps_per_epoch = int(counters["step"]), int(counters["steps_per_epoch"])
            sums = float.fromhex(counters["loss_sum"]), float.fromhex(counters["weight_sum"])
            early_stop = self.early_stop and self.early_stop.restored(counters["early_stop"])
            latest = counters.get("latest")  # absent in states of version 0.1.0
            latest = latest and EpochReport(**latest)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the counters of the state are not readable: {error!r}") from error
        if steps_per_epoch != self.steps_per_epoch or not 0 <= step <= self.total_steps:
            raise ValueError(
                f"the state is of another training: step {step} with {steps_per_epoch} steps an epoch, "
                f"this one has {self.total_steps} with {self.steps_per_epoch}"
            )
        fill(self._state())
        self.step, self.early_stop, self.latest = step, early_stop, latest
        self._loss_sum, self._weight_sum = sums

    def _state(self) -> tuple[Array, ...]:
        return self.network.parameters, self.network.buffers, self._updater.slots, self._best


def _input(x: Input, network: Network) -> Input:
    """x, checked, and as an array of the type the network takes unless it makes its rows itself."""
    if x.shape[1:] != network.input_shape:
        raise ValueError(f"the network takes rows of shape {network.input_shape}, the data has {x.shape[1:]}")
    return np.asarray(x, network.input_type) if isinstance(x, np.ndarray) else x


def _activate(outputs: Array, activation: str) -> None:
    if activation == "softmax":
        softmax(outputs, np.empty((len(outputs), 1), outputs.dtype))
    else:
        sigmoid(outputs)


def _all_finite(vector: Array) -> bool:
    return all(np.isfinite(block).all() for block in blocks(vector, BLOCK, "readonly"))


def _monitored(early: EarlyStop, report: EpochReport) -> float | None:
    values = {"loss": report.loss, "validation_loss": report.validation_loss, **report.metrics}
    return values.get(early.options.monitor)
