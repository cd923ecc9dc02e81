"""Windows slid over an image: where they lie, and views of what they cover.

Sequences (steps, channels) are treated as images one row high, so one- and two-dimensional layers share everything.
Images are (rows, height, width, channels): a window's pixels in one image row are then contiguous.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from singlepoint.jobs.spec.network import Padding
from singlepoint.worker.nn.arrays import Array, Shape

from .base import Place

Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """Windows along one axis. before, after: padding.  count: how many windows there are."""

    size: int
    window: int
    stride: int
    before: int
    after: int
    count: int

    @classmethod
    def of(cls, size: int, window: int, stride: int, padding: Padding) -> Axis:
        if padding == "valid":
            return cls(size, window, stride, 0, 0, max((size - window) // stride + 1, 0))
        count = -(-size // stride)
        missing = max((count - 1) * stride + window - size, 0)
        return cls(size, window, stride, missing // 2, missing - missing // 2, count)

    @property
    def padded(self) -> int:
        return self.size + self.before + self.after

    def span(self, offset: int) -> slice:
        """Positions, in the padded axis, of element `offset` of every window."""
        return slice(offset, offset + (self.count - 1) * self.stride + 1, self.stride)

    @property
    def inside(self) -> slice:
        """The part of the padded axis that is not padding."""
        return slice(self.before, self.before + self.size)


@dataclass(frozen=True)
class Windows:
    """Windows over images of one shape: `y` along the height, `x` along the width."""

    y: Axis
    x: Axis
    channels: int

    @classmethod
    def over(cls, place: Place, size: Pair, stride: Pair, padding: Padding) -> Windows:
        """Windows over what enters a layer: (height, width, channels), or (steps, channels) with whole sizes.

        Raises ShapeError when no window fits.
        """
        shape = place.input_shape if len(place.input_shape) == 3 else (1, *place.input_shape)
        flat = len(place.input_shape) == 2
        (height, width), (down, along) = (
            pair if isinstance(pair, tuple) else (1 if flat else pair, pair) for pair in (size, stride)
        )
        windows = cls(Axis.of(shape[0], height, down, padding), Axis.of(shape[1], width, along, padding), shape[2])
        if windows.y.count < 1 or windows.x.count < 1:
            window = width if flat else f"{height}x{width}"
            raise place.error(
                f"a window of {window} does not fit into input of shape {place.input_shape}; "
                'make it smaller, or set padding = "same"'
            )
        return windows

    @property
    def input_shape(self) -> Shape:
        return self.y.size, self.x.size, self.channels

    @property
    def padded_shape(self) -> Shape:
        return self.y.padded, self.x.padded, self.channels

    @property
    def padded(self) -> bool:
        return self.padded_shape != self.input_shape

    @property
    def counts(self) -> tuple[int, int]:
        return self.y.count, self.x.count

    @property
    def overlapping(self) -> bool:
        return self.y.window > self.y.stride or self.x.window > self.x.stride

    def inside(self, padded: Array) -> Array:
        """The part of (n, *padded_shape) that is not padding."""
        return padded[:, self.y.inside, self.x.inside]

    def elements(self, padded: Array) -> Iterator[Array]:
        """For each position in a window, that position of every window: views (n, *counts, channels)."""
        for row in range(self.y.window):
            for column in range(self.x.window):
                yield padded[:, self.y.span(row), self.x.span(column)]
