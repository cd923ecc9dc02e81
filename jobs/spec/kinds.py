"""The kinds of jobs, one entry each; `worker.kinds.table` has the same names, and says how each is checked and done."""

from __future__ import annotations

from .common import Kind
from .predict import PREDICT, PredictSpec
from .run import RUN, RunSpec
from .train import TRAIN, TrainSpec

Spec = TrainSpec | PredictSpec | RunSpec

KINDS: dict[str, Kind] = {"train": TRAIN, "predict": PREDICT, "run": RUN}
