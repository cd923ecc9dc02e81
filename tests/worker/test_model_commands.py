"""`singlepoint models` says of a model all that it was asked for."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from singlepoint.jobs.client.session import Settings
from singlepoint.worker.commands import models
from tests.worker.making import Maker


def test_a_model_shows_its_optimiser_and_learning_rate_and_a_name_means_the_newest(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    for rate in (0.25, 0.125):
        maker.make(maker.submit(training={"epochs": 1, "optimiser": {"learning_rate": rate}}))
    settings = Settings(maker.home.path, None)

    shown = CliRunner().invoke(models, ["show", "wdbc"], obj=settings)
    assert shown.stdout.startswith("wdbc/2\n")
    words = shown.stdout.split()
    assert words[words.index("training.optimiser.learning_rate") + 1] == "0.125"
    assert words[words.index("training.optimiser.type") + 1] == "adam"

    before = CliRunner().invoke(models, ["show", "wdbc~1", "--json"], obj=settings)
    spec = json.loads(before.stdout)["provenance"]["spec"]
    assert spec["training"]["optimiser"]["learning_rate"] == 0.25
    assert spec["data"]["target"] == "diagnosis" and spec["model"]["hidden"] == [8]
