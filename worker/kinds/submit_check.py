"""What `submit` asks of the worker before a job is accepted: would this run?

Training: the data can be read, its columns are there, the network's shapes fit. Prediction: the model is whole,
the input has its columns, the output can be written. Looks only; whatever it lets pass may still meet a bad
row far down a large file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.errors import InvalidInput, NotFound, Problem
from singlepoint.jobs.spec.job import PredictSpec, Spec, TrainSpec
from singlepoint.jobs.store.job_files import staged_output


def check(spec: Spec) -> None:
    """Raises InvalidInput with every problem found, NotFound for a missing file, ModelFormatError."""
    _CHECKS[type(spec)](spec)


def _check_train(spec: TrainSpec) -> None:
    from singlepoint.worker.fitting.check import check_training

    needed, granted = check_training(spec, Path.cwd()), spec.resources.memory
    if needed > granted:
        asked = f"is {format_bytes(granted)}, but weights, gradients and checkpoints of this network alone take"
        hint = "ask for more than that, or make the network smaller"
        raise InvalidInput(Problem("resources.memory", f"{asked} {format_bytes(needed)}", hint))


def _check_predict(spec: PredictSpec) -> None:
    """spec.model: a directory, or the id of a training that has yet to end, of which nothing can be told."""
    from singlepoint.worker.data.formats import existing, open_rows
    from singlepoint.worker.models import files
    from singlepoint.worker.models.predictor import ModelPredictor
    from singlepoint.worker.scoring.output import output_format

    source, output = existing(Path(spec.input)), Path(spec.output)
    if os.path.isabs(spec.model):
        model = files.load(Path(spec.model))
        if model.preprocessor is None:
            raise InvalidInput(
                Problem("model", "was saved without preprocessing", "train it by a job, or give it some")
            )
        rows = open_rows(source, model.preprocessor, spec.pass_through)
        output_format(output, ModelPredictor(model), rows.columns, spec.answer_prefix)
    _check_output(output, source)


def _check_output(output: Path, source: Path) -> None:
    if not output.parent.is_dir():
        raise NotFound(f"output: the directory {output.parent} does not exist", hint="make it first")
    staged = staged_output(output, "12345678", 99999)  # the longest name that it has on its way
    too_long = len(os.fsencode(staged.name)) - os.pathconf(output.parent, "PC_NAME_MAX")
    if too_long > 0:
        raise InvalidInput(Problem("output", f"its name is {too_long} bytes too long", "choose a shorter one"))
    if output.is_dir() or not os.access(output.parent, os.W_OK):
        what = "is a directory" if output.is_dir() else "cannot be written"
        raise InvalidInput(Problem("output", f"{output} {what}", "choose another file"))
    if output.exists() and source.samefile(output):
        raise InvalidInput(Problem("output", "is the input itself", "choose another file"))


_CHECKS: dict[type[Any], Callable[[Any], None]] = {TrainSpec: _check_train, PredictSpec: _check_predict}
