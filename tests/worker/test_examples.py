"""The specs in examples/ can be submitted as they are; those whose data is included pass the check of a submission."""

from __future__ import annotations

from pathlib import Path

import pytest

from singlepoint.jobs.spec.file import parse_file
from singlepoint.jobs.spec.job import TrainSpec
from singlepoint.worker.fitting.check import check_training
from singlepoint.worker.fitting.loading import load_training_set
from singlepoint.worker.fitting.training import new_network

EXAMPLES = Path(__file__).parents[2] / "examples"
INCLUDED = ("image", "medical")
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.toml"))


def the_spec(name: str) -> TrainSpec:
    spec = parse_file(EXAMPLES / f"{name}.toml", [])
    assert isinstance(spec, TrainSpec)
    return spec


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_a_sound_spec(name: str) -> None:
    assert the_spec(name).kind == "train"


@pytest.mark.parametrize("name", INCLUDED)
def test_an_example_whose_data_is_included_can_be_trained(name: str) -> None:
    spec = the_spec(name)
    check_training(spec, EXAMPLES)
    data = load_training_set(spec, EXAMPLES)
    assert new_network(spec, data).output_shape == (data.outputs,)


def test_the_four_uses_have_an_example_each() -> None:
    assert {"image", "text", "credit", "medical"} <= set(NAMES)
