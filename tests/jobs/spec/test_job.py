"""What may be asked, and what is said of what may not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import TfIdf
from singlepoint.jobs.spec.fields import choices, dotted, everywhere, expanded, parts, tag
from singlepoint.jobs.spec.job import (
    PredictSpec,
    Spec,
    TrainSpec,
    fingerprint,
    from_json,
    is_model_name,
    parse,
    to_json,
)
from singlepoint.jobs.spec.network import Layer, ModelSpec
from singlepoint.jobs.spec.training import Adam, Cosine


def a_training(**sections: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "kind": "train",
        "name": "wdbc",
        "data": {"path": "wdbc.csv", "target": "diagnosis"},
        "model": {"hidden": [32, 16]},
    }
    return {**document, **sections}


def a_prediction(**fields: Any) -> dict[str, Any]:
    return {"kind": "predict", "name": "score", "model": "wdbc", "input": "new.csv", "output": "out.csv", **fields}


def problems(document: dict[str, Any]) -> dict[str, Problem]:
    with pytest.raises(InvalidInput) as caught:
        parse(document)
    found = caught.value.problems
    assert len({problem.field for problem in found}) == len(found), "one problem a place"
    return {problem.field: problem for problem in found}


def the_problem(document: dict[str, Any]) -> Problem:
    [problem] = problems(document).values()
    return problem


def trained(document: dict[str, Any]) -> TrainSpec:
    spec = parse(document)
    assert isinstance(spec, TrainSpec)
    return spec


def test_every_problem_is_told_at_once_with_its_path_and_value() -> None:
    document = a_training(
        data={"path": "wdbc.csv", "validation": 1.5},
        model={"layers": [{"type": "conv2d", "filters": 3, "kernel": [3, -1]}, {"type": "dense", "units": "many"}]},
        training={"epochs": -5, "batch_size": 32, "optimiser": {"type": "gd"}},
        resources={"cpu": 0, "memory": "12 parsecs"},
    )

    found = problems(document)

    assert list(found) == [
        "resources.cpu",
        "resources.memory",
        "data.validation",
        "model.layers[0].kernel[1]",
        "model.layers[1].units",
        "training.epochs",
        "training.batch_size",
    ]
    assert found["training.epochs"].message == "must be at least 1, is -5"
    assert found["model.layers[1].units"].message == 'must be a whole number, is "many"'
    assert "12 parsecs" in found["resources.memory"].message and "512MiB" in found["resources.memory"].message


@pytest.mark.parametrize(
    ("document", "field", "hint"),
    [
        (a_training(trainig={}), "trainig", "training"),
        (a_training(data={"path": "x.csv", "taget": "y"}), "data.taget", "target"),
        (a_training(training={"optimizer": "adam"}), "training.optimizer", "optimiser"),
        (a_training(training={"learning_rate": 0.1}), "training.learning_rate", "training.optimiser"),
        (a_training(epochs=5), "epochs", "training"),
        (a_training(model={"hidden": [3], "activation": "rleu"}), "model.activation", "relu"),
        (a_training(model={"layers": [{"type": "dens", "units": 3}]}), "model.layers[0].type", "dense"),
        (a_training(model={"layers": ["flaten"]}), "model.layers[0].type", "flatten"),
        (a_training(training={"optimiser": "adm"}), "training.optimiser.type", "adam"),
        (a_training(training={"optimiser": {"type": "sgd", "momentm": 0.9}}), "training.optimiser.momentm", "momentum"),
        (a_training(kind="trian"), "kind", "train"),
        (a_prediction(outputs="x.csv"), "outputs", "output"),
    ],
)
def test_a_misspelt_word_is_met_with_the_one_that_was_meant(document: dict[str, Any], field: str, hint: str) -> None:
    assert hint in problems(document)[field].hint


@pytest.mark.parametrize(
    ("document", "field", "piece"),
    [
        (a_training(model={}), "model", "hidden = "),
        (a_training(model={"hidden": [3], "layers": ["flatten"]}), "model", "both"),
        (a_training(model={"layers": []}), "model.layers", "no layer"),
        (a_training(model={"layers": ["flatten"], "dropout": 0.5}), "model.dropout", "layers"),
        (a_training(training={"optimiser": "gd", "batch_size": 8}), "training.batch_size", "gd takes all rows"),
        (
            a_training(training={"optimiser": {"type": "sgd", "nesterov": True}}),
            "training.optimiser.nesterov",
            "momentum",
        ),
        (a_training(training={"label_smoothing": 0.1, "loss": "huber"}), "training.label_smoothing", "huber"),
        (a_training(training={"huber_delta": 2.0}), "training.huber_delta", "huber"),
        (a_training(training={"class_weights": "balanced", "loss": "huber"}), "training.class_weights", "huber"),
        (a_training(data={"path": "x", "target": "y", "features": ["y"]}), "data.features", "target"),
        (a_training(data={"path": "x", "target": "y", "ignore": ["y"]}), "data.ignore", "target"),
        (a_training(data={"path": "x", "validation": 0.1, "validation_path": "v"}), "data.validation", "leave one out"),
        (
            a_training(data={"path": "x", "validation_target_path": "v"}),
            "data.validation_target_path",
            "validation_path",
        ),
        (a_training(preprocessing={"text": "tfidf"}), "preprocessing.text", "data.text"),
        (
            a_training(data={"path": "x", "task": "regression"}, training={"loss": "softmax_cross_entropy"}),
            "training.loss",
            "regression",
        ),
        (
            a_training(data={"path": "x", "validation": 0.0}, training={"early_stopping": {}}),
            "training.early_stopping.monitor",
            "data.validation is 0",
        ),
        (a_prediction(output="out.txt"), "output", ".csv or .npy"),
        (a_prediction(output="new.csv"), "output", "overwrite"),
        (a_prediction(name="a/b"), "name", "letters"),
        (a_training(data={"path": "x", "features": []}), "data.features", "nothing to learn from"),
        (a_prediction(name="last"), "name", "newest job"),
        (a_training(name="last"), "name", "--name"),
        ({"kind": "predict", "name": "x", "model": "m", "input": "i"}, "output", "is missing"),
        (a_training(preprocessing={"denoise": {"size": 3}}), "preprocessing.denoise.type", "is missing"),
        (a_training(resources={"memory": 1024}), "resources.memory", "at least"),
        (a_training(resources={"cpu": 1.5}), "resources.cpu", "whole number"),
        (
            a_training(training={"optimiser": {"type": "adam", "learning_rate": float("nan")}}),
            "training.optimiser.learning_rate",
            "finite",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_named(document: dict[str, Any], field: str, piece: str) -> None:
    problem = problems(document)[field]

    assert piece in str(problem)


@pytest.mark.parametrize(("marks", "field"), [
    ({"decimal": ",", "thousands": ","}, "thousands"),
    ({"decimal": ".", "thousands": "."}, "thousands"),
    ({"thousands": "-"}, "thousands"),
    ({"thousands": "7"}, "thousands"),
    ({"separator": "e"}, "separator"),
    ({"separator": "\n"}, "separator"),
    ({"separator": ";", "quote": ";"}, "quote"),
    ({"separator": '"'}, "quote"),
    ({"quote": "x"}, "quote"),
    ({"comment": "1"}, "comment"),
    ({"comment": "-"}, "comment"),
    ({"comment": " "}, "comment"),
    ({"comment": '"'}, "comment"),
])  # fmt: skip
def test_a_mark_that_data_is_made_of_or_that_is_another_is_refused(marks: dict[str, str], field: str) -> None:
    assert the_problem(a_prediction(**marks)).field == field
    data = {"path": "wdbc.csv", "target": "diagnosis", **marks}
    assert the_problem(a_training(data=data)).field == f"data.{field}"


@pytest.mark.parametrize("marks", [
    {"separator": ",", "decimal": ",", "thousands": "."},
    {"separator": ",", "thousands": ","},
    {"separator": " ", "thousands": "'", "quote": ""},
    {"separator": "\t", "thousands": " ", "comment": "%"},
])  # fmt: skip
def test_marks_that_can_be_told_apart_are_taken(marks: dict[str, str]) -> None:
    parse(a_prediction(**marks))


def test_a_mistake_in_one_field_does_not_hide_a_contradiction_between_others() -> None:
    document = a_training(training={"epochs": 0, "batch_size": 4, "optimiser": "gd"}, data={"path": 5})

    assert list(problems(document)) == ["data.path", "training.epochs", "training.batch_size"]


def test_a_value_that_could_be_two_kinds_is_told_once() -> None:
    conv = {"type": "conv2d", "filters": 1}

    wrong = the_problem(a_training(model={"layers": [{**conv, "kernel": "big"}]}))
    assert wrong.message == 'must be a whole number or a list, is "big"'
    assert the_problem(a_training(model={"layers": [{**conv, "kernel": 0}]})).message == "must be at least 1, is 0"
    assert trained(a_training(model={"layers": [{**conv, "kernel": [3, 5]}]})).model.layers is not None


def test_a_type_alone_stands_for_the_record_with_its_defaults() -> None:
    spec = trained(
        a_training(
            model={"layers": ["flatten", {"type": "dense", "units": 2, "initialiser": "he"}]},
            training={"optimiser": {"type": "adam", "schedule": "cosine"}},
        )
    )

    assert spec.training.optimiser == Adam(type="adam", schedule=Cosine(type="cosine"))
    assert trained(a_training(training={"optimiser": "adam"})).training.optimiser == Adam(type="adam")


def test_a_record_without_a_type_is_of_the_defaults_type() -> None:
    spec = trained(
        a_training(
            data={"path": "t.csv", "target": "y", "text": "t"},
            preprocessing={"text": {"ngrams": 1}},
            training={"optimiser": {"learning_rate": 0.1}},
        )
    )

    assert spec.training.optimiser == Adam(type="adam", learning_rate=0.1)
    assert spec.preprocessing.text == TfIdf(type="tfidf", ngrams=1)


@pytest.mark.parametrize("document", [a_training(), a_prediction(), a_training(training={"optimiser": "gd"})])
def test_a_stored_spec_comes_back_as_it_was_with_every_default_in_it(document: dict[str, Any]) -> None:
    spec = parse(document)

    assert from_json(to_json(spec)) == spec
    assert json.loads(to_json(spec))["resources"] == {"cpu": 1, "memory_from": "spec", "network": 0, "storage": 0}


def test_the_fingerprint_is_of_the_wish_and_not_of_how_it_was_written() -> None:
    short = parse(a_training(training={"optimiser": "adam"}))
    long = parse(a_training(training={"optimiser": {"type": "adam", "beta1": 0.9}, "epochs": 10}))
    other = parse(a_training(training={"seed": 1}))

    assert fingerprint(short) == fingerprint(long) != fingerprint(other)


def test_paths_become_absolute_and_a_models_name_stays_a_name() -> None:
    def under(path: str) -> str:
        return f"/there/{path}"

    train = trained_under(a_training(data={"path": "x.npy", "target_path": "y.npy", "validation_path": "v.npy"}))
    assert (train.data.path, train.data.target_path, train.data.validation_path) == (
        "/there/x.npy",
        "/there/y.npy",
        "/there/v.npy",
    )
    for word, meant in {"wdbc": "wdbc", "wdbc/3": "wdbc/3", "./wdbc": "/there/./wdbc", "a/b": "/there/a/b"}.items():
        spec = parse(a_prediction(model=word), under)
        assert isinstance(spec, PredictSpec)
        assert (spec.model, spec.input, spec.output) == (meant, "/there/new.csv", "/there/out.csv")
    assert is_model_name("wdbc/3") and not is_model_name("wdbc/x")


def trained_under(document: dict[str, Any]) -> TrainSpec:
    spec = parse(document, lambda path: f"/there/{path}")
    assert isinstance(spec, TrainSpec)
    return spec


def test_amounts_may_be_written_with_units() -> None:
    resources = {"cpu": 2, "memory": "1.5GiB", "storage": "10GB", "network": "1MiB/s"}

    amounts = parse(a_training(resources=resources)).resources.amounts()

    assert amounts.amounts() == (2000, 1536 * 2**20, 10**10, 2**20)


def test_every_layer_has_a_type_of_its_own_by_which_it_is_known() -> None:
    tags = [tag(part) for part in parts(Layer)]

    assert None not in tags and len(set(tags)) == len(tags) == len(choices(Layer))
    assert expanded(ModelSpec, {"layers": ["flatten"]}) == {"layers": [{"type": "flatten"}]}
    assert ("kernel", ("model", "layers")) in list(everywhere(TrainSpec))
    assert dotted(("model", "layers", 2, "kernel")) == "model.layers[2].kernel"


_words = st.sampled_from(
    ["data", "model", "type", "layers", "hidden", "optimiser", "training", "dense", "adam", "units"]
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=True) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_words, _values, max_size=5))
def test_any_document_is_a_spec_or_a_list_of_problems_and_nothing_else(document: dict[str, Any]) -> None:
    try:
        spec: Spec | None = parse({"name": "x", **document})
    except InvalidInput as error:
        assert error.problems
    else:
        assert spec is not None
