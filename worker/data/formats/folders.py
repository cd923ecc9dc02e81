"""Folders whose folders are classes: of images (PNG, JPEG; by Pillow, the optional extra `images`) or of texts (.txt).

    photos/cat/1.png  photos/cat/2.png  photos/dog/7.png        two classes, cat and dog

All images need one size; grey ones have no channel axis. An image is read when its row is. What 8-bit
pixels cannot hold (more bits, transparency) is refused, never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.nn.arrays import Array

from .tile import Cursor, Piece, Tile, unreadable

_IMAGES = (".png", ".jpg", ".jpeg")
_TEXTS = (".txt",)
_HIDDEN = ("thumbs.db", "desktop.ini")
_GREY = ("1", "L")
_DEEP = ("I", "F")
_DEEP_HINT = "save it with 8 bits, or make an array of all of them: numpy.save('x.npy', pixels)"
_OPAQUE = 255
_FLAT_HINT = "lay it on a background and save it without transparency"


@dataclass(frozen=True)
class ImageFiles:
    """Images of one size as one array of 8-bit pixels: the same questions as to `arrays.ArrayFile`.

    shape: (images, height, width) or (images, height, width, 3).
    """

    paths: tuple[Path, ...]
    shape: tuple[int, ...]
    name: str = "x"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a pixel."""
        return np.dtype(np.uint8)

    @property
    def path(self) -> Path:
        """The first of them."""
        return self.paths[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """None have names."""
        return ()

    def read(self, rows: int | None = None) -> Array:
        """All images, or the first few. Raises InvalidInput for one that is damaged or of another size."""
        return self._pixels(self.paths[:rows])

    def pieces(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Piece]:
        """See `RowSource`; without content."""
        for start in range((cursor or {"row": 0})["row"], len(self.paths), tile_rows):
            rows = min(tile_rows, len(self.paths) - start)
            yield Piece(start, rows, {"row": start + rows}, b"")

    def parse(self, piece: Piece, /) -> Tile:
        """See `RowSource`."""
        pixels = self._pixels(self.paths[piece.first_row : piece.first_row + piece.rows])
        return Tile(pixels, piece.rows, piece.first_row, piece.cursor)

    def tiles(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Tile]:
        """See `RowSource`."""
        return map(self.parse, self.pieces(cursor, tile_rows))

    def _pixels(self, paths: Sequence[Path]) -> Array:
        out = np.empty((len(paths), *self.shape[1:]), np.uint8)
        for row, path in enumerate(paths):
            image = _image(path)
            if image.shape != self.shape[1:]:
                what = f"has shape {image.shape}, {self.paths[0].name} has {self.shape[1:]}"
                raise unreadable(path, what, "make all images the same size and kind")
            out[row] = image
        return out


def is_image(path: Path) -> bool:
    """Whether the name is that of an image."""
    return path.suffix.lower() in _IMAGES


def open_images(paths: Sequence[Path]) -> ImageFiles:
    """Images in this order. Raises InvalidInput without Pillow, or when the first cannot be read."""
    return ImageFiles(tuple(paths), (len(paths), *_image(paths[0]).shape))


def by_class(folder: Path, field: str = "data.path") -> tuple[ImageFiles | Array, Array]:
    """What a folder of folders holds: images, or texts (n,), and the class of each.

    field: of the spec that names it. Raises InvalidInput for a folder with neither, or both, or with anything else that
    would be left out.
    """
    entries = _entries(folder)
    labelled = [(path, one.name) for one in entries if one.is_dir() for path in _entries(one)]
    others = [one for one in entries if not one.is_dir() and is_image(one)]
    others += [path for path, _ in labelled if not path.is_file() or path.suffix.lower() not in (*_IMAGES, *_TEXTS)]
    if others:
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        what = f"{others[0]} is no .png, .jpg or .txt file in a folder that is a class{more}"
        raise InvalidInput(
            Problem(field, what, "one folder a class: photos/cat/1.png; convert the rest or take it away")
        )
    kinds = {is_image(path) for path, _ in labelled}
    if len(kinds) != 1:
        what = "holds images and texts" if kinds else "has no folder with .png, .jpg or .txt files in it"
        raise InvalidInput(Problem(field, f"{folder} {what}", "one folder a class: photos/cat/1.png"))
    classes = np.array([name for _, name in labelled], object)
    if kinds == {True}:
        return open_images([path for path, _ in labelled]), classes
    texts = np.empty(len(labelled), object)
    for row, (path, _) in enumerate(labelled):
        try:
            texts[row] = path.read_text("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise unreadable(path, "is not UTF-8 text", "save it as UTF-8") from None
    return texts, classes


def _entries(folder: Path) -> list[Path]:
    """What lies in it, without what a system hides there."""
    return sorted(one for one in folder.iterdir() if not one.name.startswith(".") and one.name.lower() not in _HIDDEN)


def _image(path: Path) -> Array:
    """Grey pixels (height, width), or colours (height, width, 3)."""
    try:
        from PIL import Image
    except ImportError:
        hint = "pip install 'singlepoint[images]', or make an array of them: numpy.save('x.npy', pixels)"
        raise InvalidInput(Problem(path.name, "reading images needs Pillow", hint)) from None
    try:
        with Image.open(path) as image:
            if image.mode.startswith(_DEEP) or ";16" in str(image.tile):  # colours of 16 bits are opened as those of 8
                raise unreadable(path, f"has pixels of more than 8 bits (mode {image.mode})", _DEEP_HINT)
            if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < _OPAQUE:
                raise unreadable(path, "is transparent in places, and what is behind it is not told", _FLAT_HINT)
            return np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(path, f"cannot be read: {error}") from None
