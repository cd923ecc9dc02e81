"""Models on disk: the same bytes each time, readable by others, and nothing but ModelFormatError for a damaged file."""

from __future__ import annotations

import hashlib
import json
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import NotFound
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.models import files
from singlepoint.worker.models.files import ModelFormatError, document_digest, load, save
from singlepoint.worker.models.trained_model import TrainedModel
from tests.worker.models.damage import damaged_copies

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.array(["b", "a", "c"] * 20)


def a_model(**options: Any) -> TrainedModel:
    layers = [
        {"type": "dense", "units": 5, "activation": "relu"},
        {"type": "batch_norm", "name": "norm"},
        {"type": "dense", "units": 3, "activation": "softmax"},
    ]
    model = Model(layers=layers, preprocessing={"normalise": "standard"}, **options).fit(X, Y, epochs=1)
    return replace(model.trained, metrics={"accuracy": 0.5}, provenance={"job": "j1", "seed": 0})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save(a_model(), folder)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(sound, tmp_path / "m"))


def test_the_same_model_gives_the_same_bytes(sound: Path, tmp_path: Path) -> None:
    digest = save(a_model(), tmp_path)
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (sound / name).read_bytes()
    assert digest.sha256 == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()


def test_a_directory_and_the_name_of_the_document_both_open_it(sound: Path) -> None:
    for path in (sound, sound / "model.json"):
        model = load(path)
        assert model.metrics == {"accuracy": 0.5}
        assert model.provenance == {"job": "j1", "seed": 0}
        assert model.classes == ("a", "b", "c")


def test_classes_of_64_bits_are_whole_numbers(tmp_path: Path) -> None:
    classes = (str(-(2**63)), "0", str(2**63 - 1))
    save(replace(a_model(), classes=classes, class_type="integer"), tmp_path)
    assert load(tmp_path).classes == classes
    save(replace(a_model(), classes=("0", "1", str(2**63)), class_type="integer"), tmp_path)
    with pytest.raises(ModelFormatError, match="a class is no whole number"):
        load(tmp_path)


def test_models_of_other_names_keep_their_weights_beside_them(tmp_path: Path) -> None:
    save(a_model(), tmp_path / "iris.json")
    assert {path.name for path in tmp_path.iterdir()} == {"iris.json", "iris.safetensors"}
    assert load(tmp_path / "iris.json").weights_sha256


def test_the_official_library_reads_the_weights_by_pytorchs_names(sound: Path) -> None:
    official = pytest.importorskip("safetensors.numpy")
    tensors = official.load_file(sound / "model.safetensors")
    assert set(tensors) == {
        "0.weight", "0.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "2.weight", "2.bias",
    }  # fmt: skip
    assert tensors["0.weight"].shape == (5, 4)
    state = load(sound).network.state_dict()
    assert all(np.array_equal(tensors[name], state[name]) for name in tensors)


def test_weights_that_the_official_library_wrote_are_read(folder: Path) -> None:
    official = pytest.importorskip("safetensors.numpy")
    body = official.save(load(folder).network.state_dict())
    (folder / "model.safetensors").write_bytes(body)
    document = json.loads((folder / "model.json").read_bytes())
    document["weights"] |= {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
    (folder / "model.json").write_text(signed(document))
    assert Model.load(folder).predict(X).shape == (60,)


def test_a_missing_model_is_not_found_and_one_without_weights_is_incomplete(folder: Path) -> None:
    with pytest.raises(NotFound):
        load(folder / "other.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFormatError, match=r"model\.safetensors"):
        load(folder)


def signed(document: dict[str, Any]) -> str:
    return json.dumps({**document, "sha256": document_digest(document)})


def test_one_changed_digit_of_the_document_is_noticed(folder: Path) -> None:
    document = json.loads((folder / "model.json").read_bytes())
    document["preprocessing"]["columns"][0]["offset"] += 1e-9
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(ModelFormatError, match="does not fit what it says"):
        load(folder)


def test_laying_the_document_out_anew_changes_nothing(folder: Path) -> None:
    document = json.loads((folder / "model.json").read_bytes())
    (folder / "model.json").write_text(json.dumps(document, sort_keys=True))
    assert load(folder).classes == ("a", "b", "c")


def changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(fields)


def deeper(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


@pytest.mark.parametrize("change", [
    changed(format=3),
    changed(extra=1),
    changed(classes=["a", "b"]),
    changed(classes=["a", "b", "b"]),
    changed(classes=None),
    changed(task="regression"),
    changed(class_type="integer"),
    changed(dtype="float64"),
    changed(input_shape=[5]),
    changed(input_shape=[2**31 - 1, 2**31 - 1, 2**31 - 1]),
    changed(vocabulary=9),
    changed(layers=[]),
    changed(preprocessing={"type": "pickle"}),
    deeper("layers", 0, "units", value=2**31 - 1),
    deeper("layers", 0, "type", value="lambda"),
    deeper("layers", 0, "name", value="norm"),
    deeper("metrics", "accuracy", value="high"),
    deeper("preprocessing", "columns", 0, "scale", value=0.0),
    deeper("preprocessing", "columns", 0, "name", value="1"),
    deeper("weights", "file", value="../model.safetensors"),
    deeper("weights", "file", value="/etc/passwd"),
    deeper("weights", "sha256", value="0" * 64),
    deeper("weights", "bytes", value=10**15),
])  # fmt: skip
def test_a_document_that_contradicts_itself_is_refused(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((folder / "model.json").read_bytes())
    change(document)
    (folder / "model.json").write_text(signed(document))
    tracemalloc.start()
    with pytest.raises(ModelFormatError) as caught:
        load(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.exit_code == 65
    assert peak < 1 << 20


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": NaN}', b'{"format": 1, "format": 1}',
    b"[" * 100_000, b"9" * 10_000,
])  # fmt: skip
def test_a_document_that_is_not_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ModelFormatError):
        load(folder)


def test_every_truncation_of_the_weights_is_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for size in range(0, len(whole), 7):
        (folder / "model.safetensors").write_bytes(whole[:size])
        with pytest.raises(ModelFormatError):
            load(folder)


def test_2000_damaged_models_raise_nothing_else_and_allocate_no_more_than_the_files(
    sound: Path, tmp_path: Path
) -> None:
    """The whole run of 100 000 is benchmarks/fuzz_models.py."""
    limit = 2**19 + 40 * sum(path.stat().st_size for path in sound.iterdir())
    refused = 0
    tracemalloc.start()
    for folder in damaged_copies(sound, tmp_path / "d", count=2000, seed=1):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            files.load(folder)
        except ModelFormatError:
            refused += 1
        assert tracemalloc.get_traced_memory()[1] - before < limit
    tracemalloc.stop()
    assert refused > 1500
