"""From the files that `[data]` names to a training set."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.jobs.spec.network import ModelSpec
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.data import targets
from singlepoint.worker.data.files_digest import FilesDigest
from singlepoint.worker.data.formats.streams import plainly
from singlepoint.worker.data.formats.tile import in_field
from singlepoint.worker.data.formats.training import RawData, data_files, read_training_data, read_validation_data
from singlepoint.worker.data.preprocessing import BadRow
from singlepoint.worker.data.targets import Target
from singlepoint.worker.nn.arrays import Array

from .training_set import VALIDATION, Examples, TrainingSet, prepare_training, task_of_loss


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


def load_training_set(spec: TrainSections, base: Path) -> TrainingSet:
    """Read, split, fit and prepare.

    base: what relative paths are relative to.
    Raises NotFound for a missing file; InvalidInput for anything wrong with the data, rows counted in the file.
    """
    return look_at(spec, base)[2]


def look_at(spec: TrainSections, base: Path, *, most_cells: int | None = None) -> tuple[RawData, Examples, TrainingSet]:
    """What was read and the examples in it, as well as what is made of them.

    most_cells: of the first rows only. Raises what `load_training_set` raises.
    """
    data = spec.data
    files = data_files(data, base)
    digest = FilesDigest(files) if most_cells is None else None
    opener = plainly if digest is None else digest.open
    raw = read_training_data(data, spec.preprocessing, base, most_cells=most_cells, opener=opener)
    second = None
    task = data.task or task_of_loss(spec.training.loss)
    try:
        target = targets.encode(
            raw.y,
            task,
            name=raw.target_name,
            whole=raw.complete,
            positive=data.positive,
            identity=spec.preprocessing.identity,
        )
        second = read_validation_data(data, spec.preprocessing, base, raw, most_cells=most_cells, opener=opener)
        apart = None if second is None else (second.x, _encoded_like(second, target))
        examples = Examples(
            x=raw.x,
            target=target,
            target_names=raw.targets,
            text=raw.text,
            header=data.header,
            missing=data.missing,
            digest="" if digest is None else digest.hexdigest(),
            complete=raw.complete,
            about_rows=raw.about_rows,
        )
        return raw, examples, prepare_training(examples, spec, share=data.validation, validation=apart)
    except BadRow as bad:
        field, rows = "data.path", raw
        if second is not None and bad.file == VALIDATION:
            field, rows = "data.validation_path", second
        with in_field(field, rows.paths[0].name):
            raise rows.located(bad) from None


def _encoded_like(second: RawData, target: Target) -> Array:
    try:
        return targets.encode_like(second.y, target, name=second.target_name)
    except BadRow as bad:
        raise bad.shifted(0, VALIDATION) from None
