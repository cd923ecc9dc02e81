"""One small training and prediction, made by the pool before it forks its workers.

Everything an attempt loads or builds once (validators of the specs, parts of numpy, the BLAS's buffers) is then
there in every child, which saves each of them about a tenth of a second. Nothing of it is kept.
"""

from __future__ import annotations

from pathlib import Path

from singlepoint.jobs.host.temporaries import own_directory
from singlepoint.jobs.spec.base import build_all
from singlepoint.jobs.spec.job import TrainSpec, from_json, parse, to_json
from singlepoint.worker.data.formats import open_rows
from singlepoint.worker.fitting.loading import load_training_set
from singlepoint.worker.fitting.training import new_network, new_trainer, trained_model
from singlepoint.worker.ground import limits, numeric_environment
from singlepoint.worker.kinds.table import KINDS
from singlepoint.worker.models import files
from singlepoint.worker.models.predictor import ModelPredictor
from singlepoint.worker.scoring.output import CsvOutput

_ROWS = "a,b,answer\n" + "".join(f"{n % 7},{n % 5},{'yes' if n % 3 else 'no'}\n" for n in range(24))
_TRAINING = {
    "name": "rehearsal",
    "data": {"path": "rows.csv", "target": "answer", "validation": 0.5},
    "model": {"hidden": [4]},
    "training": {"epochs": 1},
}


def rehearse() -> None:
    """Load every kind of job, and go through the motions of a training and a prediction, in a directory of its own."""
    for load in KINDS.values():
        load()
    build_all()
    limits.warm_up()
    numeric_environment.fingerprint(1)
    with own_directory() as name:
        directory = Path(name)
        (directory / "rows.csv").write_text(_ROWS)
        spec = from_json(to_json(parse(_TRAINING, lambda path: str(directory / path))))
        assert isinstance(spec, TrainSpec)
        _train(spec, directory)
        _predict(directory)


def _train(spec: TrainSpec, directory: Path) -> None:
    data = load_training_set(spec, directory)
    trainer = new_trainer(new_network(spec, data), spec.training, data)
    list(trainer.reports())
    files.save(trained_model(trainer, data, {}), directory)


def _predict(directory: Path) -> None:
    model = files.load(directory)
    assert model.preprocessor is not None
    rows = open_rows(directory / "rows.csv", model.preprocessor)
    predictor = ModelPredictor(model)
    answers = CsvOutput(predictor, rows.columns)
    for tile in rows.tiles(None, 64):
        answers.rows(tile, predictor.predict(tile.raw))
