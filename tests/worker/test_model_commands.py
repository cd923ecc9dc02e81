"""`singlepoint models` and `evaluate`: what they say of models, and what they delete."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import singlepoint
from singlepoint.jobs.client.session import Settings
from singlepoint.jobs.client.submit import accept
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import EXIT_INVALID, EXIT_NOT_FOUND, EXIT_NOT_NOW, EXIT_USAGE
from singlepoint.jobs.host.temporaries import sweep
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.file import parse_document
from singlepoint.worker.model_commands import in_order, models
from singlepoint.worker.models import registry
from singlepoint.worker.models.files import load
from singlepoint.worker.scoring import evaluation
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """A home with two models of one name, the second of fewer epochs."""
    maker = Maker(tmp_path_factory.mktemp("trained"))
    for epochs in (2, 1):
        maker.make(maker.submit(training={"epochs": epochs}))
    return maker


@pytest.fixture
def maker(trained: Maker, tmp_path: Path) -> Maker:
    """The same, in a home of its own.

    What it prints is read with capfd: an attempt needs a stderr that is a file.
    """
    shutil.copytree(trained.directory, tmp_path, dirs_exist_ok=True)
    return Maker(tmp_path)


def prediction(maker: Maker, model: Path | str) -> str:
    spec = {"kind": "predict", "model": str(model), "input": "wdbc.csv", "output": "answers.csv"}
    return accept(maker.session, Checked(parse_document(spec, maker.directory, "answers")), now()).job.id


def run(maker: Maker, capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = singlepoint.main(["--home", str(maker.home.path), *map(str, words)])
    return (code, *capfd.readouterr())


def test_models_are_sorted_by_what_is_asked_for(maker: Maker, capfd: pytest.CaptureFixture[str]) -> None:
    def order(*words: str) -> list[str]:
        return [row["model"] for row in json.loads(run(maker, capfd, "models", *words, "--json")[1])["models"]]

    assert order() == order("--sort", "name") == order("--sort", "created") == ["wdbc/1", "wdbc/2"]
    assert order("--sort", "-name") == ["wdbc/2", "wdbc/1"]
    by_loss = order("--sort", "validation_loss")
    assert by_loss[::-1] == order("--sort", "-validation_loss")
    code, _, err = run(maker, capfd, "models", "--sort", "beauty")
    assert code == EXIT_USAGE and "validation_loss" in err
    rows: list[dict[str, Any]] = [{"model": "a", "metrics": {}}, {"model": "b", "metrics": {"f1": 0.5}}]
    assert [row["model"] for row in in_order(rows, "-f1")] == ["b", "a"]


def test_models_are_compared_in_what_they_are_and_in_what_was_asked_for(
    maker: Maker, capfd: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(run(maker, capfd, "models", "compare", "wdbc/1", "wdbc/2", "--json")[1])

    assert document["differs"] == {"training.epochs": [2, 1]}
    first = document["models"][0]
    assert first["parameters"] == (30 + 1) * 8 + (8 + 1) * 2
    assert (first["model"], first["task"], first["rows"] > 300) == ("wdbc/1", "classification", True)
    code, out, _ = run(maker, capfd, "models", "compare", "wdbc/1", "wdbc~1")
    assert code == 0 and "VALIDATION_LOSS" in out and "asked for" not in out, "they are the same one"
    assert run(maker, capfd, "models", "compare", "wdbc")[0] == EXIT_USAGE


def test_a_model_is_removed_and_its_number_is_never_given_again(
    maker: Maker, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(maker, capfd, "models", "rm", "wdbc")
    assert (code, out.split()[:2]) == (0, ["wdbc/2", "removed,"])
    assert registry.versions(maker.home, "wdbc") == [1]
    maker.make(maker.submit(training={"epochs": 1}))
    assert registry.versions(maker.home, "wdbc") == [1, 3]
    assert run(maker, capfd, "models", "rm", "wdbc~1")[0] == 0
    assert registry.versions(maker.home, "wdbc") == [3]
    assert run(maker, capfd, "models", "rm", "wdbc", "--all-versions")[0] == 0
    assert json.loads(run(maker, capfd, "models", "--json")[1])["models"] == []
    assert run(maker, capfd, "models", "rm", "wdbc")[0] == EXIT_NOT_FOUND
    assert len(maker.store.ids()) == 3, "the trainings stay"


def test_a_model_that_a_job_is_to_predict_with_is_not_removed(maker: Maker, capfd: pytest.CaptureFixture[str]) -> None:
    job = prediction(maker, maker.model(number=1))

    code, _, err = run(maker, capfd, "models", "rm", "wdbc", "--all-versions")
    assert code == EXIT_NOT_NOW and job in err and registry.versions(maker.home, "wdbc") == [1, 2]
    assert run(maker, capfd, "models", "rm", "wdbc/2")[0] == 0, "nobody names that one"
    (maker.directory / "link").symlink_to(maker.home.path)
    by_a_link = ["--home", str(maker.directory / "link"), "models", "rm", "wdbc/1"]
    assert singlepoint.main(by_a_link) == EXIT_NOT_NOW, "it is the same one, however the home is spelled"
    assert maker.make(job).state == "succeeded"
    assert run(maker, capfd, "models", "rm", "wdbc/1")[0] == 0


def test_only_models_of_the_home_are_removed(maker: Maker, capfd: pytest.CaptureFixture[str]) -> None:
    elsewhere = shutil.copytree(maker.model(), maker.directory / "mine" / "1")
    assert run(maker, capfd, "models", "rm", elsewhere)[0] == EXIT_USAGE and elsewhere.is_dir()


@pytest.mark.parametrize(
    ("point", "left"), [("model.remove.number", [1, 2]), ("model.remove", [1, 2]), ("model.remove.delete", [1])]
)
def test_killed_while_it_is_removed_a_model_is_there_whole_or_gone(
    maker: Maker, capfd: pytest.CaptureFixture[str], point: str, left: list[int]
) -> None:
    command = [sys.executable, "-m", "singlepoint", "--home", str(maker.home.path), "models", "rm", "wdbc"]
    environment = {**os.environ, "SINGLEPOINT_FAILPOINT": f"{point}:kill"}
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run(command, cwd=root, env=environment, check=False).returncode == -signal.SIGKILL

    assert registry.versions(maker.home, "wdbc") == left
    assert run(maker, capfd, "models", "compare", *[f"wdbc/{number}" for number in (*left, 1)])[0] == 0
    sweep(maker.home, now() + 1)
    assert [entry.name for entry in maker.model().parent.iterdir() if entry.name.startswith(".")] == []


def test_evaluate_tells_what_a_prediction_on_the_same_rows_has_in_its_result(
    maker: Maker, capfd: pytest.CaptureFixture[str]
) -> None:
    told = maker.make(prediction(maker, maker.model())).metrics
    code, out, _ = run(maker, capfd, "evaluate", "--model", "wdbc/1", "--input", maker.directory / "wdbc.csv", "--json")

    document = json.loads(out)
    assert code == 0 and (document["schema"], document["model"]) == (1, "wdbc/1")
    assert {"rows": document["rows"], **document["metrics"]} == told
    assert document["metrics"]["compared_rows"] == document["rows"] == 569
    code, out, _ = run(maker, capfd, "evaluate", "--model", maker.model(), "--input", maker.directory / "wdbc.csv")
    assert code == 0 and "accuracy" in out
    assert len(maker.store.ids()) == 3, "no job was made for it"


def test_of_several_files_no_more_is_compared_than_of_one(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    model, source = load(maker.model()), maker.directory / "wdbc.csv"
    monkeypatch.setattr(evaluation, "MOST_VALUES", 3 * 600)  # a row is the truth and two probabilities
    found = evaluation.evaluate(model, [source, source])
    assert (found.rows, found.metrics["compared_rows"]) == (2 * 569, 569)


def test_evaluate_refuses_what_a_prediction_would_and_rows_without_the_target(
    maker: Maker, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [line.split(",") for line in (maker.directory / "wdbc.csv").read_text().splitlines()]
    target = rows[0].index("diagnosis")
    for name, column in (("no_target.csv", target), ("no_column.csv", target - 1 if target else 1)):
        kept = [",".join(cell for place, cell in enumerate(row) if place != column) for row in rows]
        (maker.directory / name).write_text("\n".join(kept) + "\n")

    def refused(model: str, name: str) -> tuple[int, str]:
        code, _, err = run(maker, capfd, "evaluate", "--model", model, "--input", maker.directory / name)
        return code, err

    code, err = refused("wdbc/1", "no_target.csv")
    assert code == EXIT_INVALID and "diagnosis" in err
    assert refused("wdbc/1", "no_column.csv")[0] == EXIT_INVALID
    assert refused("wdbc/1", "none.csv")[0] == refused("nobody", "wdbc.csv")[0] == EXIT_NOT_FOUND
    assert run(maker, capfd, "evaluate", "--model", "wdbc")[0] == EXIT_USAGE
