"""Arrays with a shape of their own: images (height, width[, channels]) and sequences (steps, features).

In this order: noise taken out, divided by `rescale`, then scaled by the statistics of each channel (the last axis)
over the training rows. A grey image without a channel axis gets one. Value by value, so a row's bits do not depend
on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import prod
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.base import Count, Positive
from singlepoint.jobs.spec.data import Gaussian, Median, PreprocessingSpec
from singlepoint.worker.nn.arrays import Array, Indices

from .denoise import denoised
from .rows import CHUNK_ROWS, BadRow, Fitted, Floats, Raw, Unseen, resolution

Doubles = npt.NDArray[np.float64]
PerChannel = Annotated[tuple[float, ...], Field(min_length=1)]

CACHED_VALUES = 1 << 15
"""Scaled in one go, in float64: what is between two passes over them stays in the processor's cache."""


class ArrayPreprocessor(Fitted):
    """What was learned about arrays: (value / rescale - offset) / scale, offset and scale by channel.

    input_shape: one raw row's.  image: whether filters and a channel axis make sense.
    constant: the channels that never varied in training but for rounding; they give 0 whatever comes.
    """

    type: Literal["array"] = "array"
    input_shape: Annotated[tuple[Count, ...], Field(min_length=2, max_length=4)]
    image: bool
    denoise: Annotated[Median | Gaussian, Field(discriminator="type")] | None = None
    rescale: Positive = 1.0
    offset: PerChannel = (0.0,)
    scale: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    constant: Annotated[tuple[bool, ...], Field(min_length=1)] = (False,)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        channels = self.output_shape[-1]
        if {len(self.offset), len(self.scale), len(self.constant)} - {1, channels}:
            raise ValueError(f"offset, scale and constant must have 1 or {channels} values")
        if self.denoise and not self.image:
            raise ValueError("only images have noise to take out")
        return self

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one prepared row: an image always has a channel axis."""
        return (*self.input_shape, 1) if self.image and len(self.input_shape) == 2 else self.input_shape

    @property
    def vocabulary(self) -> int | None:
        """None: these are not tokens."""
        return None

    def transform(self, raw: Raw) -> Floats:
        """Prepared rows, (n, *output_shape). See `transform_into`."""
        out = np.empty((len(raw), *self.output_shape), np.float32)
        self.transform_into(raw, out)
        return out

    def counted(self, raw: Raw) -> tuple[Floats, Unseen]:
        """Prepared rows; nothing is counted, since channels have no names."""
        return self.transform(raw), {}

    def transform_into(self, raw: Raw, out: Floats) -> Unseen:
        """Prepare an array (n, *input_shape) of any number type into `out`.

        Raises InvalidInput for another shape, BadRow for a value that is missing, infinite or too large.
        """
        values = self._denoised(raw)
        rows = self._rows_at_once
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(values), rows):
                self._scale(values[start : start + rows], out[start : start + rows])
        if values.dtype.kind == "f":
            _check_finite(out)
        return {}

    def _scale(self, values: Array, out: Floats) -> None:
        # 8-bit values are exact in float32, so half the memory traffic costs nothing; others may need float64.
        factor, shift = self._line
        if values.dtype == np.uint8:
            np.multiply(values, factor.astype(np.float32), out=out, dtype=np.float32, casting="unsafe")
            np.add(out, shift.astype(np.float32), out=out)
        else:
            scaled = values * factor
            scaled += shift
            out[...] = scaled

    @cached_property
    def _rows_at_once(self) -> int:
        return max(1, CACHED_VALUES // prod(self.output_shape))

    @cached_property
    def _line(self) -> tuple[Doubles, Doubles]:
        """The whole scaling as factor * value + shift: two passes over a batch instead of three. What differs by
        channel is repeated over the axis before, since numpy takes long over many short runs."""
        offset, scale = np.array(self.offset), np.where(self.constant, np.inf, self.scale)
        factor, shift = np.broadcast_arrays(1 / (self.rescale * scale), -offset / scale)
        repeats = (self.output_shape[-2], 1) if len(factor) > 1 else 1
        return np.tile(factor, repeats), np.tile(shift, repeats)

    def _denoised(self, raw: Raw) -> Array:
        values = self._checked(raw)
        return denoised(values, self.denoise) if self.denoise else values

    def _checked(self, raw: Raw) -> Array:
        if not isinstance(raw, np.ndarray) or raw.shape[1:] != self.input_shape or raw.dtype.kind not in "bfiu":
            found = f"{raw.dtype} {raw.shape}" if isinstance(raw, np.ndarray) else "a table"
            raise InvalidInput(Problem("x", f"is {found}, but the model takes numbers of shape (n, {_commas(self)})"))
        return raw.reshape(len(raw), *self.output_shape)


def fit_array(raw: Array, rows: Indices, spec: PreprocessingSpec, *, image: bool) -> ArrayPreprocessor:
    """Learn the channels' statistics from these rows of `raw` (n, ...), a memory-mapped file or an array.

    Raises InvalidInput when `spec` asks for what arrays do not have, BadRow for a value that is not finite.
    """
    categorical = spec.categorical not in ((), "auto")
    if categorical or spec.impute != "none":
        field = "categorical" if categorical else "impute"
        raise InvalidInput(Problem(f"preprocessing.{field}", f"is for tables, and the data has shape {raw.shape}"))
    if spec.denoise and not image:
        raise InvalidInput(Problem("preprocessing.denoise", f"is for images, and the data has shape {raw.shape}"))
    plain = ArrayPreprocessor(input_shape=raw.shape[1:], image=image, denoise=spec.denoise, rescale=spec.rescale or 1.0)
    if spec.normalise == "none":
        return plain
    if spec.normalise == "min_max":
        offset, high = _extent(plain, raw, rows)
        scale = high - offset
    else:
        offset, scale = _moments(plain, raw, rows)
    constant = scale <= resolution(raw.dtype) * np.abs(offset)
    if spec.unseen == "place":
        scale, constant = np.where(scale > 1e-10 * np.abs(offset), scale, 1.0), np.zeros(len(scale), bool)
    fitted = {"offset": offset, "scale": np.where(constant, 1.0, scale), "constant": constant}
    return plain.model_copy(update={name: tuple(values.tolist()) for name, values in fitted.items()})


def _chunks(plain: ArrayPreprocessor, raw: Array, rows: Indices) -> Iterator[Doubles]:
    """Rescaled values of chunk after chunk, (values, channels) in float64. Raises BadRow."""
    for start in range(0, len(rows), CHUNK_ROWS):
        chosen = rows[start : start + CHUNK_ROWS]
        try:
            values = plain._denoised(raw[chosen]) / np.float64(plain.rescale)
            _check_finite(values)
        except BadRow as bad:
            raise BadRow(int(chosen[bad.row]), bad.column, bad.reason, bad.problems[0].hint) from None
        yield values.reshape(-1, values.shape[-1])


def _extent(plain: ArrayPreprocessor, raw: Array, rows: Indices) -> tuple[Doubles, Doubles]:
    lows, highs = zip(*((c.min(axis=0), c.max(axis=0)) for c in _chunks(plain, raw, rows)), strict=True)
    return np.min(lows, axis=0), np.max(highs, axis=0)


def _moments(plain: ArrayPreprocessor, raw: Array, rows: Indices) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation (divided by n), in two passes: exact where one would cancel."""
    count = len(rows) * int(np.prod(plain.output_shape[:-1]))
    mean = np.sum([c.sum(axis=0) for c in _chunks(plain, raw, rows)], axis=0) / count
    squares = np.sum([np.square(c - mean).sum(axis=0) for c in _chunks(plain, raw, rows)], axis=0)
    return mean, np.sqrt(squares / count)


def _check_finite(values: Array) -> None:
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        raise BadRow(int(bad[0]), "", "a value is missing, infinite or too large", "correct or remove the row")


def _commas(preprocessor: ArrayPreprocessor) -> str:
    return ", ".join(map(str, preprocessor.input_shape))
