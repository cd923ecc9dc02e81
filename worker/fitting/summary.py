"""What is told of a training before it is accepted: its rows, columns, classes and task, and what usually goes wrong.

A function of what was read for the check; of a large file these are the first rows, and the summary says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.data.formats.training import RawData, shown_source
from singlepoint.worker.data.targets import MOST_INFERRED_CLASSES
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.network import Plan

from .loading import TrainSections
from .training_set import TrainingSet, task_of_loss

_FEW_ROWS = 10
_SHOWN = 8
_ID_NAME = re.compile(r"(.*[_\W])?(id|uuid|guid|index|key|nr|no|rowid)", re.IGNORECASE)
_NO_NAME = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # an index that pandas wrote beside the columns
_LIKE_AN_ID = {"has no name of its own": _NO_NAME, "has the name of an id": _ID_NAME}
_FAR = 1000.0  # standard deviations between a target's mean and 0


def summary(
    raw: RawData,
    data: TrainingSet,
    spec: TrainSections,
    plan: Plan,
    memory_bytes: int,
    reckoned_s: float,
    times: float,
) -> Iterator[str]:
    """Lines for the user, before anything is accepted.

    memory_bytes, reckoned_s: what it takes, the latter of one core.  times: how many times as many rows there are as
    were looked at.
    """
    training = spec.training
    yield f"data: {shown_source(raw.paths, raw.settled)}; {_rows(raw, data, times)}"
    if isinstance(raw.x, Mapping):
        yield f"columns: {_columns(raw)}"
    elif raw.text is None:
        yield f"inputs: {raw.x.dtype} of shape {raw.x.shape[1:]} a row"
    yield f"target: {raw.target_name}: {data.task}, {_why(raw, spec.data, training)}{_classes(data)}"
    length = _length(reckoned_s)
    memory = format_bytes(memory_bytes)
    yield f"network: {plan.parameter_count:,} parameters; takes {memory} and about {length} on one core"


def warnings(raw: RawData, data: TrainingSet, spec: DataSpec, preprocessing: PreprocessingSpec) -> Iterator[str]:
    """What usually goes wrong, where these rows look like it."""
    if isinstance(raw.x, Mapping) and raw.text is None:
        yield from _suspicious_columns(raw.x, raw.targets, header=spec.header)
    if data.classes is not None:
        yield from _rare_classes(data)
    elif preprocessing.normalise_target == "none":
        values = np.asarray(raw.y, np.float64)
        if float(np.abs(values.mean())) > _FAR * float(values.std()):
            yield "the target is far from 0, and normalise_target = 'none': it will hardly be learned"


def _suspicious_columns(columns: Mapping[str, Array], targets: Sequence[str], *, header: bool) -> Iterator[str]:
    if header and all(map(_is_number, (*columns, *targets))):
        yield "all names of columns are numbers: if the first row is no header, set data.header = false"
    for name, column in columns.items():
        if what := _suspicion(name, column):
            yield f"column '{name}' {what}: is it a feature? data.ignore = ['{name}'] leaves it out"


def _rare_classes(data: TrainingSet) -> Iterator[str]:
    for name, count in _counts(data):
        if count < _FEW_ROWS:
            yield f"class '{name}' has {count} row{'s' if count > 1 else ''} to learn from and to measure on"
    if data.y_validation is not None and len(np.unique(data.y_validation)) < 2:
        yield "the rows held back are of one class: roc_auc and pr_auc will have no value"


def _rows(raw: RawData, data: TrainingSet, times: float) -> str:
    looked_at = f"{raw.rows:,} rows"
    if not raw.complete:
        looked_at = f"the first {raw.rows:,} of about {round(raw.rows * times, -3):,.0f} rows were looked at"
    return f"{looked_at}, {data.rows:,} to learn from, {data.validation_rows:,} held back"


def _columns(raw: RawData) -> str:
    assert isinstance(raw.x, Mapping)
    words = set(raw.words)
    numbers = [name for name in raw.x if name not in words]
    kind = "text" if raw.text is not None else "categories"
    told = []
    if numbers:
        told.append(f"{len(numbers)} number{'s' if len(numbers) > 1 else ''} ({_some(numbers)})")
    if words:
        told.append(f"{len(words)} {kind} ({_some(raw.words)})")
    if raw.ignored:
        told.append(f"ignored: {_some(raw.ignored)}")
    missing = {name: count for name, column in raw.x.items() if (count := _missing(column))}
    if missing:
        told.append("missing: " + _some([f"{count:,} of {name}" for name, count in missing.items()]))
    return "; ".join(told)


def _missing(column: Array) -> int:
    if column.dtype.kind in "OU":
        return int(np.count_nonzero(column == ""))
    return int(np.count_nonzero(np.isnan(column))) if column.dtype.kind == "f" else 0


def _why(raw: RawData, spec: DataSpec, training: TrainingSpec) -> str:
    if spec.task is not None:
        return "as data.task says"
    if task_of_loss(training.loss) is not None:
        return f"since the loss is {training.loss}"
    if raw.y.ndim > 1 and raw.y.shape[1] > 1:
        return "since it has several columns"
    if raw.y.dtype.kind in "OUb":
        return "since it is text" if raw.y.dtype.kind != "b" else "since it holds truth values"
    different = len(np.unique(raw.y))
    if raw.y.dtype.kind == "f" and not np.all(raw.y == np.floor(raw.y)):
        return "since it holds fractions"
    limit = f"{different} different whole numbers, {MOST_INFERRED_CLASSES} at most are classes"
    return f"since it has {limit}; data.task says it otherwise"


def _classes(data: TrainingSet) -> str:
    if data.classes is None:
        return ""
    counts = _counts(data)
    total = sum(count for _, count in counts)
    return ": " + _some([f"{name} {count:,} ({count / total:.0%})" for name, count in counts])


def _counts(data: TrainingSet) -> list[tuple[str, int]]:
    """Rows of each class, those held back included."""
    assert data.classes is not None
    numbers = data.y if data.y_validation is None else np.concatenate([data.y, data.y_validation])
    counts = np.bincount(numbers, minlength=len(data.classes)).tolist()
    return list(zip(data.classes, counts, strict=True))


def _suspicion(name: str, column: Array) -> str:
    """Why a column looks like a number of the row rather than a property of it, "" if it does not."""
    rows = len(column)
    if rows <= _FEW_ROWS:
        return ""
    if column.dtype.kind in "OU":
        return f"has another word in each of {rows:,} rows" if len(set(column.tolist())) == rows else ""
    steps = np.diff(column)
    if bool(np.all(steps == 1)):
        return "has no name and counts the rows" if _NO_NAME.fullmatch(name) else "counts the rows"
    called = next((what for what, names in _LIKE_AN_ID.items() if names.fullmatch(name)), "")
    return f"{called}, and another value in each row" if called and len(np.unique(column)) == rows else ""


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _is_number(name: str) -> bool:
    return bool(re.fullmatch(r"[+-]?[0-9]*[.,]?[0-9]+", name))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
