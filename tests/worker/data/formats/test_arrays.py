"""Array files: the same values whole, in tiles and from a cursor; damaged ones refused before anything is allocated."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DataSpec, Missing, PreprocessingSpec
from singlepoint.worker.data.formats.arrays import ArrayFile, open_array
from singlepoint.worker.data.formats.paths import Arrays
from singlepoint.worker.data.formats.training import read_training_data
from tests.worker.data.formats.test_packed import by_zstd

X = np.arange(50 * 3 * 2, dtype=np.float32).reshape(50, 3, 2)


def idx(values: np.ndarray, code: int = 0x0D) -> bytes:
    header = struct.pack(f">HBB{values.ndim}I", 0, code, values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def npy(path: Path) -> None:
    np.save(path, X)


def npz(path: Path) -> None:
    np.savez(path, x=X, y=np.arange(50))


def npz_packed(path: Path) -> None:
    np.savez_compressed(path, x=X)


def idx_plain(path: Path) -> None:
    path.write_bytes(idx(X))


def idx_packed(path: Path) -> None:
    path.write_bytes(gzip.compress(idx(X)))


KINDS = [(npy, "x.npy"), (npz, "x.npz"), (npz_packed, "x.npz"), (idx_plain, "x-idx3-ubyte"), (idx_packed, "x.idx.gz")]


def a_file(folder: Path, write: Callable[[Path], None], name: str) -> ArrayFile:
    write(folder / name)
    return open_array(folder / name)


@pytest.mark.parametrize(("write", "name"), KINDS)
def test_values_are_the_same_whole_and_in_tiles(tmp_path: Path, write: Callable[[Path], None], name: str) -> None:
    file = a_file(tmp_path, write, name)
    assert np.array_equal(file.read(), X)
    assert np.array_equal(file.read(7), X[:7])
    tiles = list(file.tiles(None, 8))
    assert [tile.first_row for tile in tiles] == list(range(0, 50, 8))
    assert np.array_equal(np.concatenate([tile.raw for tile in tiles]), X)  # type: ignore[arg-type]


@pytest.mark.parametrize(("write", "name"), KINDS)
def test_reading_goes_on_at_any_cursor(tmp_path: Path, write: Callable[[Path], None], name: str) -> None:
    file = a_file(tmp_path, write, name)
    for tile in file.tiles(None, 8):
        rest = [again.raw for again in file.tiles(tile.cursor, 8)]
        assert np.array_equal(np.concatenate([X[:0], *rest]), X[tile.first_row + tile.rows :])  # type: ignore[list-item]


def test_text_arrays_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.array(["good film", "bad"]), y=np.array(["p", "n"]))
    assert open_array(tmp_path / "t.npz", "y").read().tolist() == ["p", "n"]


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.npy.gz"])
def test_arrays_are_read_whatever_their_order_bytes_and_type(tmp_path: Path, name: str) -> None:
    for values in (np.asfortranarray(X[:, :, 0]), X.astype(">f4"), X.astype(np.float16), X > 1, X.astype(">i2")):
        if name.endswith("z"):
            buffer = io.BytesIO()
            np.save(buffer, values) if name.endswith(".gz") else np.savez(buffer, x=values)
            packed = gzip.compress(buffer.getvalue()) if name.endswith(".gz") else buffer.getvalue()
            (tmp_path / name).write_bytes(packed)
        else:
            np.save(tmp_path / name, values)
        tiles = [np.asarray(tile.raw) for tile in open_array(tmp_path / name).tiles(None, 8)]
        assert np.array_equal(np.concatenate(tiles), values) and tiles[0].dtype.isnative


def test_any_array_of_an_archive_is_named_in_brackets(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x_train=X, x_test=X[:3])
    assert np.array_equal(open_array(tmp_path / "t.npz[x_test]").read(), X[:3])


def damaged_npy(path: Path) -> None:
    np.save(path, X)
    path.write_bytes(path.read_bytes()[:-4])


def damaged_npz(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        np.save(path.parent / "whole.npy", X)
        archive.writestr("x.npy", (path.parent / "whole.npy").read_bytes()[:-4])


def pickled(path: Path) -> None:
    np.savez(path, x=np.array([{}, 1], object)) if path.suffix == ".npz" else np.save(path, np.array([{}], object))


@pytest.mark.parametrize(("write", "name", "message"), [
    (damaged_npy, "x.npy", "cannot be read"),
    (damaged_npz, "x.npz", "should have 1200 bytes of values, but there are 1196"),
    (lambda p: np.savez(p, z=X), "x.npz", "has no array 'x'; there are: 'z'"),
    (pickled, "x.npz", "pickle"),
    (pickled, "x.npy", "pickle.*save plain numbers"),
    (lambda p: p.write_bytes(b"PK\x03\x04 nonsense"), "x.npz", "cannot be read"),
    (lambda p: p.write_bytes(b"nonsense"), "x.npy", "cannot be read"),
    (lambda p: p.write_bytes(b""), "x.npy", "cannot be read"),
    (lambda p: p.write_bytes(b"\x00\x00\x08"), "x.idx", "cannot be read"),
    (lambda p: p.write_bytes(idx(X)[:-1]), "x.idx", "should have 1200 bytes"),
    (lambda p: p.write_bytes(b"not gzip"), "x.idx.gz", "cannot be read"),
    (lambda p: np.save(p, X.astype(complex)), "x.npy", "values of type complex128"),
    (lambda p: np.save(p, np.zeros((0, 3))), "x.npy", "there is no row or no value"),
    (lambda p: np.save(p, np.float64(3)), "x.npy", "there is no row or no value"),
])  # fmt: skip
def test_damaged_and_unfit_files_say_what_is_wrong(
    tmp_path: Path, write: Callable[[Path], None], name: str, message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(InvalidInput, match=message):
        open_array(tmp_path / name).read()


def test_a_header_that_promises_too_much_allocates_nothing(tmp_path: Path) -> None:
    huge = struct.pack(">HBB3I", 0, 0x08, 3, 2**31, 2**10, 2**10)
    (tmp_path / "x.idx.gz").write_bytes(gzip.compress(huge + b"\0" * 100))
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="more than the file can hold"):
        open_array(tmp_path / "x.idx.gz").read()
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("shape", [(10**12, 5), (2**40, 2**40), (-5, -5)])
@pytest.mark.parametrize("name", ["x.npy", "x.npy.gz", "x.npy.zst", "x.npz"])
@pytest.mark.filterwarnings("error")
def test_a_shape_that_the_values_cannot_have_is_refused_before_there_is_room_for_it(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": "<f4", "fortran_order": False, "shape": shape})
    content = written.getvalue() + bytes(100)
    if name == "x.npz":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x.npy", content)
    else:
        pack = {".gz": gzip.compress, ".zst": by_zstd}.get(Path(name).suffix, bytes)
        (tmp_path / name).write_bytes(pack(content))
    with pytest.raises(InvalidInput, match=r"header|should have"):
        open_array(tmp_path / name)


def test_a_packed_file_that_ends_early_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.idx.gz").write_bytes(gzip.compress(idx(X)[:-8]))
    with pytest.raises(InvalidInput, match="ends after 1192 bytes"):
        open_array(tmp_path / "x.idx.gz").read()


def test_several_arrays_are_one_source_and_any_row_can_be_the_first(tmp_path: Path) -> None:
    for name, part in (("a", X[:20]), ("b", X[20:])):
        np.savez(tmp_path / f"{name}.npz", x=part, y=part[:, 0, 0] > 100)
        np.save(tmp_path / f"{name}.npy", part)
    np.save(tmp_path / "y.npy", X[:, 0, 0] > 100)
    for said in ({"path": "*.npz", "target": "y"}, {"path": ("a.npy", "b.npy"), "target_path": "y.npy"}):
        raw = read_training_data(DataSpec.model_validate(said), PreprocessingSpec(), tmp_path)
        assert np.array_equal(np.asarray(raw.x), X) and np.array_equal(raw.y, X[:, 0, 0] > 100)
    both = Arrays([open_array(tmp_path / "a.npz"), open_array(tmp_path / "b.npy")], "input")
    tiles = list(both.tiles(None, 16))
    assert [(tile.file, tile.first_row, tile.rows) for tile in tiles] == [
        ("a.npz", 0, 16),
        ("a.npz", 16, 4),
        ("b.npy", 0, 16),
        ("b.npy", 16, 14),
    ]
    assert [tile.first_row for tile in both.tiles(tiles[2].cursor, 16)] == [16]
    np.save(tmp_path / "c.npy", X[:, :1])
    with pytest.raises(InvalidInput, match=r"c\.npy has rows of"):
        Arrays([open_array(tmp_path / "a.npz"), open_array(tmp_path / "c.npy")], "input")


@pytest.mark.parametrize(("missing", "message"), [
    (("", "-999"), r"data\.missing: -999 cannot mean 'no value' in an array, NaN does \(x = numpy\.where"),
    ({"0": ("",)}, r"data\.missing: is for tables"),
])  # fmt: skip
def test_numbers_of_an_array_that_are_to_mean_no_value_are_refused(
    tmp_path: Path, missing: Missing, message: str
) -> None:
    np.savez(tmp_path / "t.npz", x=np.array([[1.0], [-999.0], [2.0]]), y=np.array([1.0, 2.0, -999.0]))
    with pytest.raises(InvalidInput, match=message):
        read_training_data(DataSpec(path="t.npz", missing=missing), PreprocessingSpec(), tmp_path)
