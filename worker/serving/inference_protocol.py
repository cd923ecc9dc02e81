"""The Open Inference Protocol, version 2, in JSON and with Triton's binary extension: bytes to tensors and back. Pure.

Sizes are settled in whole numbers before anything is made of them; nothing of a request is echoed in an error. What a
request says besides its numbers is its form. A client asks in one form again and again, so each is read once.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from math import prod
from types import NoneType
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from singlepoint.worker.models.predictor import Scores
from singlepoint.worker.nn.arrays import Array

from .signature import Refused, Signature, tensor

DATATYPES: Mapping[str, str] = {
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Besides BYTES, as numpy stores them."""

_KINDS = {name: np.dtype(kind) for name, kind in DATATYPES.items()}

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
class Given:
    """One input. size_bytes: of its values after the JSON; None when they are in it.  has_data: whether some are."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    count: int
    size_bytes: int | None
    has_data: bool


@dataclass(frozen=True)
class Form:
    """A request without its values. outputs: those asked for, in order; None for all.  binary: the default of all."""

    id: str | None = None
    inputs: tuple[Given, ...] = ()
    outputs: tuple[Wanted, ...] | None = None
    binary: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def nothing(self) -> Sequence[None] | None:
        """A None for each input, where none has data in the JSON."""
        return None if any(one.has_data for one in self.inputs) else (None,) * len(self.inputs)


def parse(body: bytes, json_bytes: int | None, signature: Signature) -> tuple[Form, Mapping[str, Array]]:
    """A request and its inputs by name. json_bytes: length of its JSON when tensors follow; 0: all of it is the one
    input. Raises Refused."""
    if json_bytes == 0:
        return Form(binary=True), {signature.inputs[0].name: _whole_body(body, signature)}
    if json_bytes is None:
        json_bytes = len(body)
    elif json_bytes > len(body):
        raise Refused(400, "Inference-Header-Content-Length is more than there is")
    form, data = _read(body[:json_bytes])
    inputs, begin = dict[str, Array](), json_bytes
    for one, values in zip(form.inputs, data, strict=True):
        if one.size_bytes is None:
            array = _from_json(values, one)
        else:
            end = begin + one.size_bytes
            array = _from_bytes(body[begin:end], one)
            begin = end
        inputs[one.name] = array.reshape(one.shape)
    if begin != len(body):
        raise Refused(400, "there are bytes that belong to no input, or too few")
    return form, inputs


MOST_FORM_BYTES = 2048
"""Longer forms are not kept."""


def _read(content: bytes) -> tuple[Form, Sequence[Any]]:
    """The form of a request, and what each input has as `data`."""
    if len(content) <= MOST_FORM_BYTES and b'"data"' not in content:
        form = _kept_form(content)
        if form.nothing is not None:
            return form, form.nothing
    begin, end = _listed(content)
    if end:
        rest = content[:begin] + b"[]" + content[end:]  # nothing can go on from there but the document
        # A name that is there once, and nowhere spelled with escapes, names what stood here or nothing.
        if len(rest) <= MOST_FORM_BYTES and rest.count(b'"data"') == 1 and b"\\" not in rest:
            try:
                form = _kept_form(rest)
                if len(form.inputs) == 1 and form.inputs[0].has_data:
                    return form, (from_json(content[begin:end]),)
            except (ValueError, Refused):
                pass  # what is wrong is told by the reading of all
    document = _document(content)
    form = _form(document)
    return form, [one.get("data") for one in document["inputs"]]


def _listed(content: bytes) -> tuple[int, int]:
    """Where the first list that is called data may lie: it has no text, and ends before its tensor. (0, 0): nowhere."""
    begin = content.find(b'"data":') + len(b'"data":')
    brace = content.find(b"}", begin)
    quote = content.find(b'"', begin, brace)
    end = content.rfind(b"]", begin, brace if quote < 0 else quote) + 1
    return (begin, end) if begin >= len(b'"data":') and brace >= 0 and end else (0, 0)


@lru_cache(maxsize=256)
def _kept_form(content: bytes) -> Form:
    return _form(_document(content))


def _form(document: dict[str, Any]) -> Form:
    listed = document.get("inputs")
    if not isinstance(listed, list) or not listed or len(listed) > MOST_INPUTS:
        raise Refused(400, "'inputs' must be a list of tensors")
    inputs = tuple(map(_given, listed))
    if len({one.name for one in inputs}) < len(inputs):
        raise Refused(400, "an input is named twice")
    parameters = _table(document.get("parameters", {}), "parameters")
    binary = parameters.get("binary_data_output") is True
    identity = document.get("id")
    if identity is not None and (not isinstance(identity, str) or len(identity) > 256):
        raise Refused(400, "'id' must be a short text")
    return Form(identity, inputs, _wanted(document.get("outputs"), binary), binary, parameters)


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


def _given(one: Any) -> Given:
    table = _table(one, "an input")
    name, datatype, shape = table.get("name"), table.get("datatype"), _shape(table.get("shape"))
    if not isinstance(name, str) or not isinstance(datatype, str) or datatype not in _IN_JSON:
        raise Refused(400, "an input must have a name and one of the protocol's datatypes")
    count = prod(shape)
    if count > MOST_VALUES:
        raise Refused(413, f"an input may have {MOST_VALUES} values")
    size = _table(table.get("parameters", {}), "parameters").get("binary_data_size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise Refused(400, "binary_data_size is not what is there")
    if size is None and datatype == "FP16":
        raise Refused(400, "FP16 has no form in JSON")
    return Given(name, datatype, shape, count, size, "data" in table)


def _shape(value: Any) -> tuple[int, ...]:
    whole = isinstance(value, list) and 0 < len(value) <= MOST_AXES
    if not whole or not all(isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0 for axis in value):
        raise Refused(400, "'shape' must be a list of whole numbers, none below 0")
    if max(value) > MOST_VALUES:
        raise Refused(413, f"an input may have {MOST_VALUES} values")
    return tuple(value)


def _from_json(data: Any, given: Given) -> Array:
    flat, kinds = _flat(data)
    if len(flat) != given.count:
        raise Refused(400, f"an input has {len(flat)} values where its shape says {given.count}")
    if not kinds <= _IN_JSON[given.datatype]:
        raise Refused(400, f"a value is no {given.datatype}")
    if given.datatype == "BYTES":
        return _objects(flat)
    try:
        return np.array(flat, _KINDS[given.datatype])
    except (OverflowError, ValueError, TypeError):
        raise Refused(400, f"a value is no {given.datatype}") from None


def _flat(data: Any) -> tuple[list[Any], set[type]]:
    """The values of a list, nested or not, in order; and their types."""
    for _ in range(MOST_AXES):
        if not isinstance(data, list):
            break
        kinds = set(map(type, data))
        if list not in kinds:
            return data, kinds
        if len(kinds) > 1:
            break
        data = list(chain.from_iterable(data))
    raise Refused(400, "'data' must be a list, nested as deep as the shape at most")


def _from_bytes(content: bytes, given: Given) -> Array:
    if given.datatype == "BYTES":
        return _texts(content, given.count)
    kind = _KINDS[given.datatype]
    if len(content) != given.count * kind.itemsize:
        raise Refused(400, "an input has more or fewer bytes than its shape says")
    if given.datatype == "BOOL" and content.strip(b"\0\1"):
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


def answer(form: Form, name: str, version: int, signature: Signature, scores: Scores) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON when tensors follow it. Raises Refused for a strange output."""
    there = signature.output_names
    wanted = form.outputs or tuple(Wanted(one, form.binary) for one in there)
    told: list[Told] = []
    data: list[list[Any] | None] = []
    after: list[bytes] = []
    for one in wanted:
        if one.name not in there:
            raise Refused(422, f"there is no output '{one.name[:100]}'; there are {', '.join(there)}")
        values = tensor(scores, one.name)
        size = None
        if one.binary:
            after.append(_bytes_of(values))
            size = len(after[-1])
        told.append((one.name, values.dtype.char, values.shape, size))
        data.append(None if one.binary else values.ravel().tolist())
    if len(told) == len(after) <= MOST_KEPT_OUTPUTS:
        content = _kept_head(name, version, form.id, *told)
    else:
        content = _head(name, version, form.id, told, data)
    if not after:
        return content, None
    return b"".join((content, *after)), len(content)


Told = tuple[str, str, tuple[int, ...], int | None]
"""Of an output: its name, numpy's letter for its type, shape, and size in bytes where it follows the JSON."""


MOST_KEPT_OUTPUTS = 8
"""What is told of more is not kept: a request may ask for thousands."""


@lru_cache(maxsize=256)
def _kept_head(name: str, version: int, identity: str | None, *told: Told) -> bytes:
    """The JSON of an answer without a number in it."""
    return _head(name, version, identity, told, [None] * len(told))


def _head(
    name: str, version: int, identity: str | None, told: Sequence[Told], data: Sequence[list[Any] | None]
) -> bytes:
    outputs = []
    for (one, kind, shape, size), values in zip(told, data, strict=True):
        about = {"parameters": {"binary_data_size": size}} if values is None else {"data": values}
        outputs.append({"name": one, "datatype": _DATATYPE[kind], "shape": shape, **about})
    head: dict[str, Any] = {"model_name": name, "model_version": str(version), "outputs": outputs}
    if identity is not None:
        head["id"] = identity
    return to_json(head)


_DATATYPE = {"O": "BYTES", "f": "FP32", "d": "FP64"}


def _bytes_of(values: Array) -> bytes:
    if values.dtype.char != "O":
        return (values if sys.byteorder == "little" else values.byteswap()).tobytes()
    encoded = [str(value).encode() for value in values]
    return b"".join(struct.pack("<I", len(one)) + one for one in encoded)
