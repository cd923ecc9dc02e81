"""Folders of images: a folder is a class, an image a row, read when it is needed."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.worker.data.formats.folders import by_class, open_images
from singlepoint.worker.data.formats.training import read_training_data

PIXELS = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)


def drawn(folder: Path, pixels: np.ndarray, ending: str = ".png") -> list[Path]:
    """An image a row, in folders of classes in turn."""
    image = pytest.importorskip("PIL.Image", reason="this machine has no Pillow")
    paths = []
    for row, one in enumerate(pixels):
        path = folder / "cd"[row % 2] / f"{row}{ending}"
        path.parent.mkdir(exist_ok=True)
        image.fromarray(one).save(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[..., 0]], ids=["colours", "grey"])
def test_a_folder_of_images_is_an_array_with_classes(tmp_path: Path, pixels: np.ndarray) -> None:
    paths = drawn(tmp_path, pixels)
    raw = read_training_data(DataSpec(path=str(tmp_path)), PreprocessingSpec(), tmp_path)
    assert np.array_equal(np.asarray(raw.x), pixels) and raw.y.tolist() == ["c", "d"]
    tiles = list(open_images(paths).tiles({"row": 1}, 1))
    assert [tile.first_row for tile in tiles] == [1] and np.array_equal(np.asarray(tiles[0].raw), pixels[1:])


@pytest.mark.parametrize("name", ["d/5.bmp", "d/5.webp", "d/more/5.png", "e/5.gif", "5.png"])
def test_a_file_that_a_class_would_lack_is_refused_and_a_hidden_one_is_none(tmp_path: Path, name: str) -> None:
    drawn(tmp_path, PIXELS)
    for hidden in (".5.bmp", "c/._5.png", "c/Thumbs.db", ".more/5.bmp"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"anything")
    assert by_class(tmp_path)[0].shape == PIXELS.shape
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(InvalidInput, match=rf"data\.path: .*{name.removesuffix('/5.png')} is no \.png"):
        by_class(tmp_path)


def test_an_image_of_another_size_or_a_damaged_one_is_refused_by_its_name(tmp_path: Path) -> None:
    first, second = drawn(tmp_path, PIXELS)
    drawn(tmp_path / "d", PIXELS[:1, :2])
    with pytest.raises(InvalidInput, match=r"0\.png has shape|0\.png: has shape"):
        open_images([first, tmp_path / "d" / "c" / "0.png"]).read()
    second.write_bytes(first.read_bytes()[:50])
    with pytest.raises(InvalidInput, match=r"1\.png.*cannot be read"):
        open_images([first, second]).read()


def test_pixels_that_are_more_than_8_bits_or_see_through_are_refused_rather_than_cut(tmp_path: Path) -> None:
    deep = np.array([[0, 100], [1000, 65535]], np.uint16)
    clear, opaque = np.full((2, 2, 2, 4), 255, np.uint8)
    clear[0, 0, 3] = 254
    for row, (pixels, reason) in enumerate(
        [(deep, "more than 8 bits"), (clear, "transparent"), (clear[..., 2:], "transp")]
    ):
        (tmp_path / str(row)).mkdir()
        with pytest.raises(InvalidInput, match=rf"0\.png.*{reason}"):
            open_images(drawn(tmp_path / str(row), pixels[None]))
    header, row = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0), zlib.compress(b"\0" + bytes(range(6)))
    chunks = [(b"IHDR", header), (b"IDAT", row), (b"IEND", b"")]
    content = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    (tmp_path / "colours.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    with pytest.raises(InvalidInput, match=r"colours\.png.*more than 8 bits"):
        open_images([tmp_path / "colours.png"])
    (tmp_path / "opaque").mkdir()
    assert np.array_equal(open_images(drawn(tmp_path / "opaque", opaque[None])).read(), opaque[None, ..., :3])


def test_images_without_pillow_are_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "a.png").write_bytes(b"anything")
    with pytest.raises(InvalidInput, match="needs Pillow"):
        open_images([tmp_path / "a.png"])
