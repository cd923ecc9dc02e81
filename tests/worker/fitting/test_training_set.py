"""From a spec and a file to numbers to train on; and every way the data can be wrong, found before a job runs."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput, NotFound
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.jobs.spec.network import ModelSpec
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.data.preprocessing import LazyRows, SparseRows, rows
from singlepoint.worker.fitting import check, training_set
from singlepoint.worker.fitting.check import check_training
from singlepoint.worker.fitting.loading import load_training_set
from singlepoint.worker.fitting.training import new_network
from singlepoint.worker.fitting.training_set import TrainingSet

ROWS = "".join(f"{i},{i * i},{'yes' if i % 3 else 'no'},{'red' if i % 2 else 'blue'}\n" for i in range(60))
CSV = "a,b,label,colour\n" + ROWS


@dataclass
class Spec:
    data: DataSpec
    preprocessing: PreprocessingSpec
    model: ModelSpec
    training: TrainingSpec


def a_spec(**sections: dict[str, object]) -> Spec:
    data = {"path": "t.csv", "target": "label", **sections.get("data", {})}
    preprocessing = {"categorical": ["colour"], **sections.get("preprocessing", {})}
    return Spec(
        DataSpec.model_validate({k: v for k, v in data.items() if v is not None}),
        PreprocessingSpec.model_validate(preprocessing),
        ModelSpec.model_validate(sections.get("model", {"hidden": [8]})),
        TrainingSpec.model_validate({"seed": 3, **sections.get("training", {})}),
    )


def load(folder: Path, **sections: dict[str, object]) -> TrainingSet:
    return load_training_set(a_spec(**sections), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text(CSV)
    return tmp_path


PLAIN = {"preprocessing": {"categorical": []}}


def test_a_table_becomes_a_training_and_a_validation_part(folder: Path) -> None:
    data = load(folder)
    assert data.x.shape == (48, 4)
    assert (data.rows, data.validation_rows) == (48, 12)
    assert (data.task, data.classes, data.outputs) == ("classification", ("no", "yes"), 2)
    assert new_network(a_spec(), data).output_shape == (2,)


def test_preprocessing_never_sees_the_validation_part(folder: Path) -> None:
    before = load(folder)
    lines = CSV.splitlines()
    _, held_back = training_set.targets.split(training_set.targets.encode(np.arange(60) % 3 > 0), 0.2, 3)
    for row in held_back:
        lines[row + 1] = "1e6,-1e6" + lines[row + 1][lines[row + 1].index(",", lines[row + 1].index(",") + 1) :]
    (folder / "t.csv").write_text("\n".join(lines))
    after = load(folder)
    assert after.preprocessor == before.preprocessor
    assert isinstance(after.x, np.ndarray)
    assert isinstance(before.x, np.ndarray)
    assert after.x.tobytes() == before.x.tobytes()


def test_the_digest_is_over_the_bytes_of_every_file(folder: Path) -> None:
    first = load(folder).digest
    assert load(folder).digest == first
    (folder / "t.csv").write_text(CSV + "1,1,yes,red\n")
    second = load(folder).digest
    (folder / "v.csv").write_text(CSV)
    third = load(folder, data={"validation_path": "v.csv"}).digest
    assert len({first, second, third}) == 3


def test_a_validation_file_is_prepared_like_the_training_rows(folder: Path) -> None:
    (folder / "v.csv").write_text("colour,label,b,a\nred,yes,4,2\ngreen,no,9,3\n")
    data = load(folder, data={"validation_path": "v.csv"})
    assert (data.rows, data.validation_rows) == (60, 2)
    assert data.y_validation is not None
    assert data.y_validation.tolist() == [1, 0]


def test_several_target_columns_make_a_regression(folder: Path) -> None:
    data = load(folder, data={"target": ["a", "b"], "ignore": ["label"]})
    assert (data.task, data.y.shape, data.target_names) == ("regression", (48, 2), ("a", "b"))
    assert new_network(a_spec(), data).output_shape == (2,)


def test_the_loss_decides_the_task_when_nobody_says(folder: Path) -> None:
    assert load(folder, data={"target": "a", "validation": 0.0, "ignore": ["label"]}).task == "regression"
    by_loss = load(
        folder, data={"target": "a", "validation": 0.0, "ignore": ["label"]}, training={"loss": "softmax_cross_entropy"}
    )
    assert by_loss.outputs == 60


def test_many_images_are_kept_as_bytes_until_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).integers(0, 255, (40, 6, 5)).astype(np.uint8)
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(40) % 4)
    at_once = load(tmp_path, data={"path": "t.npz", "target": None}, **PLAIN)
    monkeypatch.setattr(rows, "LAZY_BYTES", 0)
    lazy = load(tmp_path, data={"path": "t.npz", "target": None}, **PLAIN)
    assert isinstance(lazy.x, LazyRows)
    assert isinstance(at_once.x, np.ndarray)
    assert lazy.x[:].tobytes() == at_once.x.tobytes()
    assert lazy.input_shape == (6, 5, 1)


def test_three_axes_are_a_sequence_when_the_network_reads_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.random.default_rng(0).normal(size=(40, 6, 5)), y=np.arange(40) % 4)
    model = {"layers": [{"type": "lstm", "units": 3}, {"type": "dense", "units": 4, "activation": "softmax"}]}
    data = load(tmp_path, data={"path": "t.npz", "target": None}, model=model, **PLAIN)
    assert data.input_shape == (6, 5)


def test_text_becomes_sparse_rows_or_tokens(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "good film,p\nbad film,n\n" * 20)
    data = load(tmp_path, data={"text": "text"}, **PLAIN)
    assert isinstance(data.x, SparseRows)
    sequence = {"categorical": [], "text": {"type": "sequence", "length": 4}}
    model = {
        "layers": [
            {"type": "embedding", "dimension": 2},
            {"type": "flatten"},
            {"type": "dense", "units": 2, "activation": "softmax"},
        ]
    }
    data = load(tmp_path, data={"text": "text"}, preprocessing=sequence, model=model)
    assert isinstance(data.x, np.ndarray)
    assert data.x.dtype == np.int32
    assert data.preprocessor.vocabulary == 5


def test_sound_specs_pass_the_check(folder: Path) -> None:
    check_training(a_spec(), folder)
    check_training(a_spec(training={"loss": "binary_cross_entropy"}), folder)


def test_classes_of_a_spec_of_the_first_format_go_by_their_spelling(folder: Path) -> None:
    (folder / "t.csv").write_text("a,label\n" + "1,0\n2,0.0\n3,1\n" * 9)
    for identity, classes in (("value", ("0", "1")), ("spelling", ("0", "0.0", "1"))):
        spec = a_spec(preprocessing={"categorical": [], "identity": identity})
        assert load_training_set(spec, folder).classes == classes


def test_a_large_file_is_only_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "CHECKED_CELLS", 40)
    rows = "".join(f"{i},1,yes,red\n" for i in range(5000))
    (folder / "t.csv").write_text("a,b,label,colour\n" + rows + "x,1,no,red\n")
    check_training(a_spec(), folder)  # the first rows have one class and no bad cell
    with pytest.raises(InvalidInput, match="row 5001"):
        load(folder)


def csv(content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "t.csv").write_text(content) and None


def arrays(**members: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.savez(folder / "t.npz", **members)


NPZ: dict[str, object] = {"path": "t.npz", "target": None}
X, Y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2

SOFTMAX = {"type": "dense", "units": 2, "activation": "softmax"}
TEXT = csv("t,label\n" + "a,x\na,y\n" * 9)
TOKENS: dict[str, object] = {"categorical": [], "text": {"type": "sequence"}}


def of(**data: object) -> dict[str, dict[str, object]]:
    """Sections for an array file or text, which have no categories."""
    return {"data": {**NPZ, **data}, **PLAIN}


def network(*layers: dict[str, object]) -> dict[str, object]:
    return {"layers": list(layers)}


BAD: dict[str, tuple[Callable[[Path], None], dict[str, dict[str, object]], str]] = {
    "unknown column": (
        csv(CSV), {"data": {"target": "lable"}}, r"data\.target: has no column 'lable'.*did you mean 'label'"
    ),
    "no target": (csv(CSV), {"data": {"target": None}}, r"data\.target: is needed"),
    "unknown feature": (
        csv(CSV), {"data": {"features": ["a", "z"]}, **PLAIN}, r"data\.features: has no column 'z'"
    ),
    "no value in no column": (
        csv(CSV), {"data": {"missing": {"A": ["-999"]}}}, r"data\.missing: has no column 'A'; it has: a, b"
    ),
    "unknown category": (csv(CSV), {"preprocessing": {"categorical": ["color"]}}, r"did you mean 'colour'"),
    "category ignored": (
        csv(CSV), {"data": {"ignore": ["colour"]}}, r"preprocessing\.categorical: 'colour' is not a feature"
    ),
    "text in numbers": (
        csv(CSV), PLAIN, r"row 1, column 'colour': 'blue' is not a number.*preprocessing\.categorical"
    ),
    "missing target": (csv(CSV + "1,1,,red\n"), {}, r"row 61, column 'label': the target is missing"),
    "missing number": (
        csv(CSV + "?,1,no,red\n"), {"data": {"validation": 0.0}}, r"row 61, column 'a': the number is missing"
    ),
    "infinite number": (
        csv(CSV + "inf,1,no,red\n"), {"data": {"validation": 0.0}}, r"row 61, column 'a': the number is infinite"
    ),
    "empty file": (csv(""), {}, "is empty"),
    "no rows": (csv("a,b,label,colour\n"), {}, "has no rows"),
    "one class": (csv(CSV.replace("no", "yes")), {}, "all rows have the one class 'yes'"),
    "same target": (csv("a,label\n1,2.5\n2,2.5\n"), PLAIN, "all rows have the same target"),
    "too few rows": (csv("a,label\n1,x\n2,y\n"), PLAIN, r"data\.validation: 0\.2 of 2 rows is 0"),
    "only a target": (csv("label\nx\ny\n"), PLAIN, "no column besides the target"),
    "empty column": (csv("a,label,b\n" + "1,x,\n2,y,?\n" * 9), PLAIN, r"column 'b' has no value"),
    "npz without y": (arrays(x=X), of(), "has no array 'y'; there are: 'x'"),
    "npz without x": (arrays(y=Y), of(), "has no array 'x'; there are: 'y'"),
    "pickled": (arrays(x=np.array([{}] * 40, object), y=Y), of(), "pickle"),
    "lengths differ": (arrays(x=X, y=Y[:-1]), of(), "has 39 rows, but x has 40"),
    "wrong type": (arrays(x=X.astype(complex), y=Y), of(), "complex128"),
    "not finite": (arrays(x=np.where(X > 2, np.inf, X), y=Y), of(), "infinite"),
    "npy without targets": (
        lambda folder: np.save(folder / "t.npy", X), of(path="t.npy"), r"data\.target_path: is needed"
    ),
    "unknown format": (
        lambda folder: (folder / "t.xls").write_text("") and None, of(path="t.xls"), "cannot tell the format"
    ),
    "columns of arrays": (arrays(x=X, y=Y), of(ignore=["a"]), r"data\.ignore: is for tables"),
    "impute images": (
        arrays(x=np.zeros((40, 3, 3)), y=Y),
        {"data": NPZ, "preprocessing": {"categorical": [], "impute": "mean"}},
        r"preprocessing\.impute: is for tables",
    ),
    "unfrequent words": (
        csv("t,label\n" + "a,x\nb,y\n"),
        {"data": {"text": "t", "validation": 0.0}, **PLAIN},
        r"data\.text: no word occurs in 2 rows",
    ),
    "embedding of numbers": (
        csv(CSV),
        {"model": network({"type": "embedding", "dimension": 2})},
        r"model\.layers\[0\]: an embedding needs text",
    ),
    "tokens without embedding": (
        TEXT, {"data": {"text": "t"}, "preprocessing": TOKENS}, "model: the text arrives as numbers of words"
    ),
    "kernel too large": (
        arrays(x=np.arange(640.0).reshape(40, 4, 4), y=Y),
        {**of(), "model": network({"type": "conv2d", "filters": 2, "kernel": 5}, {"type": "flatten"}, SOFTMAX)},
        r"model\.layers\[0\].*conv2d",
    ),
    "wrong outputs": (csv(CSV), {"model": network({**SOFTMAX, "units": 3})}, r"model\.layers: 2 classes need"),
    "unknown monitor": (
        csv(CSV),
        {"training": {"early_stopping": {"monitor": "rmse"}}},
        r"training\.early_stopping\.monitor: 'rmse' is not measured in a classification",
    ),
    "monitor without a value": (
        csv("a,label\n" + "".join(f"{i},{'x' if i else 'y'}\n" for i in range(60))),
        {"training": {"early_stopping": {"monitor": "roc_auc"}}, **PLAIN},
        r"early_stopping\.monitor: roc_auc has no value: the validation part has rows of 1 of 2 classes",
    ),
    "unknown class weight": (
        csv(CSV), {"training": {"class_weights": {"maybe": 2.0}}}, r"training\.class_weights: no class is called"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("write", "sections", "message"), BAD.values(), ids=BAD.keys())
def test_whatever_is_wrong_with_the_data_is_an_error_at_submit(
    tmp_path: Path, write: Callable[[Path], None], sections: dict[str, dict[str, object]], message: str
) -> None:
    write(tmp_path)
    with pytest.raises(InvalidInput, match=message) as caught:
        check_training(a_spec(**sections), tmp_path)
    assert caught.value.exit_code == 65


@pytest.mark.parametrize("field", ["path", "validation_path"])
def test_a_missing_file_is_named_with_its_field(folder: Path, field: str) -> None:
    with pytest.raises(NotFound, match=f"data.{field}: .*none.csv does not exist"):
        check_training(a_spec(data={field: "none.csv"}), folder)


def test_every_wrong_column_name_is_listed_at_once(folder: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(folder, data={"target": "t", "ignore": ["u"]}, preprocessing={"categorical": ["v"]})
    assert [problem.field for problem in caught.value.problems] == [
        "data.target",
        "data.ignore",
        "preprocessing.categorical",
    ]


def test_packed_csv_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    assert load(tmp_path, data={"path": "t.csv.gz"}).rows == 48
