"""How a network is trained: optimiser, schedule, loss, and when to stop. Options and bounds only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Count, Fraction, NonNegative, Part, Positive

Loss = Literal["softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error", "mean_absolute_error", "huber"]


class Constant(Part):
    """The learning rate stays as it is."""

    type: Literal["constant"] = "constant"


class Step(Part):
    """Multiplied by `factor` every `every_epochs` epochs."""

    type: Literal["step"]
    every_epochs: Count
    factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1


class Cosine(Part):
    """Falls along half a cosine from the full rate to `final_fraction` of it at the end."""

    type: Literal["cosine"]
    final_fraction: Fraction = 0.0


class WarmUp(Part):
    """Rises linearly over the first `epochs` epochs, then follows `then`."""

    type: Literal["warm_up"]
    epochs: Positive
    then: Annotated[Constant | Step | Cosine, Field(discriminator="type")] = Constant()


Schedule = Annotated[Constant | Step | Cosine | WarmUp, Field(discriminator="type")]


class _Optimiser(Part):
    learning_rate: Positive = 0.01
    schedule: Schedule = Constant()


class GD(_Optimiser):
    """Gradient descent: one step an epoch, on all rows."""

    type: Literal["gd"]


class SGD(_Optimiser):
    """Stochastic gradient descent, with optional (Nesterov) momentum; PyTorch's update."""

    type: Literal["sgd"]
    momentum: Fraction = 0.0
    nesterov: bool = False


class RMSProp(_Optimiser):
    """Source: Hinton, lecture 6e, 2012; PyTorch's update."""

    type: Literal["rmsprop"]
    learning_rate: Positive = 0.001
    decay: Fraction = 0.99
    epsilon: Positive = 1e-8


class Adam(_Optimiser):
    """Source: Kingma & Ba, ICLR 2015."""

    type: Literal["adam"]
    learning_rate: Positive = 0.001
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Positive = 1e-8


class AdamW(_Optimiser):
    """Adam with decoupled weight decay. Source: Loshchilov & Hutter, ICLR 2019."""

    type: Literal["adamw"]
    learning_rate: Positive = 0.001
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Positive = 1e-8
    weight_decay: NonNegative = 0.01


Optimiser = Annotated[GD | SGD | RMSProp | Adam | AdamW, Field(discriminator="type")]


class EarlyStopping(Part):
    """Stops after `patience` epochs without an improvement of `monitor`; keeps the best weights."""

    patience: Count = 10
    monitor: str = "validation_loss"  # or a metric by name; losses and errors fall, scores rise
    min_delta: NonNegative = 0.0


class TrainingSpec(Part):
    """`[training]`. With `optimiser.type = "gd"` a batch is all rows and `batch_size` must be absent."""

    epochs: Count = 10
    batch_size: Count | None = None  # None: 32 (all rows for gd)
    optimiser: Optimiser = Adam(type="adam")
    loss: Loss | None = None  # None: cross-entropy (of the last activation) for classes, else mean_squared_error
    label_smoothing: Fraction = 0.0
    huber_delta: Positive = 1.0
    class_weights: Literal["balanced"] | dict[str, Positive] | None = None
    clip_norm: Positive | None = None  # the whole gradient's Euclidean norm is cut to this
    clip_value: Positive | None = None  # each component is cut to ±this
    early_stopping: EarlyStopping | None = None
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    shuffle: bool = True
