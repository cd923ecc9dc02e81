"""What people write for one training or one prediction who have no queue: `alone.py train|predict SPEC.json [DONE]`.

It does the work of the spec in this process, with our own numpy core, and keeps the result; nothing is saved meanwhile.
DONE: a file to be made at its end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from singlepoint import Model


def train(spec: dict) -> None:
    with np.load(spec["data"]["path"]) as data:
        x, y = data["x"], data["y"]
    how = spec["training"]
    model = Model(
        layers=spec["model"]["layers"],
        preprocessing=spec["preprocessing"],
        optimiser=how["optimiser"],
        seed=how["seed"],
    )
    model.fit(x, y, epochs=how["epochs"], batch_size=how["batch_size"], validation=spec["data"]["validation"])
    directory = Path(spec["name"])
    directory.mkdir(exist_ok=True)
    model.save(directory / "model.json")


def predict(spec: dict) -> None:
    model = Model.load(Path(spec["model"]) / "model.json")
    np.save(spec["output"], model.predict_proba(np.load(spec["input"])))


if __name__ == "__main__":
    {"train": train, "predict": predict}[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
    for done in sys.argv[3:]:
        Path(done).touch()
