"""Accuracy on real data, trained by the functions a job uses: files in, held-back rows scored, seeds fixed.

    SINGLEPOINT_DATA=… python -m benchmarks.accuracy [--only WORD …] [--quick]

Every case writes its folds as files, and trains from them what a spec says: those of examples/ where there is one.
Folds are stratified and shuffled with seed 0. No training looks at the rows that are scored: no early stopping, the
weights are those of the last epoch. The settings (sizes, epochs, decay) were tried on these same folds, so expect mild
optimism. The goals are those of the project; anchors are what others reach on the same data. Digits and breast cancer
come with scikit-learn, the others are looked for in $SINGLEPOINT_DATA.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.needs import needed

with needed("parity"):
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.model_selection import StratifiedKFold

from singlepoint.jobs.spec.job import TrainSpec, parse
from singlepoint.worker.fitting.loading import load_training_set
from singlepoint.worker.fitting.training import new_network, new_trainer

EXAMPLES = Path(__file__).parent.parent / "examples"
DATA = Path(os.environ.get("SINGLEPOINT_DATA", "data"))

Sections = dict[str, Any]
Folds = Iterator[Sections]
"""For each fold, the `[data]` section of a spec whose files have been written."""


@dataclass(frozen=True)
class Case:
    """folds: writes them into a directory.  sections: the rest of the spec.  goals: by metric, at least."""

    name: str
    folds: Callable[[Path], Folds]
    sections: Callable[[], Sections]
    goals: dict[str, float]
    anchor: str


def example(name: str) -> Callable[[], Sections]:
    """The sections of a spec in examples/, but its data."""

    def read() -> Sections:
        spec = tomllib.loads((EXAMPLES / f"{name}.toml").read_text())
        return {section: spec[section] for section in ("preprocessing", "model", "training") if section in spec}

    return read


def dense(*hidden: int, preprocessing: Sections | None = None, model: Sections | None = None, **training: Any) -> Any:
    """Sections for a network of hidden widths, trained by AdamW along a cosine."""
    optimiser = {
        "type": "adamw",
        "learning_rate": training.pop("rate"),
        "weight_decay": training.pop("decay"),
        "schedule": {"type": "cosine"},
    }
    return lambda: {
        "preprocessing": preprocessing or {},
        "model": {"hidden": list(hidden), **(model or {})},
        "training": {"optimiser": optimiser, "seed": 0, **training},
    }


def fashion_cnn() -> Sections:
    """Two convolutions of 32 and 64 channels."""
    sections: Sections = dense(preprocessing={"rescale": 255}, epochs=10, batch_size=64, rate=0.002, decay=0.05)()
    convolution = {"type": "conv2d", "kernel": 3, "padding": "same", "activation": "relu"}
    layers: list[Sections] = []
    for filters in (32, 64):
        layers += [{**convolution, "filters": filters}, {"type": "max_pool2d"}, {"type": "dropout", "rate": 0.2}]
    layers += [{"type": "flatten"}, {"type": "dense", "units": 128, "activation": "relu"}]
    layers += [{"type": "dropout", "rate": 0.4}, {"type": "dense", "units": 10, "activation": "softmax"}]
    return {**sections, "model": {"layers": layers}}


# -- data ------------------------------------------------------------------------------------------------------------


def split(y: Any, count: int) -> Iterator[tuple[Any, Any]]:
    yield from StratifiedKFold(count, shuffle=True, random_state=0).split(np.zeros(len(y)), y)


def of_table(header: Sequence[str], rows: Sequence[Sequence[Any]], count: int, folder: Path, **data: Any) -> Folds:
    """Folds of a table whose last column is the target."""
    for train, test in split([row[-1] for row in rows], count):
        for name, chosen in (("train.csv", train), ("test.csv", test)):
            with (folder / name).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([header, *(rows[i] for i in chosen)])
        yield {"path": "train.csv", "validation_path": "test.csv", "target": header[-1], **data}


def of_arrays(x: Any, y: Any, count: int, folder: Path) -> Folds:
    for train, test in split(y, count):
        np.savez(folder / "train.npz", x=x[train], y=y[train])
        np.savez(folder / "test.npz", x=x[test], y=y[test])
        yield {"path": "train.npz", "validation_path": "test.npz"}


def digits(folder: Path) -> Folds:
    x, y = load_digits(return_X_y=True)
    return of_arrays(x.reshape(-1, 8, 8).astype(np.uint8), y, 10, folder)


def breast_cancer(folder: Path) -> Folds:
    bunch = load_breast_cancer()
    rows = [
        [*map(repr, row.tolist()), bunch.target_names[label]]
        for row, label in zip(bunch.data, bunch.target, strict=True)
    ]
    return of_table([*bunch.feature_names, "diagnosis"], rows, 10, folder)


def german_credit(folder: Path) -> Folds:
    with gzip.open(DATA / "german-credit" / "german.csv.gz", "rt") as file:
        rows = list(csv.reader(file))
    return of_table([str(i) for i in range(21)], rows, 10, folder)


def heart_disease(folder: Path) -> Folds:
    with (DATA / "heart-disease" / "processed.cleveland.data").open() as file:
        rows = [[*row[:-1], "disease" if row[-1] != "0" else "healthy"] for row in csv.reader(file)]
    return of_table([str(i) for i in range(14)], rows, 5, folder)


def fashion(folder: Path) -> Folds:
    files = {"path": "train-images-idx3", "target_path": "train-labels-idx1"}
    files |= {"validation_path": "t10k-images-idx3", "validation_target_path": "t10k-labels-idx1"}
    yield {field: str(DATA / "fashion-mnist" / f"{name}-ubyte.gz") for field, name in files.items()}


def reviews(folder: Path) -> Folds:
    rows: list[list[str]] = []
    for label in ("pos", "neg"):
        with gzip.open(DATA / "rt-polarity" / f"rt-polarity.{label}.gz", "rt", encoding="utf-8", newline="\n") as file:
            rows += [[line.rstrip("\n"), label] for line in file]
    return of_table(["review", "opinion"], rows, 5, folder, text="review")


# -- cases -----------------------------------------------------------------------------------------------------------

CASES = (
    Case(
        "digits MLP",
        digits,
        dense(256, preprocessing={"normalise": "min_max"}, epochs=40, batch_size=32, rate=0.002, decay=0.1),
        {"accuracy": 0.978},
        "logistic regression 0.967, scikit-learn MLP 0.978, SVC 0.990",
    ),
    Case("digits CNN", digits, example("image"), {"accuracy": 0.986}, "PyTorch CNN 0.986"),
    Case(
        "breast cancer",
        breast_cancer,
        example("medical"),
        {"accuracy": 0.975, "roc_auc": 0.995},
        "logistic regression 0.977 / .9953, SVC 0.975 / .9967",
    ),
    Case(
        "German credit",
        german_credit,
        example("credit"),
        {"roc_auc": 0.785},
        "logistic regression .786, random forest .798",
    ),
    Case(
        "heart disease",
        heart_disease,
        dense(
            16,
            preprocessing={"categorical": ["2", "6", "10", "12"], "impute": "median"},
            model={"dropout": 0.3},
            epochs=40,
            batch_size=16,
            rate=0.003,
            decay=0.3,
        ),
        {"accuracy": 0.842, "roc_auc": 0.904},
        "logistic regression 0.842 / .904",
    ),
    Case("reviews TF-IDF", reviews, example("text"), {"accuracy": 0.77}, "TF-IDF + logistic regression 0.779"),
    Case("reviews GRU", reviews, example("text_sequence"), {"accuracy": 0.75}, "CNN on random embeddings 0.761"),
    Case(
        "Fashion MLP",
        fashion,
        dense(
            512,
            256,
            preprocessing={"rescale": 255},
            model={"dropout": 0.3},
            epochs=20,
            batch_size=128,
            rate=0.001,
            decay=0.05,
        ),
        {"accuracy": 0.895},
        "MLP 256-128-64 0.900, not verified by Zalando",
    ),
    Case("Fashion CNN", fashion, fashion_cnn, {"accuracy": 0.915}, "two convolutions 0.876 to 0.925, not verified"),
)


def measure(case: Case, folds: int | None) -> tuple[dict[str, float], float, int]:
    """Mean metrics over the folds, seconds of training, and how many folds."""
    seen: list[dict[str, float]] = []
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for data in case.folds(Path(folder)):
            document = {"kind": "train", "name": "accuracy", "data": data, **case.sections()}
            spec = parse(document, lambda path: str(Path(folder) / path))
            assert isinstance(spec, TrainSpec)
            began = time.perf_counter()
            seen.append(train(spec, Path(folder)))
            seconds += time.perf_counter() - began
            if folds is not None and len(seen) == folds:
                break
    return {name: float(np.mean([one[name] for one in seen])) for name in seen[0]}, seconds, len(seen)


def train(spec: TrainSpec, folder: Path) -> dict[str, float]:
    """What a job would: the metrics of the last epoch."""
    data = load_training_set(spec, folder)
    trainer = new_trainer(new_network(spec, data), spec.training, data)
    return list(trainer.reports())[-1].metrics


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", nargs="*", default=[], help="cases whose name has one of these words")
    options.add_argument("--quick", action="store_true", help="one fold each")
    chosen = options.parse_args()
    missed = 0
    print(f"{'case':18} {'folds':>5} {'accuracy':>9} {'roc_auc':>8} {'log_loss':>9} {'s/fold':>7}  goals")
    for case in CASES:
        if chosen.only and not any(word.lower() in case.name.lower() for word in chosen.only):
            continue
        try:
            metrics, seconds, folds = measure(case, 1 if chosen.quick else None)
        except FileNotFoundError as error:
            print(f"{case.name:18} no data: {error}")
            continue
        met = {metric: metrics[metric] >= goal for metric, goal in case.goals.items()}
        missed += not all(met.values())
        goals = ", ".join(f"{m} >= {goal:g} {'met' if met[m] else 'MISSED'}" for m, goal in case.goals.items())
        figures = f"{metrics['accuracy']:9.4f} {metrics['roc_auc']:8.4f} {metrics['log_loss']:9.4f}"
        print(f"{case.name:18} {folds:5} {figures} {seconds / folds:7.1f}  {goals} ({case.anchor})", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
