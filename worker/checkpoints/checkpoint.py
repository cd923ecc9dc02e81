"""Checkpoints: one safetensors file each, complete or not there.

A file holds one flat vector `state` (parameters, buffers, optimiser slots) and, as strings in its metadata,
the counters that go with it and what they belong to. It is written under a temporary name in the same
directory, fsynced, renamed while the job's history lock is held (so an attempt that is no longer the newest
cannot publish one), and read back before an older one is dropped; two are kept. `newest_sound` takes the newest
that is whole and belongs to this job, and sets damaged ones aside under `damaged-…`, never failing for them.

The name carries the step and the attempt: `<step>-<attempt>.safetensors`.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.errors import StorageFull
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.store.durable import Fence, put_in_place
from singlepoint.jobs.store.job_files import DAMAGED, CheckpointName

Vector = npt.NDArray[Any]

KEPT = 2
FORMAT = "1"
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_HEADER_LIMIT_BYTES = 100 * 2**20


@dataclass(frozen=True)
class Counters:
    """What a checkpoint says besides the vector.

    step: optimiser steps done (or tiles, for a prediction).  identity: what the state belongs to (spec, data,
    shapes): a checkpoint of another identity is not loaded.  environment: what computed it, for
    `bit_identical`.  trainer: the trainer's own counters.
    """

    step: int
    attempt: int
    identity: str
    environment: Mapping[str, Any]
    trainer: Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A sound checkpoint in memory."""

    path: Path
    counters: Counters
    vector: Vector


@dataclass(frozen=True)
class Damage:
    """Why a file was set aside."""

    path: Path
    problem: str


class Damaged(Exception):
    """The file is not a whole checkpoint."""


def encode_header(counters: Counters, vector: Vector, crc: int) -> bytes:
    """The bytes before the vector's own: header size, then the header, padded to 8 bytes."""
    kind = next(name for name, dtype in _DTYPES.items() if dtype == vector.dtype)
    header = {
        "__metadata__": {
            "format": FORMAT,
            "step": str(counters.step),
            "attempt": str(counters.attempt),
            "identity": counters.identity,
            "environment": json.dumps(counters.environment, sort_keys=True),
            "trainer": json.dumps(counters.trainer),
            "crc32": str(crc),
        },
        "state": {"dtype": kind, "shape": list(vector.shape), "data_offsets": [0, vector.nbytes]},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def save(directory: Path, counters: Counters, vector: Vector, *, fence: Fence) -> Path:
    """Write a checkpoint durably, read it back, and drop all but the newest two.

    Raises Superseded from the fence, StorageFull when the disk is full; then nothing is left behind.
    """
    try:
        return _save(directory, counters, vector, fence)
    except StorageFull:
        if not _make_room(directory):
            raise
        return _save(directory, counters, vector, fence)


def _make_room(directory: Path) -> bool:
    """On a disk that is full: keep the newest checkpoint, if it is sound, and drop the others; False for none."""
    newest, older = in_order(directory)[:1], in_order(directory)[1:]
    if not older:
        return False
    try:
        read(newest[0])
    except (Damaged, OSError):
        return False
    for path in older:
        path.unlink(missing_ok=True)
    return True


def _save(directory: Path, counters: Counters, vector: Vector, fence: Fence) -> Path:
    final = directory / str(CheckpointName(counters.step, counters.attempt))
    body = np.ascontiguousarray(vector).view(np.uint8).data
    with put_in_place(final, point="checkpoint", fence=fence) as file:
        reach("checkpoint.write")
        file.write(encode_header(counters, vector, zlib.crc32(body)))
        file.write(body)
    read(final)  # what cannot be read back must not cost us an older one
    _drop_older(directory)
    return final


def read(path: Path) -> Checkpoint:
    """The checkpoint at `path`; raises Damaged for anything that is not whole.

    Sizes are checked against the file before memory is taken for them.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(_HEADER_LIMIT_BYTES, size - 8):
            raise Damaged(f"the header says {length} bytes, the file has {size}")
        try:
            header = json.loads(file.read(length))
            metadata, state = header["__metadata__"], header["state"]
            dtype, (count,), offsets = _DTYPES[state["dtype"]], state["shape"], state["data_offsets"]
            counters = Counters(
                step=int(metadata["step"]),
                attempt=int(metadata["attempt"]),
                identity=metadata["identity"],
                environment=json.loads(metadata["environment"]),
                trainer=json.loads(metadata["trainer"]),
            )
            crc = int(metadata["crc32"])
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"the header cannot be read: {error}") from error
        if metadata.get("format") != FORMAT:
            raise Damaged(f"format {metadata.get('format')}, this version reads {FORMAT}")
        if type(count) is not int or count < 0 or offsets != [0, count * dtype.itemsize]:
            raise Damaged(f"shape {state['shape']} does not match offsets {offsets}")
        if size != 8 + length + count * dtype.itemsize:
            raise Damaged(f"the file has {size} bytes, its header tells of {8 + length + count * dtype.itemsize}")
        vector = np.empty(count, dtype)
        body = vector.view(np.uint8).data
        if count and file.readinto(body) != count * dtype.itemsize:
            raise Damaged("the file ends early")
    if zlib.crc32(body) != crc:
        raise Damaged("the checksum does not match the content")
    return Checkpoint(path, counters, vector)


def in_order(directory: Path) -> list[Path]:
    """The checkpoints of a directory, newest (furthest step, then newest attempt) first."""
    if not directory.is_dir():
        return []
    named = ((CheckpointName.parse(entry.name), Path(entry.path)) for entry in os.scandir(directory))
    keyed = [(name.step, name.attempt, path) for name, path in named if name]
    return [path for _, _, path in sorted(keyed, reverse=True)]


def name_of(path: Path) -> CheckpointName:
    """What the name of one of `in_order` tells."""
    name = CheckpointName.parse(path.name)
    assert name is not None, path
    return name


def set_aside(directory: Path) -> list[Path]:
    """The damaged files of a directory."""
    return sorted(directory.glob(f"{DAMAGED}*"))


def newest_sound(directory: Path, identity: str, *, fresh_after: int = 0) -> tuple[Checkpoint | None, list[Damage]]:
    """The newest whole checkpoint of this identity, and the files that were set aside on the way.

    fresh_after: checkpoints of attempts up to this number are not wanted any more and are removed.
    """
    damages: list[Damage] = []
    for path in in_order(directory):
        if name_of(path).attempt <= fresh_after:
            path.unlink(missing_ok=True)
            continue
        try:
            checkpoint = read(path)
            if checkpoint.counters.identity != identity:
                raise Damaged("it belongs to another spec, other data or another shape")
        except (Damaged, OSError) as problem:
            damages.append(Damage(path, str(problem)))
            with contextlib.suppress(OSError):
                path.rename(path.with_name(f"{DAMAGED}{path.name}"))
            continue
        return checkpoint, damages
    return None, damages


def _drop_older(directory: Path) -> None:
    for path in in_order(directory)[KEPT:]:
        with contextlib.suppress(OSError):
            path.unlink()
