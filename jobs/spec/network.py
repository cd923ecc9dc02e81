"""The layers a network may have, and their options: a closed registry.

A layer is a record with a `type`; a list of them is a network. The same records stand in a job's
`[model]` section and in a saved model's `model.json`. Shapes are not checked here: that needs the data,
and is done by building the network (`worker.nn`).

Conventions: sizes are in rows/columns/steps; images are (height, width, channels); sequences are
(steps, features). `padding` is "valid" (none) or "same" (output = ceil(input / stride)).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Count, Fraction, NonNegative, Part, Positive

MOST_LAYERS = 1000
"""Ten times what anybody stacks in a row; each costs a check some time, and a file of 1 MiB could hold thousands."""

Activation = Literal["linear", "relu", "leaky_relu", "gelu", "tanh", "sigmoid", "softmax"]
Padding = Literal["valid", "same"]
Pair = Count | Annotated[tuple[Count, Count], Field()]


class Glorot(Part):
    """Uniform in ±sqrt(6 / (fan_in + fan_out)). Source: Glorot & Bengio, AISTATS 2010."""

    type: Literal["glorot"] = "glorot"


class He(Part):
    """Normal with variance 2 / fan_in. Source: He et al., ICCV 2015."""

    type: Literal["he"] = "he"


class Orthogonal(Part):
    """A random matrix with orthonormal rows or columns. Source: Saxe et al., ICLR 2014."""

    type: Literal["orthogonal"] = "orthogonal"


class Normal(Part):
    """Normal with mean 0 and the given *variance* (not the standard deviation)."""

    type: Literal["normal"] = "normal"
    variance: Positive = 1.0


class Zeros(Part):
    """All zero."""

    type: Literal["zeros"] = "zeros"


Initialiser = Annotated[Glorot | He | Orthogonal | Normal | Zeros, Field(discriminator="type")]


class _Weighted(Part):
    """A layer with weights: how they start, and the penalty on their size (not on biases)."""

    name: str | None = None
    initialiser: Initialiser | None = None  # None: he for relu-like activations, else glorot
    bias_initialiser: Initialiser = Zeros()
    l1: NonNegative = 0.0  # adds l1 * sum(|w|) to the loss
    l2: NonNegative = 0.0  # adds l2 * sum(w^2) to the loss


class Dense(_Weighted):
    """Every output is a weighted sum of every input."""

    type: Literal["dense"]
    units: Count
    activation: Activation = "linear"


class Conv1D(_Weighted):
    """Filters slid along the steps of a sequence."""

    type: Literal["conv1d"]
    filters: Count
    kernel: Count
    stride: Count = 1
    padding: Padding = "valid"
    activation: Activation = "linear"


class Conv2D(_Weighted):
    """Filters slid over an image."""

    type: Literal["conv2d"]
    filters: Count
    kernel: Pair
    stride: Pair = 1
    padding: Padding = "valid"
    activation: Activation = "linear"


class _Pool(Part):
    name: str | None = None
    size: Pair = 2
    stride: Pair | None = None  # None: the size, so windows do not overlap
    padding: Padding = "valid"


class MaxPool1D(_Pool):
    """The largest value in each window of steps."""

    type: Literal["max_pool1d"]


class MaxPool2D(_Pool):
    """The largest value in each window of an image."""

    type: Literal["max_pool2d"]


class AveragePool1D(_Pool):
    """The mean of each window of steps; padding is not counted."""

    type: Literal["average_pool1d"]


class AveragePool2D(_Pool):
    """The mean of each window of an image; padding is not counted."""

    type: Literal["average_pool2d"]


class GlobalAveragePool(Part):
    """The mean over all positions, of text over its words: one value a channel."""

    type: Literal["global_average_pool"]
    name: str | None = None


class Flatten(Part):
    """One row of values a sample: images channel by channel (PyTorch's order), sequences step by step."""

    type: Literal["flatten"]
    name: str | None = None


class Dropout(Part):
    """Drops this share of the values (to the nearest 1/256) while training; the rest are scaled up."""

    type: Literal["dropout"]
    name: str | None = None
    rate: Fraction


class BatchNorm(Part):
    """Scales each channel to mean 0, variance 1 over the batch. Source: Ioffe & Szegedy, ICML 2015."""

    type: Literal["batch_norm"]
    name: str | None = None
    momentum: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1  # weight of the newest batch, as in PyTorch
    epsilon: Positive = 1e-5


class LayerNorm(Part):
    """Scales each sample to mean 0, variance 1 over its last axis. Source: Ba et al., 2016."""

    type: Literal["layer_norm"]
    name: str | None = None
    epsilon: Positive = 1e-5


class Embedding(Part):
    """A learned vector for each token; token 0 is padding, at the end of a row, and stays zero."""

    type: Literal["embedding"]
    name: str | None = None
    dimension: Count
    vocabulary: Count | None = None  # rows of the table; None: the size of the fitted vocabulary
    initialiser: Initialiser | None = None  # None: normal with variance 1 / dimension


class _Recurrent(Part):
    name: str | None = None
    units: Count
    bidirectional: bool = False
    return_sequence: bool = False  # False: the state after the last step that is not padding
    initialiser: Initialiser | None = None  # input weights; None: glorot
    recurrent_initialiser: Initialiser | None = None  # None: orthogonal
    bias_initialiser: Initialiser = Zeros()
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0


class SimpleRNN(_Recurrent):
    """h' = tanh(W x + U h + b)."""

    type: Literal["simple_rnn"]


class GRU(_Recurrent):
    """Gated recurrent unit, PyTorch's form (reset gate applied after the product). Cho et al., 2014."""

    type: Literal["gru"]


class LSTM(_Recurrent):
    """Long short-term memory, gates in the order i, f, g, o. Hochreiter & Schmidhuber, 1997."""

    type: Literal["lstm"]


Layer = Annotated[
    Dense
    | Conv1D
    | Conv2D
    | MaxPool1D
    | MaxPool2D
    | AveragePool1D
    | AveragePool2D
    | GlobalAveragePool
    | Flatten
    | Dropout
    | BatchNorm
    | LayerNorm
    | Embedding
    | SimpleRNN
    | GRU
    | LSTM,
    Field(discriminator="type"),
]


class ModelSpec(Part):
    """`[model]`: either the hidden widths of a dense network, or every layer in full.

    With `hidden` the output layer is added: as many units as classes (softmax) or targets (linear).
    With `layers` the list is the whole network, its last layer the output.
    """

    hidden: Annotated[tuple[Count, ...], Field(max_length=MOST_LAYERS)] | None = None
    activation: Activation = "relu"
    output_activation: Activation | None = None  # None: softmax for classes, linear for values
    dropout: Fraction = 0.0  # after each hidden layer
    batch_norm: bool = False  # before each hidden layer's activation is applied to the next
    initialiser: Initialiser | None = None
    bias_initialiser: Initialiser = Zeros()
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
    layers: Annotated[tuple[Layer, ...], Field(max_length=MOST_LAYERS)] | None = None
