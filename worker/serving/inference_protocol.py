"""The Open Inference Protocol, version 2, in JSON and with Triton's binary extension: bytes to tensors and back. Pure.

Sizes are settled in whole numbers before anything is made of them; nothing of a request is echoed in an error.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from singlepoint.worker.nn.arrays import Array

from .signature import Refused, Signature

DATATYPES: Mapping[str, str] = {
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Besides BYTES, as numpy stores them."""

_IN_JSON: Mapping[str, frozenset[type]] = {
    **{name: frozenset({int, float, NoneType} if name.startswith("FP") else {int}) for name in DATATYPES},
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
}
"""What values of a datatype may be in JSON. null: no value, as NaN."""

MOST_VALUES = 2**24
MOST_INPUTS = 4096
MOST_AXES = 8


@dataclass(frozen=True)
class Wanted:
    """One output that was asked for, and whether as bytes after the JSON."""

    name: str
    binary: bool


@dataclass(frozen=True)
class Request:
    """inputs: by name.  outputs: those asked for, in order; None for all.  binary: the default of all outputs."""

    id: str | None
    inputs: Mapping[str, Array]
    outputs: tuple[Wanted, ...] | None = None
    binary: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


def parse(body: bytes, json_bytes: int | None, signature: Signature) -> Request:
    """A request. json_bytes: length of its JSON when tensors follow; 0: all of it is the one input. Raises Refused."""
    if json_bytes == 0:
        return Request(None, {signature.inputs[0].name: _whole_body(body, signature)}, binary=True)
    if json_bytes is not None and json_bytes > len(body):
        raise Refused(400, "Inference-Header-Content-Length is more than there is")
    head = _document(body if json_bytes is None else body[:json_bytes])
    rest = _Rest(b"" if json_bytes is None else body[json_bytes:])
    listed = head.get("inputs")
    if not isinstance(listed, list) or not listed or len(listed) > MOST_INPUTS:
        raise Refused(400, "'inputs' must be a list of tensors")
    inputs: dict[str, Array] = {}
    for one in listed:
        name, values = _input(one, rest)
        if name in inputs:
            raise Refused(400, "an input is named twice")
        inputs[name] = values
    if rest.left:
        raise Refused(400, "there are bytes that belong to no input")
    parameters = _table(head.get("parameters", {}), "parameters")
    binary = parameters.get("binary_data_output") is True
    identity = head.get("id")
    if identity is not None and (not isinstance(identity, str) or len(identity) > 256):
        raise Refused(400, "'id' must be a short text")
    return Request(identity, inputs, _wanted(head.get("outputs"), binary), binary, parameters)


def _document(content: bytes) -> dict[str, Any]:
    try:
        return _table(from_json(content), "the request")
    except ValueError:
        raise Refused(400, "the request is not valid JSON") from None


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(400, f"{name} must be an object")
    return value


def _wanted(listed: Any, binary: bool) -> tuple[Wanted, ...] | None:
    if listed is None or listed == []:
        return None
    if not isinstance(listed, list) or len(listed) > MOST_INPUTS:
        raise Refused(400, "'outputs' must be a list")
    found = []
    for one in listed:
        table = _table(one, "an output")
        told = _table(table.get("parameters", {}), "parameters").get("binary_data", binary)
        if not isinstance(table.get("name"), str) or not isinstance(told, bool):
            raise Refused(400, "an output must have a name")
        found.append(Wanted(table["name"], told))
    return tuple(found)


class _Rest:
    """The bytes after the JSON, taken in the order of the inputs."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._taken = 0

    @property
    def left(self) -> int:
        return len(self._content) - self._taken

    def take(self, size: Any) -> bytes:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= self.left:
            raise Refused(400, "binary_data_size is not what is there")
        self._taken += size
        return self._content[self._taken - size : self._taken]


def _input(one: Any, rest: _Rest) -> tuple[str, Array]:
    table = _table(one, "an input")
    name, datatype, shape = table.get("name"), table.get("datatype"), _shape(table.get("shape"))
    if not isinstance(name, str) or (datatype != "BYTES" and datatype not in DATATYPES):
        raise Refused(400, "an input must have a name and one of the protocol's datatypes")
    count = 1
    for axis in shape:
        count *= axis
    if count > MOST_VALUES:
        raise Refused(413, f"an input may have {MOST_VALUES} values")
    size = _table(table.get("parameters", {}), "parameters").get("binary_data_size")
    if size is not None:
        return name, _from_bytes(rest.take(size), str(datatype), count).reshape(shape)
    if datatype == "FP16":
        raise Refused(400, "FP16 has no form in JSON")
    return name, _from_json(table.get("data"), str(datatype), count).reshape(shape)


def _shape(value: Any) -> tuple[int, ...]:
    whole = isinstance(value, list) and 0 < len(value) <= MOST_AXES
    if not whole or not all(isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0 for axis in value):
        raise Refused(400, "'shape' must be a list of whole numbers, none below 0")
    return tuple(value)


def _from_json(data: Any, datatype: str, count: int) -> Array:
    flat = _flat(data)
    if len(flat) != count:
        raise Refused(400, f"an input has {len(flat)} values where its shape says {count}")
    if not set(map(type, flat)) <= _IN_JSON[datatype]:
        raise Refused(400, f"a value is no {datatype}")
    if datatype == "BYTES":
        return _objects(flat)
    try:
        return np.array(flat, DATATYPES[datatype])
    except (OverflowError, ValueError, TypeError):
        raise Refused(400, f"a value is no {datatype}") from None


def _flat(data: Any) -> list[Any]:
    """The values of a list, nested or not, in order."""
    for _ in range(MOST_AXES):
        if not isinstance(data, list):
            break
        kinds = set(map(type, data))
        if list not in kinds:
            return data
        if len(kinds) > 1:
            break
        data = list(chain.from_iterable(data))
    raise Refused(400, "'data' must be a list, nested as deep as the shape at most")


def _from_bytes(content: bytes, datatype: str, count: int) -> Array:
    if datatype == "BYTES":
        return _texts(content, count)
    kind = np.dtype(DATATYPES[datatype])
    if len(content) != count * kind.itemsize:
        raise Refused(400, "an input has more or fewer bytes than its shape says")
    if datatype == "BOOL" and content.strip(b"\0\1"):
        raise Refused(400, "a BOOL must be 0 or 1")
    return np.frombuffer(content, kind)


def _texts(content: bytes, count: int) -> Array:
    found: list[str] = []
    place = 0
    while place < len(content):
        if len(content) - place < 4 or len(found) == count:
            raise Refused(400, "BYTES has more or fewer elements than its shape says")
        [size] = struct.unpack_from("<I", content, place)
        place += 4 + size
        if place > len(content):
            raise Refused(400, "an element of BYTES ends before its length")
        try:
            found.append(content[place - size : place].decode())
        except UnicodeDecodeError:
            raise Refused(422, "an element of BYTES is no UTF-8") from None
    if len(found) != count:
        raise Refused(400, "BYTES has more or fewer elements than its shape says")
    return _objects(found)


def _objects(values: Sequence[str]) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _whole_body(body: bytes, signature: Signature) -> Array:
    """A body that is nothing but the one input."""
    [wanted] = signature.inputs if signature.is_whole else [None]
    if wanted is None:
        raise Refused(400, "only a model with one input takes a body of nothing but bytes")
    row_bytes = 4 * int(np.prod(wanted.shape[1:]))
    if len(body) % row_bytes:
        raise Refused(400, "the body is not a whole number of rows")
    return np.frombuffer(body, "<f4").reshape(-1, *wanted.shape[1:])


# ---- answers -----------------------------------------------------------------------------------------------


def answer(request: Request, name: str, version: str, outputs: Mapping[str, Array]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON when tensors follow it. Raises Refused for a strange output."""
    wanted = request.outputs or tuple(Wanted(one, request.binary) for one in outputs)
    if strange := [one.name for one in wanted if one.name not in outputs]:
        raise Refused(422, f"there is no output '{strange[0][:100]}'; there are {', '.join(outputs)}")
    listed, after = [], []
    for one in wanted:
        values = outputs[one.name]
        told: dict[str, Any] = {"name": one.name, "datatype": _datatype(values), "shape": list(values.shape)}
        if one.binary:
            content = _bytes_of(values)
            after.append(content)
            told["parameters"] = {"binary_data_size": len(content)}
        else:
            told["data"] = values.ravel().tolist()
        listed.append(told)
    head: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": listed}
    if request.id is not None:
        head["id"] = request.id
    content = to_json(head)
    return b"".join([content, *after]), len(content) if after else None


def _datatype(values: Array) -> str:
    return "BYTES" if values.dtype == object else f"FP{8 * values.dtype.itemsize}"


def _bytes_of(values: Array) -> bytes:
    if values.dtype != object:
        return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    encoded = [str(value).encode() for value in values]
    return b"".join(struct.pack("<I", len(one)) + one for one in encoded)
