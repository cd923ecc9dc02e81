"""Models on disk: `model.json`, and `model.safetensors` beside it.

`save` makes a model appear whole: weights first, `model.json` (which names the weights' file and its digest) last,
each written under a temporary name, fsynced and renamed. (A crash while an older model is overwritten can leave
the new weights with the old document: `load` then refuses the pair.) `load` believes nothing: the registry of
layers is closed, every size is worked out and compared with the bytes that are there before anything is allocated,
no code is named or run, and whatever is wrong with a file is a ModelFormatError.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from singlepoint.jobs.errors import EXIT_INVALID, NotFound, SinglepointError
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.regular_files import regular
from singlepoint.jobs.spec.base import Count, Part
from singlepoint.jobs.spec.data import Task
from singlepoint.jobs.spec.network import MOST_LAYERS, Layer
from singlepoint.jobs.store.durable import SHARED, explained, put_in_place, replace_file
from singlepoint.worker.data.preprocessing import Preprocessor, SequencePreprocessor
from singlepoint.worker.data.preprocessing.identity import is_whole
from singlepoint.worker.data.target_scale import TargetScale
from singlepoint.worker.data.targets import ClassType
from singlepoint.worker.nn.network import Network, Plan, plan

from . import tensors
from .trained_model import TrainedModel

DOCUMENT_LIMIT_BYTES = 64 * 2**20
DEFAULT_NAME = "model.json"


class ModelFormatError(SinglepointError, ValueError):
    """The model's files are damaged, or not a model."""

    exit_code = EXIT_INVALID


class Weights(Part):
    """Where the weights are: a file in the same directory."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(strict=True, ge=8)]


class ModelDocument(Part):
    """What `model.json` says.

    input_shape: of one row as it enters the network, after preprocessing.  vocabulary: how many different tokens
    there are, None unless text enters as such.  classes: in the order of the network's outputs.
    """

    format: Literal[1, 2] = 2
    task: Task
    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None
    class_type: ClassType
    target_names: tuple[str, ...]
    dtype: Literal["float32"] = "float32"
    input_shape: Annotated[tuple[Count, ...], Field(min_length=1, max_length=4)]
    vocabulary: Count | None
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=3 * MOST_LAYERS)]
    preprocessing: Preprocessor | None
    target_scale: TargetScale | None = None
    metrics: dict[str, float]
    provenance: dict[str, Any]
    weights: Weights


@dataclass(frozen=True)
class ModelDigest:
    """What was written.  sha256: of the weights' file.  document_sha256: of all that the document says."""

    path: Path
    sha256: str
    document_sha256: str


def save(model: TrainedModel, path: Path, *, mode: int = SHARED) -> ModelDigest:
    """Write a model to `path`, the name of its JSON file, or a directory (made when it does not exist).

    mode: of both files. The same model gives the same bytes.
    Raises StorageFull, NotPermitted, NotFound (no such directory).
    """
    document_path = path if path.suffix == ".json" else path / DEFAULT_NAME
    with explained(document_path):
        if document_path is not path:
            path.mkdir(parents=True, exist_ok=True)
        elif not path.parent.is_dir():
            raise NotFound(f"there is no directory {path.parent}", hint="make it first")
        weights = _write_weights(model.network, document_path.with_suffix(".safetensors"), mode)
        content = _document(model, weights).model_dump(mode="json")
        digest = document_digest(content)
        replace_file(document_path, _json({**content, "sha256": digest}), point="model.document", mode=mode)
    return ModelDigest(document_path, weights.sha256, digest)


def load(path: Path) -> TrainedModel:
    """Read a model from its JSON file or the directory it is in.

    Raises NotFound when there is no such model, ModelFormatError when it is damaged, incomplete, or no model.
    """
    document_path = path / DEFAULT_NAME if path.is_dir() else path
    try:
        content = tensors.strict_json(_read_document(document_path))
        document = ModelDocument.model_validate(_undamaged(content))
        shapes = _checked_plan(document)
        with open(document_path.parent / document.weights.file, "rb", opener=regular) as file:
            network = _read_weights(file, document.weights, shapes)
    except ModelFormatError:
        raise
    except FileNotFoundError:
        raise ModelFormatError(
            f"{document_path.name}: its weights, {document.weights.file}, are missing",
            hint="put the file back beside it, or train the model again",
        ) from None
    except (ValueError, TypeError, ArithmeticError, RecursionError, OSError) as error:
        raise ModelFormatError(
            f"{document_path.name}: {_first_lines(error)}", hint="restore the file, or train the model again"
        ) from error
    return TrainedModel(
        network,
        document.preprocessing,
        document.task,
        document.classes,
        document.class_type,
        document.target_names,
        document.metrics,
        document.provenance,
        document.weights.sha256,
        str(content["sha256"]),
        document.target_scale,
    )


def export_onnx(model: TrainedModel, path: Path) -> None:
    """Write the network, which takes prepared rows, as ONNX. Raises InvalidInput without the package `onnx`."""
    from .onnx import onnx_bytes  # here: the package is optional

    replace_file(path, onnx_bytes(model), point="model.onnx", mode=SHARED)


def _write_weights(network: Network, path: Path, mode: int) -> Weights:
    """Block by block, so that saving takes no memory that training did not."""
    digest = hashlib.sha256()
    with put_in_place(path, point="model.weights", mode=mode) as file:
        reach("model.weights")
        size_bytes = tensors.write(file, network.named_tensors(), {"format": "pt"}, digest.update)
    return Weights(file=path.name, sha256=digest.hexdigest(), bytes=size_bytes)


def _document(model: TrainedModel, weights: Weights) -> ModelDocument:
    network, preprocessor = model.network, model.preprocessor
    return ModelDocument(
        task=model.task,
        classes=model.classes,
        class_type=model.class_type,
        target_names=model.target_names,
        input_shape=network.input_shape,
        vocabulary=None if preprocessor is None else preprocessor.vocabulary,
        layers=network.layers,
        preprocessing=preprocessor,
        target_scale=model.target_scale,
        metrics=dict(model.metrics),
        provenance=dict(model.provenance),
        weights=weights,
    )


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


def document_digest(content: Mapping[str, Any]) -> str:
    """The sha256 over what `model.json` says, however it is laid out; its own field `sha256` left out."""
    said = {name: value for name, value in content.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _undamaged(content: Any) -> dict[str, Any]:
    """The document without its digest, which must fit: one flipped digit in a scale would pass every other check."""
    if not isinstance(content, dict) or content.get("sha256") != document_digest(content):
        raise ValueError("is damaged, or was changed after it was saved: its sha256 does not fit what it says")
    return {name: value for name, value in content.items() if name != "sha256"}


def _read_document(path: Path) -> bytes:
    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint="a model is model.json and model.safetensors, side by side")
    with open(path, "rb", opener=regular) as file:
        if os.fstat(file.fileno()).st_size > DOCUMENT_LIMIT_BYTES:
            raise ValueError(f"is larger than {DOCUMENT_LIMIT_BYTES} bytes")
        return file.read()


def _checked_plan(document: ModelDocument) -> Plan:
    """The network's shapes, if the parts of the document go together. Raises ValueError."""
    shapes = plan(document.layers, document.input_shape, document.vocabulary)
    preprocessor = document.preprocessing
    if preprocessor is not None and preprocessor.output_shape != document.input_shape:
        raise ValueError(f"preprocessing gives rows {preprocessor.output_shape}, input_shape is {document.input_shape}")
    if preprocessor is not None and preprocessor.vocabulary != document.vocabulary:
        raise ValueError(f"vocabulary is {document.vocabulary}, preprocessing has {preprocessor.vocabulary}")
    if preprocessor is not None and shapes.takes_tokens != isinstance(preprocessor, SequencePreprocessor):
        raise ValueError("words must enter an embedding, and only words")
    _check_outputs(document, shapes)
    return shapes


def _check_outputs(document: ModelDocument, shapes: Plan) -> None:
    classes = document.classes
    if (document.task == "classification") != (classes is not None):
        raise ValueError(f"a {document.task} has classes {classes}")
    scale = document.target_scale
    if scale is not None and (classes is not None or len(scale.scale) != shapes.output_shape[-1]):
        raise ValueError(f"target_scale has {len(scale.scale)} values, the network {shapes.output_shape[-1]} outputs")
    if classes is None:
        return
    if len(set(classes)) < len(classes):
        raise ValueError("a class occurs twice")
    if document.class_type == "integer" and not all(map(is_whole, classes)):
        raise ValueError("class_type is integer, but a class is no whole number")
    if document.class_type == "boolean" and not {*classes} <= {"True", "False"}:
        raise ValueError("class_type is boolean, but a class is no truth value")
    outputs = shapes.output_shape
    if outputs != (len(classes),) and not (outputs == (1,) and len(classes) == 2):
        raise ValueError(f"the network's output {outputs} does not fit {len(classes)} classes")


def _read_weights(file: BufferedReader, weights: Weights, shapes: Plan) -> Network:
    """The network, allocated only once its file is known to have the right size and tensors."""
    size_bytes = os.fstat(file.fileno()).st_size
    if size_bytes != weights.bytes:
        raise ModelFormatError(f"{weights.file} has {size_bytes} bytes, model.json says {weights.bytes}")
    digest = hashlib.sha256()
    header = tensors.read_header(file, digest.update)
    values_bytes = 4 * (shapes.parameter_count + shapes.buffer_count)
    if size_bytes - header.body != values_bytes:
        found = f"{size_bytes - header.body} bytes of values"
        raise ModelFormatError(f"{weights.file} has {found}, the network needs {values_bytes}")
    shaped = {name: place.shape for name, place in header.places.items()}
    if shaped != shapes.expected_tensors() or any(place.dtype != np.float32 for place in header.places.values()):
        raise ModelFormatError(f"{weights.file} holds other tensors than the network's: {sorted(shaped)[:8]}")
    network = Network(shapes)
    held = network.named_tensors()
    for name, _ in sorted(header.places.items(), key=lambda item: item[1].start):
        tensors.read(file, held[name], digest.update)
    if digest.hexdigest() != weights.sha256:
        raise ModelFormatError(f"{weights.file} is damaged: its sha256 is not the one in model.json")
    return network


def _first_lines(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return "; ".join(line.strip() for line in lines[:3])
