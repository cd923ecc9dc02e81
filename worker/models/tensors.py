"""The safetensors format: eight bytes of header size, a JSON header, then the values of every tensor.

Values are little-endian and in C order, end to end, without overlap or hole. Whole tensors are never copied: `write`
and `read` go block by block between the file and whatever views the caller has. `read_header` believes nothing: what
it returns fits exactly into the bytes that are there, so whoever allocates by it allocates no more than that.
Source: github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from typing import Any, BinaryIO

import numpy as np

from singlepoint.worker.nn.arrays import Array, blocks

BLOCK_BYTES = 2**20
HEADER_LIMIT_BYTES = 100 * 2**20  # the format's own limit
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}

_SIZE_BYTES = 8

Notice = Callable[[Any], object]
"""Called with every run of bytes as it passes, to hash it."""


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor's values are, in bytes from the end of the header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a file says of itself. body: where its values begin, in bytes."""

    places: Mapping[str, TensorPlace]
    metadata: Mapping[str, str]
    body: int


def write(file: BinaryIO, tensors: Mapping[str, Array], metadata: Mapping[str, str], notice: Notice) -> int:
    """Write a whole file, and answer its size in bytes. The same tensors and metadata give the same bytes."""
    start = header_bytes(tensors, metadata)
    notice(start)
    size_bytes = file.write(start)
    for tensor in tensors.values():
        for block in blocks(tensor, BLOCK_BYTES // tensor.itemsize, "readonly"):
            notice(block)
            size_bytes += file.write(block.data)
    return size_bytes


def header_bytes(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """All that comes before the values."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for name, tensor in tensors.items():
        kind = next(kind for kind, dtype in DTYPES.items() if dtype == tensor.dtype)
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, start + tensor.nbytes]}
        start += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the values begin at a multiple of 8
    return len(text).to_bytes(_SIZE_BYTES, "little") + text


def read_header(file: BufferedReader, notice: Notice) -> Header:
    """Read what comes before the values, from the start of an open file.

    Raises ValueError unless it describes every byte of the file exactly once.
    """
    file_bytes = os.fstat(file.fileno()).st_size
    start = file.read(_SIZE_BYTES)
    size = int.from_bytes(start, "little")
    if len(start) < _SIZE_BYTES or size > min(HEADER_LIMIT_BYTES, file_bytes - _SIZE_BYTES):
        raise ValueError(f"the header cannot have {size} bytes in a file of {file_bytes}")
    text = file.read(size)
    notice(start)
    notice(text)
    body = _SIZE_BYTES + size
    return Header(*parse_header(text, file_bytes - body), body)


def read(file: BufferedReader, tensor: Array, notice: Notice) -> None:
    """Fill a tensor, whatever its layout, from where the file stands. Raises ValueError when the file ends early."""
    for block in blocks(tensor, BLOCK_BYTES // tensor.itemsize, "writeonly"):
        if block.size and file.readinto(block.data) != block.nbytes:
            raise ValueError("the file ends early")
        notice(block)


def skim(file: BufferedReader, notice: Notice) -> None:
    """Read the rest of a file without keeping any of it."""
    block = bytearray(BLOCK_BYTES)
    while count := file.readinto(block):
        notice(memoryview(block)[:count])


def parse_header(text: bytes, body_bytes: int) -> tuple[dict[str, TensorPlace], dict[str, str]]:
    """Tensors by name, and the metadata.

    body_bytes: how many bytes follow the header.
    Raises ValueError unless the header describes every one of them exactly once.
    """
    header = strict_json(text)
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ must map names to text")
    places = {name: _place(name, entry) for name, entry in header.items()}
    expected = 0
    for name, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].end)):
        if place.start != expected:
            raise ValueError(f"tensor {name!r} begins at byte {place.start}, not {expected}: an overlap or a hole")
        expected = place.end
    if expected != body_bytes:
        raise ValueError(f"the tensors take {expected} bytes, but {body_bytes} follow the header")
    return places, metadata


def strict_json(text: bytes) -> Any:
    """JSON without what the standard leaves out: no duplicate key, NaN or endless nesting. Raises ValueError."""
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _place(name: str, entry: Any) -> TensorPlace:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"tensor {name!r} has an unknown dtype")
    if not _whole(shape) or len(shape) > 8 or not _whole(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has an impossible shape or place")
    size_bytes = prod(shape) * DTYPES[dtype].itemsize
    if offsets[1] - offsets[0] != size_bytes:
        raise ValueError(f"tensor {name!r} of shape {shape} needs {size_bytes} bytes, it has {offsets}")
    return TensorPlace(DTYPES[dtype], tuple(shape), offsets[0], offsets[1])


def _whole(values: Any) -> bool:
    """Whether it is a list of whole numbers that fit in 63 bits (bool is none)."""
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice in the JSON")
    return table


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
