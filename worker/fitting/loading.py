"""From the files that `[data]` names to a training set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.jobs.spec.network import ModelSpec
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.data import targets
from singlepoint.worker.data.formats.training import data_files, read_training_data, validation_file

from .training_set import Examples, TrainingSet, prepare_training, task_of_loss


class TrainSections(Protocol):
    """The parts of a training's spec that decide what is learned."""

    @property
    def data(self) -> DataSpec: ...
    @property
    def preprocessing(self) -> PreprocessingSpec: ...
    @property
    def model(self) -> ModelSpec: ...
    @property
    def training(self) -> TrainingSpec: ...


def load_training_set(spec: TrainSections, base: Path, *, most_cells: int | None = None) -> TrainingSet:
    """Read, split, fit and prepare.

    base: what relative paths are relative to.  most_cells: look at the first rows only.
    Raises NotFound for a missing file; InvalidInput for anything wrong with the data, rows counted in the file.
    """
    data = spec.data
    files = data_files(data, base)
    raw = read_training_data(data, spec.preprocessing, base, most_cells=most_cells)
    task = data.task or task_of_loss(spec.training.loss)
    target = targets.encode(raw.y, task, name=raw.target_name, whole=raw.complete, positive=data.positive)
    apart, other = None, validation_file(data)
    examples = Examples(
        x=raw.x,
        target=target,
        target_names=raw.targets,
        text=raw.text,
        header=data.header,
        missing=data.missing,
        digest=_digest(files) if most_cells is None else "",
        complete=raw.complete,
    )
    if other is not None:
        second = read_training_data(other, spec.preprocessing, base, most_cells=most_cells)
        apart = second.x, targets.encode_like(second.y, target, name=second.target_name)
    return prepare_training(examples, spec, share=data.validation, validation=apart)


def _digest(files: Sequence[Path]) -> str:
    """sha256 over the files' bytes, each preceded by its length so that no two lists of files look alike."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.stat().st_size.to_bytes(8, "little"))
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()
