"""Files that hold one array: .npy, members of an .npz, and idx (the format of MNIST), plain or gzip.

A header is believed only as far as the bytes that are there: sizes are checked before anything is allocated, and
an array of Python objects (a pickle) is refused unread. Plain .npy and idx files are memory-mapped.
"""

from __future__ import annotations

import gzip
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.nn.arrays import Array

from .cells import NoValue
from .streams import PACKED, open_bytes, unpacked_name
from .tile import Cursor, Piece, Tile, unreadable

_IDX_NAME = re.compile(r"(\.idx|-idx\d-[a-z]+|-ubyte)$")
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_TROUBLE = (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile, struct.error, NotImplementedError)
_READ_BYTES = 1 << 24
_DEFLATE_RATIO = 1032  # the most that it can unpack from one byte
_ZSTD_RATIO = 1 << 15  # a block of 4 bytes may stand for 128 KiB of one value
_PICKLED = "it holds Python objects (a pickle), which are never loaded"
_MEMBER = re.compile(r"(.+\.npz)\[([^\[\]]+)\]")


def member_of(path: Path) -> tuple[Path, str | None]:
    """The file and the array meant by `mnist.npz[x_train]`; None where no array is named."""
    found = _MEMBER.fullmatch(str(path))
    return (Path(found[1]), found[2]) if found else (path, None)


def is_idx(path: Path) -> bool:
    """Whether the name is that of an idx file."""
    return bool(_IDX_NAME.search(path.name.removesuffix(".gz")))


@dataclass(frozen=True)
class ArrayFile:
    """An array in a file: its header, read and checked; its values, not yet.

    open: gives the bytes from the first value on; None when `mapped` holds the array already.
    no_value: which numbers of each column mean "no value" to a model that learned from a table; NaN in the tiles.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    open: Callable[[], IO[bytes]] | None = None
    mapped: Array | None = None
    no_value: tuple[NoValue, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """None have names."""
        return ()

    def as_column(self) -> ArrayFile:
        """An array (n,) as one of shape (n, 1)."""
        return replace(self, shape=(*self.shape, 1), mapped=None if self.mapped is None else self.mapped[:, None])

    def with_gaps(self, no_value: tuple[NoValue, ...]) -> ArrayFile:
        """An array (n, columns) in whose tiles these numbers are none."""
        return replace(self, no_value=no_value)

    def read(self, rows: int | None = None) -> Array:
        """All rows, or the first few: a memory map, or an array of the machine's byte order."""
        wanted = self.shape[0] if rows is None else min(rows, self.shape[0])
        if self.mapped is not None:
            return self.mapped[:wanted]
        out = np.empty((wanted, *self.shape[1:]), self.dtype)
        assert self.open is not None
        with self.open() as file:
            self._fill(file, out)
        return _native(out)

    def pieces(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Piece]:
        """See `RowSource`; of a mapped array without content."""
        row = (cursor or {"row": 0})["row"]
        starts = range(row, self.shape[0], tile_rows)
        if self.mapped is not None:
            for start in starts:
                yield self._piece(start, min(tile_rows, self.shape[0] - start), b"")
            return
        assert self.open is not None
        with self.open() as file:
            self._skip(file, row)
            for start in starts:
                rows = np.empty((min(tile_rows, self.shape[0] - start), *self.shape[1:]), self.dtype)
                self._fill(file, rows)
                yield self._piece(start, len(rows), rows.reshape(-1).view(np.uint8).data)

    def parse(self, piece: Piece, /) -> Tile:
        """See `RowSource`."""
        if self.mapped is not None:
            rows = np.array(self.mapped[piece.first_row : piece.first_row + piece.rows])
        else:
            rows = np.frombuffer(piece.content, self.dtype).reshape(piece.rows, *self.shape[1:])
        rows = _native(rows)
        if self.no_value:
            columns = zip(self.no_value, rows.T, strict=True)
            rows = np.stack([no_value.taken_out(column) for no_value, column in columns], axis=1)
        return Tile(rows, piece.rows, piece.first_row, piece.cursor)

    def tiles(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Tile]:
        """See `RowSource`."""
        return map(self.parse, self.pieces(cursor, tile_rows))

    @staticmethod
    def _piece(start: int, rows: int, content: bytes | memoryview) -> Piece:
        return Piece(start, rows, {"row": start + rows}, content)

    def _fill(self, file: IO[bytes], out: Array) -> None:
        """Read straight into an array, in pieces: readers of packed files would copy the whole otherwise."""
        place = out.reshape(-1).view(np.uint8)
        try:
            done = 0
            while done < len(place):
                piece = file.read(min(_READ_BYTES, len(place) - done))
                if not piece:
                    raise EOFError(f"ends after {done} bytes of '{self.name}' instead of {len(place)}")
                place[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
                done += len(piece)
        except _TROUBLE as error:
            raise unreadable(self.path, error) from None

    def _skip(self, file: IO[bytes], rows: int) -> None:
        left = rows * prod(self.shape[1:]) * self.dtype.itemsize
        try:
            while left > 0:
                piece = len(file.read(min(_READ_BYTES, left)))
                if not piece:
                    raise EOFError(f"has no row {rows}")
                left -= piece
        except _TROUBLE as error:
            raise unreadable(self.path, error) from None


def open_array(path: Path, name: str = "x") -> ArrayFile:
    """The array in a .npy or idx file, or in an .npz the member that the path names, else `name`.

    Raises InvalidInput: damaged, no such member, an array of objects, of a type that is neither number nor text,
    without a row or a value.
    """
    path, member = member_of(path)
    try:
        if path.suffix == ".npz":
            found = _open_member(path, member or name)
        elif path.suffix in PACKED and not is_idx(path):
            found = _open_packed_npy(path)
        elif is_idx(path):
            found = _open_idx(path)
        else:
            found = _open_npy(path)
    except InvalidInput:
        raise
    except _TROUBLE as error:
        hint = "save plain numbers, such as x.astype(float), with numpy.save" if str(error) == _PICKLED else ""
        raise unreadable(path, f"cannot be read: {error}", hint) from None
    return _sound(found)


def _sound(found: ArrayFile) -> ArrayFile:
    if found.dtype.kind not in "biufU":
        raise unreadable(found.path, f"'{found.name}' has values of type {found.dtype}", "numbers or text are needed")
    if not found.shape or 0 in found.shape:
        raise unreadable(found.path, f"'{found.name}' has shape {found.shape}: there is no row or no value in it")
    return found


def _native(values: Array) -> Array:
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def _open_npy(path: Path) -> ArrayFile:
    with path.open("rb") as file:
        shape, dtype, _ = _npy_header(file)
        _check_size(prod(shape) * dtype.itemsize, path.stat().st_size - file.tell())
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(mapped, np.memmap):
        raise ValueError("not a .npy file")
    return ArrayFile(path, path.stem, mapped.shape, mapped.dtype, mapped=mapped)


def _open_member(path: Path, name: str) -> ArrayFile:
    member = f"{name}.npy"
    with zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            there = ", ".join(f"'{n.removesuffix('.npy')}'" for n in archive.namelist()) or "none"
            raise unreadable(path, f"has no array '{name}'; there are: {there}", f"name it: {path.name}[NAME]")
        info = archive.getinfo(member)
        with archive.open(member) as file:
            shape, dtype, fortran = _npy_header(file)
            size_bytes = info.file_size - file.tell()
    _check_size(info.file_size, info.compress_size, _DEFLATE_RATIO)

    def start() -> IO[bytes]:
        file = zipfile.ZipFile(path).open(member)  # noqa: SIM115 - the caller closes it
        _npy_header(file)
        return file

    found = _measured(ArrayFile(path, name, shape, dtype, open=start), size_bytes)
    return _by_rows(found) if fortran else found


def _open_packed_npy(path: Path) -> ArrayFile:
    with open_bytes(path) as file:
        shape, dtype, fortran = _npy_header(file)

    def start() -> IO[bytes]:
        file = open_bytes(path)
        _npy_header(file)
        return file

    ratio = _DEFLATE_RATIO if path.suffix == ".gz" else _ZSTD_RATIO
    _check_size(prod(shape) * dtype.itemsize, path.stat().st_size, ratio)
    found = ArrayFile(path, unpacked_name(path).stem, shape, dtype, open=start)
    return _by_rows(found) if fortran else found


def _check_size(size_bytes: int, there_bytes: int, ratio: int = 1) -> None:
    """A header is not believed when it promises more than the bytes that are there can hold.

    ratio: how many bytes each of them may stand for.
    """
    if size_bytes > there_bytes * ratio:
        raise ValueError(f"its header promises {size_bytes} bytes, more than the file can hold")


def _by_rows(found: ArrayFile) -> ArrayFile:
    """A packed array that is stored column by column, read whole: no row of it ends before the last value."""
    columns = replace(found, shape=found.shape[::-1]).read()
    return replace(found, open=None, mapped=np.ascontiguousarray(columns.T), dtype=columns.dtype)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, type of the values, and whether they are stored column by column."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(_PICKLED)
    if any(length < 0 for length in shape):
        raise ValueError(f"its header says that it has shape {shape}")
    return shape, dtype, fortran and len(shape) > 1


def _open_idx(path: Path) -> ArrayFile:
    packed = path.suffix == ".gz"

    def start() -> IO[bytes]:
        file: IO[bytes] = gzip.open(path) if packed else path.open("rb")  # type: ignore[assignment]  # noqa: SIM115
        file.read(header_bytes)
        return file

    header_bytes = 0
    with start() as file:
        zeros, kind, axes = struct.unpack(">HBB", file.read(4))
        if zeros or kind not in _IDX_TYPES or not axes:
            raise ValueError("not an idx file")
        shape = struct.unpack(f">{axes}I", file.read(4 * axes))
    header_bytes = 4 + 4 * axes
    dtype = np.dtype(_IDX_TYPES[kind])
    if packed:
        _check_size(prod(shape) * dtype.itemsize, path.stat().st_size, _DEFLATE_RATIO)
        return ArrayFile(path, path.stem, shape, dtype, open=start)
    _measured(ArrayFile(path, path.stem, shape, dtype), path.stat().st_size - header_bytes)
    mapped = np.memmap(path, dtype, mode="r", offset=header_bytes, shape=shape)
    return ArrayFile(path, path.stem, shape, dtype, mapped=mapped)


def _measured(found: ArrayFile, size_bytes: int) -> ArrayFile:
    expected = prod(found.shape) * found.dtype.itemsize
    if expected != size_bytes:
        raise ValueError(f"'{found.name}' should have {expected} bytes of values, but there are {size_bytes}")
    return found
