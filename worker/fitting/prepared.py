"""The prepared rows of a training, kept with its job: the next attempt begins with them instead of the files.

One safetensors file, written once, whole or not at all, its sha256 inside. It is kept for tables (dense float32 rows)
whose files are large enough for reading them to take time; arrays are mapped, and need no copy. After the first parse
it is the data: a source that has changed since is told, and only a new job reads it. It goes when the job has ended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import TypeAdapter

from singlepoint.jobs.store.durable import Fence, is_exhausted, put_in_place
from singlepoint.worker.data.preprocessing import Preprocessor
from singlepoint.worker.data.target_scale import TargetScale
from singlepoint.worker.models import tensors
from singlepoint.worker.nn.arrays import Array

from .training_set import TrainingSet

Signs = list[list[Any]]
"""[path, figures] of each file, as JSON has them; see `signs_of`."""

FORMAT = "2"
_CONTENT = 2  # so many of a file's figures are of its content
LEAST_SOURCE_BYTES = 1 << 24
"""Smaller files are read again: that takes no second."""
_PREPROCESSOR: TypeAdapter[Any] = TypeAdapter(Preprocessor)
_PLAIN = ("task", "classes", "class_type", "target_names", "digest")


def is_worth_keeping(data: TrainingSet, sources: Sequence[Path], most_bytes: int) -> bool:
    """Whether reading the files again would take longer than this copy is worth, and it is not too large."""
    parts = [part for part in (data.x, data.x_validation) if part is not None]
    dense = all(isinstance(part, np.ndarray) and part.dtype == np.float32 for part in parts)
    source_bytes = sum(path.stat().st_size for path in sources)
    return dense and source_bytes >= LEAST_SOURCE_BYTES and sum(part.nbytes for part in _arrays(data)) <= most_bytes


def keep(path: Path, data: TrainingSet, signs: Signs, fence: Fence) -> None:
    """Write the rows of a training set to `path`. signs: of the files before they were read.

    Raises StorageFull, Superseded; then nothing is kept.
    """
    preprocessor = None if data.preprocessor is None else _PREPROCESSOR.dump_python(data.preprocessor, mode="json")
    document = json.dumps(
        {
            **{name: getattr(data, name) for name in _PLAIN},
            "preprocessor": preprocessor,
            "target_scale": data.target_scale and data.target_scale.model_dump(mode="json"),
            "sources": signs,
        }
    )
    values = dict(zip(_names(data), map(_stored, _arrays(data)), strict=True))
    digest = hashlib.sha256(document.encode())
    for value in values.values():
        digest.update(value.data)
    metadata = {"format": FORMAT, "set": document, "sha256": digest.hexdigest()}
    with put_in_place(path, point="prepared", fence=fence) as file:
        tensors.write(file, values, metadata, notice=lambda _: None)


def kept(path: Path, sources: Sequence[Path]) -> tuple[TrainingSet, list[str]] | None:
    """What was kept, and the sources that have changed since; None when there is nothing, or it is not whole."""
    try:
        with path.open("rb") as file:
            document, values = _read(file)
        data = _training_set(document, values)
    except (ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        if is_exhausted(error):
            raise
        return None
    before = {name: sign[:_CONTENT] for name, sign in document["sources"]}
    return data, [name for name, sign in signs_of(sources) if before.get(name) != sign[:_CONTENT]]


def is_of(path: Path, sources: Sequence[Path]) -> bool:
    """Whether what was kept was made of these very files, and they have not changed since. Raises OSError."""
    try:
        with path.open("rb") as file:
            document = json.loads(tensors.read_header(file, lambda _: None).metadata["set"])
        return bool(document["sources"] == signs_of(sources))
    except (ValueError, KeyError, TypeError):
        return False


def _read(file: BufferedReader) -> tuple[dict[str, Any], dict[str, Array]]:
    """Raises ValueError, KeyError for a file that is damaged or of another format."""
    header = tensors.read_header(file, lambda _: None)
    if header.metadata["format"] != FORMAT:
        raise ValueError("another format")
    digest = hashlib.sha256(header.metadata["set"].encode())
    values: dict[str, Array] = {}
    for name, place in header.places.items():
        values[name] = np.empty(place.shape, place.dtype)
        tensors.read(file, values[name], digest.update)
    if digest.hexdigest() != header.metadata["sha256"]:
        raise ValueError("damaged")
    return json.loads(header.metadata["set"]), values


def _training_set(document: Mapping[str, Any], values: Mapping[str, Array]) -> TrainingSet:
    classes, scale, preprocessor = document["classes"], document["target_scale"], document["preprocessor"]
    y = {name: values[name] for name in ("y", "y_validation") if name in values}
    if classes is not None:
        y = {name: numbers.astype(np.int64) for name, numbers in y.items()}
    return TrainingSet(
        x=values["x"],
        y=y["y"],
        x_validation=values.get("x_validation"),
        y_validation=y.get("y_validation"),
        task=document["task"],
        classes=None if classes is None else tuple(classes),
        class_type=document["class_type"],
        target_names=tuple(document["target_names"]),
        preprocessor=None if preprocessor is None else _PREPROCESSOR.validate_python(preprocessor),
        target_scale=None if scale is None else TargetScale.model_validate(scale),
        digest=document["digest"],
    )


def _names(data: TrainingSet) -> list[str]:
    return [name for name in ("x", "y", "x_validation", "y_validation") if getattr(data, name) is not None]


def _arrays(data: TrainingSet) -> list[Array]:
    return [cast(Array, getattr(data, name)) for name in _names(data)]


def _stored(values: Array) -> Array:
    """Numbers of classes as floats, which the file format has; they are far below 2**53."""
    return np.ascontiguousarray(values, np.float64 if values.dtype.kind == "i" else values.dtype)


def signs_of(sources: Sequence[Path]) -> Signs:
    """What tells cheaply whether a file is still what it was: bytes, when its content was changed last (ns); device,
    inode, and when anything of it was."""
    statuses = [(path, path.stat()) for path in sources]
    return [
        [str(path), [one.st_size, one.st_mtime_ns, one.st_dev, one.st_ino, one.st_ctime_ns]] for path, one in statuses
    ]
