"""Checkpoints: one safetensors file each, complete or not there.

A file holds one flat vector `state` (parameters, buffers, optimiser slots) and, as strings in its metadata,
the counters that go with it and what they belong to. It is written under a temporary name in the same
directory, fsynced, renamed while the job's history lock is held (so an attempt that is no longer the newest
cannot publish one), and read back before an older one is dropped; two are kept. `newest_sound` takes the newest
that is whole and belongs to this job, and sets damaged ones aside under `damaged-…`, never failing for them.
Writing, verifying and reading go block by block: none takes memory for a second vector.

The name carries the step and the attempt: `<step>-<attempt>.safetensors`.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singlepoint.jobs import documents
from singlepoint.jobs.errors import StorageFull
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.regular_files import regular
from singlepoint.jobs.store.durable import Fence, is_exhausted, put_in_place
from singlepoint.jobs.store.job_files import DAMAGED, CheckpointName
from singlepoint.worker.models import tensors
from singlepoint.worker.nn.arrays import Array

KEPT = 2
FORMAT = "1"
_STATE = "state"


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
    """A sound checkpoint on disk.  place: of its vector."""

    path: Path
    counters: Counters
    place: tensors.TensorPlace
    crc32: int

    def read_into(self, parts: Sequence[Array]) -> None:
        """Fill the parts of a state, one after another, with the vector.

        Raises Damaged when the file is not what it was any more, ValueError when the parts are not of its size or type.
        """
        if self.place.shape != (sum(part.size for part in parts),) or {p.dtype for p in parts} != {self.place.dtype}:
            raise ValueError(f"{self.path.name} holds {self.place.dtype} {self.place.shape}, not the state asked for")
        crc = _Crc()
        with open(self.path, "rb", opener=regular) as file:
            try:
                tensors.read_header(file, _ignore)
                for part in parts:
                    tensors.read(file, part, crc.add)
            except ValueError as error:
                raise Damaged(str(error)) from error
        if crc.value != self.crc32:
            raise Damaged("the checksum does not match the content")


@dataclass(frozen=True)
class Damage:
    """Why a file was set aside."""

    path: Path
    problem: str


class Damaged(Exception):
    """The file is not a whole checkpoint."""


class _Crc:
    """The CRC-32 of all that was added."""

    value = 0

    def add(self, content: Any) -> None:
        self.value = zlib.crc32(content, self.value)


def _ignore(_content: Any) -> None:
    return


def save(directory: Path, counters: Counters, vector: Array, *, fence: Fence) -> Path:
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
        verified(newest[0])
    except (Damaged, OSError):
        return False
    for path in older:
        path.unlink(missing_ok=True)
    return True


def _save(directory: Path, counters: Counters, vector: Array, fence: Fence) -> Path:
    final = directory / str(CheckpointName(counters.step, counters.attempt))
    metadata = {
        "format": FORMAT,
        "step": str(counters.step),
        "attempt": str(counters.attempt),
        "identity": counters.identity,
        "environment": json.dumps(counters.environment, sort_keys=True),
        "trainer": json.dumps(counters.trainer),
        "crc32": str(zlib.crc32(vector.data)),
    }
    with put_in_place(final, point="checkpoint", fence=fence) as file:
        reach("checkpoint.write")
        tensors.write(file, {_STATE: vector}, metadata, _ignore)
    verified(final)  # what cannot be read back must not cost us an older one
    _drop_older(directory)
    return final


def verified(path: Path) -> Checkpoint:
    """The checkpoint at `path`, read once from end to end; raises Damaged for anything that is not whole."""
    crc = _Crc()
    with open(path, "rb", opener=regular) as file:
        try:
            header = tensors.read_header(file, _ignore)
            found = _described(path, header)
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"the header cannot be read: {error}") from error
        tensors.skim(file, crc.add)
    if crc.value != found.crc32:
        raise Damaged("the checksum does not match the content")
    return found


def _described(path: Path, header: tensors.Header) -> Checkpoint:
    """What the header says. Raises Damaged; ValueError, KeyError, TypeError."""
    metadata = header.metadata
    if metadata.get("format") != FORMAT:
        raise Damaged(f"format {metadata.get('format')}, this version reads {FORMAT}")
    counters = Counters(
        step=int(metadata["step"]),
        attempt=int(metadata["attempt"]),
        identity=metadata["identity"],
        environment=documents.parse_object(metadata["environment"]),
        trainer=documents.parse_object(metadata["trainer"]),
    )
    name = name_of(path)
    if (counters.step, counters.attempt) != (name.step, name.attempt):
        raise Damaged(f"it is of step {counters.step} of attempt {counters.attempt}, whatever its name says")
    (place,) = header.places.values()
    return Checkpoint(path, counters, place, int(metadata["crc32"]))


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
    """The newest whole checkpoint of this identity, and the files that were passed over: damaged ones are set aside.

    fresh_after: checkpoints of attempts up to this number are not wanted any more and are removed.
    """
    damages: list[Damage] = []
    for path in in_order(directory):
        if name_of(path).attempt <= fresh_after:
            path.unlink(missing_ok=True)
            continue
        try:
            checkpoint = verified(path)
            if checkpoint.counters.identity != identity:
                raise Damaged("it belongs to another spec, other data or another shape")
        except OSError as problem:
            if is_exhausted(problem):
                raise  # the machine's trouble and not the file's
            damages.append(Damage(path, str(problem)))
            continue
        except Damaged as problem:
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
