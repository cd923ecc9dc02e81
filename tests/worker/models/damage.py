"""Damaged copies of a model, a function of a seed: bits flipped, files cut, structure changed, digests made to fit."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from singlepoint.worker.models.files import document_digest

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 3, 5, 64, 2**16, 2**31 - 1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308,
    "", "x", "dense", "a\ud800", "lstm", "embedding", "conv2d", "flatten", "1",
    [], [1], [0, 0], [2**40], {}, {"type": "dense", "units": 3}, {"type": "gelu"},
)  # fmt: skip


def damaged_copies(sound: Path, folder: Path, *, count: int, seed: int) -> Iterator[Path]:
    """`count` times: write a damaged model into `folder` and give its path. Each is overwritten by the next."""
    folder.mkdir(parents=True, exist_ok=True)
    document, weights = (sound / "model.json").read_bytes(), (sound / "model.safetensors").read_bytes()
    draw = random.Random(seed)
    for _ in range(count):
        text, body = draw.choice(KINDS)(draw, document, weights)
        (folder / "model.json").write_bytes(text)
        (folder / "model.safetensors").write_bytes(body)
        yield folder


def flipped(draw: random.Random, text: bytes, body: bytes) -> tuple[bytes, bytes]:
    """A few bytes anywhere, in either file."""
    if draw.random() < 0.5:
        return _flip(draw, text), body
    return text, _flip(draw, body)


def cut(draw: random.Random, text: bytes, body: bytes) -> tuple[bytes, bytes]:
    """A piece left out or doubled."""
    data = text if (document := draw.random() < 0.5) else body
    start, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    data = data[:start] + (data[end:] if draw.random() < 0.5 else data[start:end] * 2 + data[end:])
    return (data, body) if document else (text, data)


def restructured(draw: random.Random, text: bytes, body: bytes) -> tuple[bytes, bytes]:
    """A few values of the document changed, left out or moved."""
    document = json.loads(text)
    for _ in range(draw.randint(1, 3)):
        _change(draw, document)
    return (_signed(document) if draw.random() < 0.9 else json.dumps(document).encode()), body


def rewritten_header(draw: random.Random, text: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The header of the weights changed, and the digest and size in the document made to fit."""
    size = int.from_bytes(body[:8], "little")
    header, values = json.loads(body[8 : 8 + size]), body[8 + size :]
    for _ in range(draw.randint(1, 3)):
        _change(draw, header)
    new = json.dumps(header).encode()
    told = len(new) if draw.random() < 0.8 else draw.choice([0, 1, 2**31, 2**63, 2**64 - 1, len(new) - 1])
    return _refitted(text, told.to_bytes(8, "little") + new + values)


def refitted(draw: random.Random, text: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Weights flipped or cut, and the digest and size made to fit."""
    _, body = draw.choice([flipped, cut])(draw, text, body)
    return _refitted(text, body)


KINDS = (flipped, cut, restructured, restructured, rewritten_header, refitted)


def _refitted(text: bytes, body: bytes) -> tuple[bytes, bytes]:
    document = json.loads(text)
    document["weights"] |= {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
    return _signed(document), body


def _signed(document: dict[str, Any]) -> bytes:
    return json.dumps({**document, "sha256": document_digest(document)}).encode()


def _flip(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _change(draw: random.Random, document: Any) -> None:
    """Change one value somewhere in a JSON document, in place."""
    places = list(_places(document))
    holder, key = draw.choice(places)
    kind = draw.random()
    if kind < 0.6:
        holder[key] = copy.deepcopy(draw.choice(VALUES))
    elif kind < 0.8:
        del holder[key]
    else:
        other, at = draw.choice(places)
        holder[key] = copy.deepcopy(other[at]) if not (isinstance(other, list) and at >= len(other)) else None


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    keys = document.keys() if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield document, key
        yield from _places(document[key])
