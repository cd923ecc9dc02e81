"""What `submit` refuses before anything is kept."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.spec.common import MEMORY_DEFAULT_BYTES, Checked, ResourceSpec
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.spec.train import TrainSpec
from singlepoint.worker.kinds.table import check
from tests.worker.making import TRAINING, Maker

WIDE = {"model": {"hidden": [4000, 4000]}, "training": {"optimiser": {"type": "adam"}}}
"""16 million weights: 64 MB, and seven times that with gradients, Adam's slots and a checkpoint's copy."""


def looked_at(directory: Path, **changes: Any) -> Checked:
    (directory / "wdbc.csv").write_bytes(resources.files("singlepoint.jobs.demo").joinpath("wdbc.csv").read_bytes())
    document = {"kind": "train", "name": "t", "data": {"path": "wdbc.csv", "target": "diagnosis"}, **changes}
    spec = parse_document(document, directory, "spec")
    assert isinstance(spec, TrainSpec)
    found = check(spec)
    assert found is not None
    return found


def checked(directory: Path, **changes: Any) -> ResourceSpec:
    resources: ResourceSpec = looked_at(directory, **changes).spec.resources
    return resources


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


def test_how_long_it_takes_is_reckoned_and_told_and_a_larger_network_takes_longer(tmp_path: Path) -> None:
    small, large = (looked_at(tmp_path, model={"hidden": [units]}) for units in (8, 2000))
    assert 0.001 < small.reckoned_s < 0.2 * large.reckoned_s < 60
    assert "on one core" in large.summary[-1]


def test_of_a_prediction_by_the_rows_of_its_input_as_far_as_these_tell(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    maker.make(maker.submit(training={"epochs": 1}))
    model = str(maker.model())
    lines = (tmp_path / "wdbc.csv").read_text().splitlines()
    reckoned = []
    for times in (1, 400):
        (tmp_path / "rows.csv").write_text("\n".join([lines[0], *lines[1:] * times]) + "\n")
        document = {"kind": "predict", "name": "p", "model": model, "input": "rows.csv", "output": "answers.csv"}
        found = check(parse_document(document, tmp_path, "spec"))
        assert found is not None
        reckoned.append(found.reckoned_s)
    assert reckoned[1] == pytest.approx(400 * reckoned[0], rel=0.05)


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


def test_a_prediction_knows_how_the_training_wrote_numbers(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    (tmp_path / "t.csv").write_text("a;y\n" + "".join(f"1.{n:03},50;{n % 2}\n" for n in range(40)))
    (tmp_path / "new.csv").write_text("a\n1.010\n1.020\n")
    data = {"path": "t.csv", "target": "y"}
    learned = check(parse_document({**TRAINING, "training": {"epochs": 1}, "data": data}, tmp_path, "spec"))
    assert learned is not None and (learned.spec.data.decimal, learned.spec.data.thousands) == (",", ".")
    data |= {"decimal": learned.spec.data.decimal, "thousands": learned.spec.data.thousands}
    assert maker.make(maker.submit(data=data, training={"epochs": 1})).state is State.SUCCEEDED
    asked = {"kind": "predict", "name": "p", "model": str(maker.model()), "input": "new.csv", "output": "o.csv"}
    with pytest.raises(InvalidInput, match=r"decimal: '1\.010' may be thousands"):
        check(parse_document(asked, tmp_path, "spec"))
    found = check(parse_document({**asked, "thousands": "."}, tmp_path, "spec"))
    assert found is not None and found.spec.decimal == ","
