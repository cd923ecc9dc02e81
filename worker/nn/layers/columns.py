"""The windows of images as matrices, so that a convolution is a product.

The windows of a *chunk* of images are copied into a buffer that stays in the cache until the product is done. They
are copied again for the gradient of the weights: that costs a tenth of a product, keeping them for a whole batch
costs memory and a trip to it. Windows over few channels are the exception: dear to copy and small to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from singlepoint.worker.nn.arrays import Array, Memory

from .windows import Windows

CHUNK_VALUES = 1 << 18  # of columns: 1 MiB in float32
FEW_CHANNELS = 8  # below this a window's runs are so short that copying element by element is faster


@dataclass(frozen=True)
class Grid:
    """A regular choice among windows: the first, every how many, and how many, along height and width."""

    first: tuple[int, int]
    every: tuple[int, int]
    counts: tuple[int, int]

    @classmethod
    def all(cls, windows: Windows) -> Grid:
        return cls((0, 0), (1, 1), windows.counts)

    @classmethod
    def by_place(cls, pooled: Windows) -> list[Grid]:
        """For each place in a pooling window, the windows below that place; pooling windows must not overlap."""
        every = pooled.y.stride, pooled.x.stride
        return [
            cls((row, column), every, pooled.counts)
            for row in range(pooled.y.window)
            for column in range(pooled.x.window)
        ]

    def of(self, image: Array) -> Array:
        """This choice from (n, height, width, channels) with a pixel a window."""
        (top, left), (down, along), (height, width) = self.first, self.every, self.counts
        return image[:, top : top + (height - 1) * down + 1 : down, left : left + (width - 1) * along + 1 : along]


class Columns:
    """Matrices (images * grids * windows, window values), image after image and in each grid after grid.

    chunk: images at a time.  keep: hold the columns of all rows, not of one chunk.
    """

    def __init__(
        self, windows: Windows, grids: Sequence[Grid], rows: int, memory: Memory, *, keep: bool = False
    ) -> None:
        self.windows, self.grids, self.rows, self.kept = windows, grids, rows, keep
        self.values = windows.y.window * windows.x.window * windows.channels
        self.per_image = len(grids) * prod(grids[0].counts)
        self.chunk = min(rows, _power_of_two_up_to(CHUNK_VALUES // (self.per_image * self.values)))
        self.starts = range(0, rows, self.chunk)
        self.padded = memory.zeros((self.chunk, *windows.padded_shape)) if windows.padded else None
        window = (windows.y.window, windows.x.window, windows.channels)
        self.blocks = memory.array((rows if keep else self.chunk, len(grids), *grids[0].counts, *window))
        self._views: tuple[Array | None, dict[int, list[tuple[Array, Array]]]] = (None, {})

    def images(self, start: int) -> slice:
        """The images of the chunk that begins at `start`."""
        return slice(start, min(start + self.chunk, self.rows))

    def of(self, x: Array, start: int) -> Array:
        """Of a chunk of x (rows, *input_shape); until the next call, or when kept until `start` is asked for again."""
        rows = self.images(start)
        if self.padded is not None:
            np.copyto(self.windows.inside(self.padded[: rows.stop - start]), x[rows])
        if self._views[0] is not x:  # the same buffer, step after step
            self._views = (x, {})
        views = self._views[1]
        if start not in views:
            views[start] = self._copies(self.padded if self.padded is not None else x[rows], start)
        for block, view in views[start]:
            np.copyto(block, view)
        return self.again(start)

    def again(self, start: int) -> Array:
        """The columns that `of` filled last; kept ones at any time."""
        rows = self.images(start)
        blocks = self.blocks[rows] if self.kept else self.blocks[: rows.stop - start]
        return blocks.reshape(-1, self.values)

    def _copies(self, images: Array, start: int) -> list[tuple[Array, Array]]:
        """What has to be copied where, for one chunk."""
        rows = self.images(start)
        count = rows.stop - start
        blocks = self.blocks[rows] if self.kept else self.blocks[:count]
        pairs: list[tuple[Array, Array]] = []
        for index, grid in enumerate(self.grids):
            block, view = blocks[:, index], self._windows(images[:count], grid)
            if self.windows.channels < FEW_CHANNELS:
                pairs += zip(_by_element(block), _by_element(view), strict=True)
            else:
                pairs.append((block, view))
        return pairs

    def _windows(self, images: Array, grid: Grid) -> Array:
        """The grid's windows: a view (n, *grid.counts, height, width, channels)."""
        y, x, strides = self.windows.y, self.windows.x, images.strides
        first = images[:, grid.first[0] * y.stride :, grid.first[1] * x.stride :]
        return np.lib.stride_tricks.as_strided(
            first,
            (len(images), *grid.counts, y.window, x.window, self.windows.channels),
            (strides[0], strides[1] * y.stride * grid.every[0], strides[2] * x.stride * grid.every[1], *strides[1:]),
            writeable=False,
        )


def _by_element(windows: Array) -> Iterator[Array]:
    """(n, *counts, height, width, channels) as views of one position in the window each."""
    for row in range(windows.shape[3]):
        for column in range(windows.shape[4]):
            yield windows[:, :, :, row, column]


def _power_of_two_up_to(limit: int) -> int:
    return 1 << max(limit.bit_length() - 1, 0)
