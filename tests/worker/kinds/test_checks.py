"""What `submit` refuses before anything is kept."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.common import MEMORY_DEFAULT_BYTES, ResourceSpec
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.spec.train import TrainSpec
from singlepoint.worker.kinds.table import check
from tests.worker.making import Maker

WIDE = {"model": {"hidden": [4000, 4000]}, "training": {"optimiser": {"type": "adam"}}}
"""16 million weights: 64 MB, and seven times that with gradients, Adam's slots and a checkpoint's copy."""


def checked(directory: Path, **changes: Any) -> ResourceSpec:
    (directory / "wdbc.csv").write_bytes(resources.files("singlepoint.jobs.demo").joinpath("wdbc.csv").read_bytes())
    document = {"kind": "train", "name": "t", "data": {"path": "wdbc.csv", "target": "diagnosis"}, **changes}
    spec = parse_document(document, directory, "spec")
    assert isinstance(spec, TrainSpec)
    return check(spec).spec.resources


def test_a_network_that_takes_more_memory_than_is_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"resources\.memory: is 400 MiB, but .*checkpoints 1.. MiB.*set it to"):
        checked(tmp_path, **WIDE, resources={"memory": "400MiB"})
    with pytest.raises(InvalidInput, match="TiB"):
        checked(tmp_path, model={"hidden": [10**6, 10**6]}, resources={"memory": "1GiB"})


def test_a_training_asks_for_what_it_takes_where_its_owner_names_no_memory(tmp_path: Path) -> None:
    assert checked(tmp_path, model={"hidden": [8]}).memory is None, "less than the default"
    reckoned = checked(tmp_path, model={"hidden": [6000, 6000]})
    assert (reckoned.memory_from, (reckoned.memory or 0) > MEMORY_DEFAULT_BYTES) == ("estimate", True)


def test_a_network_that_fits_is_not(tmp_path: Path) -> None:
    checked(tmp_path, **WIDE, resources={"memory": "490MiB"})
    checked(
        tmp_path,
        model={"hidden": [4000, 4000]},
        training={"optimiser": {"type": "sgd", "learning_rate": 0.1}},
        resources={"memory": "256MiB"},
    )  # keeps no slots


def test_a_scored_file_is_scored_again_only_when_old_and_new_answers_can_be_told_apart(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    maker.make(maker.submit(training={"epochs": 1}))
    header, *rows = (tmp_path / "wdbc.csv").read_text().splitlines()
    scored_before = "\n".join([f"p_benign,{header}", *(f"0.5,{row}" for row in rows)])
    (tmp_path / "scored.csv").write_text(scored_before)

    def scored(**changes: Any) -> None:
        spec = {"kind": "predict", "name": "p", "model": str(maker.model()), "input": "scored.csv", "output": "o.csv"}
        check(parse_document({**spec, **changes}, tmp_path, "spec"))

    with pytest.raises(InvalidInput, match=r"input: its column 'p_benign' has the name of an answer.*answer_prefix"):
        scored()
    scored(answer_prefix="again_")
    scored(pass_through=["diagnosis"])
    scored(output="o.npy")
