"""From a training set to a network in training, and from that to a trained model: for jobs and for Python alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.network import Layer, ModelSpec
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.data.preprocessing import Raw
from singlepoint.worker.models.trained_model import TrainedModel
from singlepoint.worker.nn.architecture import complete_layers
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.learning.metrics import AREAS
from singlepoint.worker.nn.learning.trainer import EpochReport, Trainer
from singlepoint.worker.nn.network import Network

from .training_set import Examples, Recipe, TrainingSet, prepare_training


def layers_of(recipe: Recipe, data: TrainingSet) -> tuple[Layer, ...]:
    """The network that `[model]` means for this data. See `architecture.complete_layers`."""
    return complete_layers(
        recipe.model,
        data.input_shape,
        task=data.task,
        outputs=data.outputs,
        tokens=data.tokens,
        loss=recipe.training.loss,
    )


def new_network(recipe: Recipe, data: TrainingSet) -> Network:
    """An untrained network for this data, its weights drawn from the seed. Raises InvalidInput."""
    layers = layers_of(recipe, data)
    try:
        network = Network.build(layers, data.input_shape, vocabulary=data.vocabulary)
    except ValueError as error:
        raise InvalidInput(as_problem(str(error), recipe.model)) from None
    network.initialise(recipe.training.seed)
    return network


def new_trainer(network: Network, training: TrainingSpec, data: TrainingSet) -> Trainer:
    """The training of a new network on this data, at its first step. Raises ValueError naming a field."""
    return Trainer(
        network,
        training,
        data.x,
        data.y,
        data.x_validation,
        data.y_validation,
        task=data.task,
        n_classes=data.outputs if data.classes is not None else None,
        classes=data.classes,
        units=None if data.target_scale is None else data.target_scale.scale,
    )


def check_monitor(training: TrainingSpec, data: TrainingSet) -> None:
    """Raises InvalidInput when early stopping would watch a figure that the validation part can never have."""
    stopping = training.early_stopping
    if stopping is not None and stopping.monitor in AREAS and data.complete and data.y_validation is not None:
        there, classes = len(np.unique(data.y_validation)), data.outputs
        if there < classes:
            message = f"{stopping.monitor} has no value: the validation part has rows of {there} of {classes} classes"
            hint = "watch validation_loss, or hold back more rows"
            raise InvalidInput(Problem("training.early_stopping.monitor", message, hint))


def trained(
    examples: Examples, recipe: Recipe, *, share: float = 0.0, validation: tuple[Raw, Array] | None = None
) -> tuple[TrainedModel, list[EpochReport]]:
    """A whole training in this process, with what each epoch came to; for the arguments see `prepare_training`.

    Raises InvalidInput, ValueError naming a field, Diverged.
    """
    data = prepare_training(examples, recipe, share=share, validation=validation)
    check_monitor(recipe.training, data)
    trainer = new_trainer(new_network(recipe, data), recipe.training, data)
    history = list(trainer.reports())
    parts = {"preprocessing": recipe.preprocessing, "model": recipe.model, "training": recipe.training}
    spec = {name: part and part.model_dump(mode="json") for name, part in parts.items()}
    return trained_model(trainer, data, {"epochs": trainer.epoch, "spec": spec}), history


def trained_model(trainer: Trainer, data: TrainingSet, provenance: Mapping[str, Any]) -> TrainedModel:
    """What a training that has ended came to, measured once more where its last epoch does not tell."""
    return TrainedModel(
        trainer.network,
        data.preprocessor,
        data.task,
        data.classes,
        data.class_type,
        data.target_names,
        trainer.measured(),
        provenance,
        target_scale=data.target_scale,
    )


_NAMED_FIELD = re.compile(r"((?:model|training|data)\.[\w.\[\]]+): (.*)", re.DOTALL)
_NAMED_LAYER = re.compile(r"layer (\d+)")


def as_problem(message: str, model: ModelSpec) -> Problem:
    """A complaint of the network as a problem with a field of the spec."""
    if named := _NAMED_FIELD.fullmatch(message):
        return Problem(named[1], named[2])
    layer = _NAMED_LAYER.match(message)
    return Problem(f"model.layers[{layer[1]}]" if layer and model.layers else "model", message)
