"""Specs from files, and what `--set` makes of them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from singlepoint.jobs.errors import InvalidInput, NotFound, NotPermitted, SinglepointError, UsageError
from singlepoint.jobs.spec.file import parse_document, parse_file, set_value
from singlepoint.jobs.spec.job import PredictSpec, RunSpec, TrainSpec

TOML = """
kind = "train"
[data]
path = "wdbc.csv"
target = "diagnosis"
[model]
hidden = [32, 16]
[training]
optimiser = "adam"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "wdbc v2.toml"
    path.write_text(TOML)
    return path


def trained(path: Path, *sets: str, **options: Any) -> TrainSpec:
    spec = parse_file(path, sets, options)
    assert isinstance(spec, TrainSpec)
    return spec


def test_a_spec_is_named_after_its_file_and_its_paths_start_there(file: Path) -> None:
    spec = trained(file)

    assert spec.name == "wdbc-v2"
    assert spec.data.path == str(file.parent / "wdbc.csv")


def test_json_says_the_same_as_toml(file: Path) -> None:
    other = file.with_name("other.json")
    other.write_text('{"data": {"path": "wdbc.csv", "target": "diagnosis"}, "model": {"hidden": [32, 16]}}')

    assert trained(other).data == trained(file).data


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("training.epochs=5", "training.epochs", 5),
        ("training.shuffle=false", "training.shuffle", False),
        ("training.optimiser=sgd", "training.optimiser.type", "sgd"),
        ("training.optimiser.learning_rate=0.5", "training.optimiser.learning_rate", 0.5),
        ("training.optimiser={type='sgd', momentum=0.9}", "training.optimiser.momentum", 0.9),
        ("model.hidden=[4]", "model.hidden", (4,)),
        ("data.ignore=['a', 'b']", "data.ignore", ("a", "b")),
        ('data.target="diagnosis"', "data.target", "diagnosis"),
        ("name=other", "name", "other"),
        ("resources.memory=1GiB", "resources.memory", 2**30),
    ],
)
def test_set_changes_one_field_and_reads_its_value_as_toml_or_text(
    file: Path, text: str, field: str, value: object
) -> None:
    found: Any = trained(file, text)
    for name in field.split("."):
        found = getattr(found, name)

    assert found == value


def test_set_reaches_into_lists() -> None:
    document = {"model": {"layers": ["flatten", {"type": "dense", "units": 3}]}}

    set_value(document, "model.layers[1].units", 7)
    set_value(document, "model.layers[0].name", "flat")

    assert document["model"]["layers"] == [{"type": "flatten", "name": "flat"}, {"type": "dense", "units": 7}]


@pytest.mark.parametrize(
    "text",
    ["training.epochs", "=5", "a..b=5", "model.layers[4].units=1", "data.path.x.y=1", "[0]=1", "model.hidden[0].x=5"],
)
def test_a_set_that_leads_nowhere_is_a_mistake_of_use_or_of_the_spec(file: Path, text: str) -> None:
    with pytest.raises((UsageError, InvalidInput)):
        trained(file, text)


def test_a_value_cannot_smuggle_in_further_fields(file: Path) -> None:
    spec = trained(file, "data.target=x\nseed = 5")

    assert spec.data.target == "x\nseed = 5"


def test_an_option_wins_over_a_set_and_a_set_over_the_file(file: Path) -> None:
    assert trained(file, "name=set").name == "set"
    assert trained(file, "name=set", name="option").name == "option"


@pytest.mark.parametrize(
    ("name", "content", "error", "piece"),
    [
        ("absent.toml", None, NotFound, "absent.toml"),
        ("bad.toml", "a = [1", InvalidInput, "not valid TOML"),
        ("bad.json", "{", InvalidInput, "line 1"),
        ("list.json", "[]", InvalidInput, "table"),
        ("bytes.toml", b"\xff\xfe", InvalidInput, "not valid TOML"),
        ("spec.yaml", "kind: train", InvalidInput, ".toml or a .json"),
    ],
)
def test_a_file_that_holds_no_spec_is_named(
    tmp_path: Path, name: str, content: str | bytes | None, error: type[SinglepointError], piece: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(error, match=piece):
        parse_file(path)


def test_a_spec_one_may_not_read_is_a_matter_of_permission(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object, **_how: object) -> str:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(NotPermitted, match=file.name):
        parse_file(file)


def test_a_mark_that_some_editors_put_in_front_is_no_part_of_the_spec(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    assert isinstance(parse_file(file), TrainSpec)


def test_a_spec_of_the_other_kind_is_met_with_the_command_for_it(file: Path) -> None:
    with pytest.raises(InvalidInput, match="submit train"):
        parse_file(file, kind="predict")


def test_a_prediction_needs_no_file(tmp_path: Path) -> None:
    options = {"model": "wdbc", "input": "/in.csv", "output": "out.csv"}

    spec = parse_document({}, tmp_path, "out", (), options, kind="predict")

    assert isinstance(spec, PredictSpec)
    assert (spec.name, spec.input, spec.output) == ("out", "/in.csv", str(tmp_path / "out.csv"))


@pytest.mark.parametrize("kind", [[], {"type": "adam"}, 3, None])
def test_a_kind_of_any_other_type_is_a_problem_with_its_field(tmp_path: Path, kind: object) -> None:
    with pytest.raises(InvalidInput, match=r"kind: must be 'train' or 'predict'"):
        parse_document({"kind": kind}, tmp_path, "a", kind="train")


BOMBS = {
    "deep.json": '{"a":' * 200_000,
    "lists.json": "[" * 200_000,
    "lists.toml": "a=" + "[" * 100_000,
    "dotted.toml": ".".join(["a"] * 20_000) + "=1\n",
    "quoted.toml": ".".join(['"a"'] * 40_000) + "=1\n",
    "long.json": '{"name": "' + "x" * 2**20 + '"}',
    "full.json": json.dumps({"model": {"layers": [{"type": "relu"}] * 30_000}}),
    "nested.json": '{"training": ' + '{"then": ' * 900 + "1" + "}" * 901,
    "digits.json": '{"priority": ' + "9" * 5000 + "}",
    "unknown.toml": "\n".join(f"k{number} = 1" for number in range(19_000)),
    "unknown-deeper.json": json.dumps({"training": {f"epoch{number}": 1 for number in range(19_000)}}),
    "layers.json": json.dumps({"data": {"path": "x.csv"}, "model": {"hidden": [4] * 19_000}}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_spec_that_is_too_long_too_deep_or_too_full_is_refused_before_it_costs_anything(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(BOMBS[name])
    began = time.process_time()
    with pytest.raises(InvalidInput):
        parse_file(tmp_path / name)
    assert time.process_time() - began < 5


def test_a_set_of_thousands_of_parts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(UsageError, match="parts"):
        parse_file(tmp_path / "a.json", [f"a{'.a' * 5000}=1"])


@pytest.mark.parametrize("word", ["x" * 500_000, "x " * 250_000, "x-" * 250_000, "'\"" * 250_000, ".".join("x" * 31)])
def test_a_long_word_is_read_in_no_time(tmp_path: Path, word: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"kind": "run", "command": ["true", word]}))
    (tmp_path / "b.toml").write_text(f"kind = 'run'\ncommand = ['true', {json.dumps(word)}]\n")
    began = time.process_time()
    for name in ("a.json", "b.toml"):
        spec = parse_file(tmp_path / name)
        assert isinstance(spec, RunSpec) and spec.command == ("true", word)
    parse_file(tmp_path / "a.json", [f"command=['true', {json.dumps(word)}]"])
    assert time.process_time() - began < 5


def test_dots_in_a_word_of_json_make_no_key(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"kind": "run", "command": ["true", ".".join("x" * 50)]}))
    parse_file(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text", ["env.PIN=70710678", "env.PIN=[70710678]", 'env.PIN={a="70710678"}', "env=70710678", "env.A.B=70710678"]
)
def test_no_problem_with_a_variable_shows_its_value(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="env") as caught:
        parse_document({"kind": "run", "command": ["true"]}, tmp_path, "a", [text])
    assert "7071" not in str(caught.value)
