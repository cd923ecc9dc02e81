"""From `[model]` to the whole list of layers: a dense network by its hidden widths, or every layer as given.

Pure, and without a weight allocated: shapes are checked by `network.plan`.
"""

from __future__ import annotations

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import Task
from singlepoint.jobs.spec.network import (
    GRU,
    LSTM,
    Activation,
    AveragePool1D,
    BatchNorm,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Layer,
    MaxPool1D,
    ModelSpec,
    SimpleRNN,
)
from singlepoint.jobs.spec.training import Loss

_SEQUENTIAL = (Conv1D, MaxPool1D, AveragePool1D, SimpleRNN, GRU, LSTM)


def takes_sequences(model: ModelSpec | None) -> bool:
    """Whether the network reads rows of (steps, features), which a grey image's shape looks like."""
    return any(isinstance(layer, _SEQUENTIAL) for layer in (model and model.layers) or ())


def takes_tokens(model: ModelSpec) -> bool:
    """Whether the network begins with an embedding."""
    return model.layers is not None and isinstance(model.layers[0], Embedding)


def last_activation(model: ModelSpec) -> Activation:
    """The activation of the last layer of a network of values."""
    if model.layers is None:
        return model.output_activation or "linear"
    activation: Activation = getattr(model.layers[-1], "activation", "linear")
    return activation


def complete_layers(
    model: ModelSpec,
    input_shape: tuple[int, ...],
    *,
    task: Task,
    outputs: int,
    tokens: bool = False,
    loss: Loss | None = None,
) -> tuple[Layer, ...]:
    """Every layer of the network.

    input_shape: of one prepared row.  tokens: whether it holds numbers of words.  outputs: classes or values.
    With `hidden`, the output layer is added: softmax over the classes, one sigmoid unit for two classes with
    binary_cross_entropy (or when `output_activation` says so), linear for values.
    Raises InvalidInput when tokens would meet a network without an embedding, or numbers one with it.
    """
    if tokens != takes_tokens(model):
        raise InvalidInput(_token_problem(tokens))
    if model.layers is not None:
        return model.layers
    activation = model.output_activation or _output_activation(task, outputs, loss)
    one_sigmoid = task == "classification" and outputs == 2 and activation == "sigmoid"
    layers: list[Layer] = [Flatten(type="flatten")] if len(input_shape) > 1 else []
    for units in model.hidden or ():
        layers.append(_dense(model, units, model.activation))
        layers += [BatchNorm(type="batch_norm")] if model.batch_norm else []
        layers += [Dropout(type="dropout", rate=model.dropout)] if model.dropout else []
    layers.append(_dense(model, 1 if one_sigmoid else outputs, activation))
    return tuple(layers)


def _dense(model: ModelSpec, units: int, activation: Activation) -> Dense:
    return Dense(
        type="dense",
        units=units,
        activation=activation,
        initialiser=model.initialiser,
        bias_initialiser=model.bias_initialiser,
        l1=model.l1,
        l2=model.l2,
    )


def _output_activation(task: Task, outputs: int, loss: Loss | None) -> Activation:
    if loss == "binary_cross_entropy":
        return "sigmoid"
    return "softmax" if task == "classification" else "linear"


def _token_problem(tokens: bool) -> Problem:
    if tokens:
        hint = "begin model.layers with an embedding, or set preprocessing.text = 'tfidf'"
        return Problem("model", "the text arrives as numbers of words, which a dense network cannot use", hint)
    hint = "name the text column in data.text and set preprocessing.text = 'sequence'"
    return Problem("model.layers[0]", "an embedding needs text as numbers of words", hint)
