"""What Python code hands in: every kind of table by its names, and every refusal by argument and column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import NotFound, SinglepointError
from singlepoint.worker.estimator.inputs import targets_of
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.estimator.refusals import NotTrained
from singlepoint.worker.estimator.tabular import Classifier, Regressor

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(80, 3))
LABELS = np.where(X[:, 0] > 0, "a", "b")
NAMED = {"u": X[:, 0], "v": X[:, 1]}


def with_missing(labels: np.ndarray, missing: Any) -> np.ndarray:
    labels = labels.astype(object)
    labels[3] = missing
    return labels


def fitted(x: Any = X, y: Any = LABELS, **options: Any) -> Model:
    return Model(hidden=[4], **options).fit(x, y, epochs=2)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "r2 of one row": (lambda: fitted(y=X[:, 0]).score(X[:1], X[:1, 0]), "y: never varies, so R²"),
    "r2 of equal targets": (lambda: fitted(y=X[:, 0]).score(X[:5], np.ones(5)), "y: never varies, so R²"),
    "accuracy of fewer targets": (lambda: fitted().score(X, LABELS[:5]), "y: has 5 rows"),
    "a named column is missing": (lambda: fitted(NAMED).predict({"u": X[:, 0]}), "x: column 'v' is missing"),
    "words for numbers": (lambda: fitted(NAMED).predict({"u": LABELS, "v": LABELS}), "x: column 'u' holds words"),
    "unequal lengths": (
        lambda: fitted(NAMED).predict({"u": X[:, 0], "v": X[:5, 1]}),
        "x: has columns of unequal length",
    ),
    "no rows": (lambda: fitted().predict(np.empty((0, 3))), "x: has no rows"),
    "another width": (lambda: fitted().predict(X[:, :2]), "x: X has 2 features, but Model is expecting 3"),
    "one axis": (lambda: fitted(X[:, 0]), r"x: Expected 2D array.*reshape\(-1, 1\)"),
    "ragged rows": (lambda: fitted([[1, 2], [3]], ["a", "b"]), "x: has rows of unequal length"),
    "complex numbers": (lambda: fitted(X.astype(complex)), "x: Complex data not supported"),
    "dates": (lambda: fitted(np.arange(80).astype("M8[D]")[:, None]), "x: holds dates"),
    "named dates": (lambda: fitted({"d": np.arange(80).astype("M8[D]")}), "x: column 'd' holds dates"),
    "infinite": (lambda: fitted(np.where(X > 2, np.inf, X)), "row .*infinite"),
    "fewer targets": (lambda: fitted(y=LABELS[:70]), "y: has 70 rows, but x has 80"),
    "no targets": (lambda: fitted(y=None), "y: requires y to be passed"),
    "targets None": (lambda: fitted(y=with_missing(LABELS, None)), "row 4, column 'y': the target is missing"),
    "targets NaN": (lambda: fitted(y=with_missing(LABELS, float("nan"))), "row 4, column 'y': the target is missing"),
    "one class": (lambda: fitted(y=["a"] * 80), "y: all rows have the one class 'a'"),
    "a class weight of 0": (
        lambda: Model(hidden=[4]).fit(X, LABELS, class_weights={"a": 0.0, "b": 1.0}),
        r"class_weights.*must be above 0",
    ),
    "a class weight for nobody": (
        lambda: Model(hidden=[4]).fit(X, LABELS, class_weights={"c": 2.0}),
        "class_weights: no class is called",
    ),
    "an optimiser that is none": (lambda: fitted(optimiser="adm"), "optimiser.*did you mean adam"),
    "a negative rate": (lambda: fitted(learning_rate=-1.0), "optimiser.learning_rate: must be above 0"),
    "an activation that is none": (lambda: fitted(activation="rely"), "activation: must be .*did you mean relu"),
    "a field that is none": (lambda: Model().fit(X, LABELS, epoch=3), "epoch: there is no such field.*epochs"),
    "a validation of 2": (lambda: Model().fit(X, LABELS, validation=2), "validation: is 2"),
    "a column in no table": (lambda: fitted(NAMED, preprocessing={"categorical": ["w"]}), "categorical: no column 'w'"),
    "a monitor without a value": (
        lambda: Model().fit(X, LABELS, validation=(X[:3], ["a"] * 3), early_stopping={"monitor": "roc_auc"}),
        "early_stopping.monitor: .*roc_auc",
    ),
    "a parameter that is none": (lambda: Model().set_params(depth=3), "depth: there is no such parameter"),
    "values for classes": (lambda: Classifier().fit(X, X[:, 0]), "y: Unknown label type: continuous"),
    "two columns for classes": (lambda: Classifier().fit(X, np.ones((80, 2))), "y: has shape"),
    "a random_state of text": (lambda: Classifier(random_state="x").fit(X, LABELS), "random_state: is 'x'"),
    "words for values": (lambda: Regressor().fit(X, LABELS), "is not a number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_every_refusal_is_ours_and_names_the_argument(case: str) -> None:
    act, told = REFUSED[case]
    with pytest.raises(SinglepointError, match=told) as caught:
        act()
    assert isinstance(caught.value, ValueError)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("model", [Model(), Classifier(), Regressor()])
def test_a_model_that_was_not_trained_says_so(model: Any) -> None:
    with pytest.raises(NotTrained, match="call fit"):
        model.predict(X)


def test_another_order_of_columns_and_more_of_them_are_the_same_table() -> None:
    model = fitted(NAMED)
    expected = model.predict_proba(NAMED).tobytes()
    assert model.predict_proba({"v": X[:, 1], "w": LABELS, "u": X[:, 0]}).tobytes() == expected


def test_rows_without_names_are_taken_in_the_trainings_order() -> None:
    model = fitted(NAMED)
    assert model.predict_proba(X[:, :2]).tobytes() == model.predict_proba(NAMED).tobytes()
    bare = fitted(X[:, :2])
    assert bare.predict_proba(NAMED).tobytes() == bare.predict_proba(X[:, :2]).tobytes()


def test_lists_objects_and_arrays_of_the_same_numbers_are_the_same_rows() -> None:
    expected = fitted().predict_proba(X).tobytes()
    for rows in (X.tolist(), X.astype(object), list(X)):
        assert fitted(rows).predict_proba(rows).tobytes() == expected


def test_words_among_the_columns_of_an_array_are_categories() -> None:
    rows = np.array([[i % 5, "rg"[i % 2], i % 2 == 0] for i in range(40)], object)
    model = Model(hidden=[4], learning_rate=0.05).fit(rows, rows[:, 1], epochs=20)
    assert model.score(rows, rows[:, 1]) == 1.0


def test_targets_come_back_in_their_own_type() -> None:
    for y, kind in ((LABELS, "U"), (X[:, 0] > 0, "b"), ((X[:, 0] > 0).astype(int) + 3, "i")):
        for given in (y, y.tolist(), y.astype(object)):
            model = fitted(y=given)
            assert model.predict(X).dtype.kind == model.classes_.dtype.kind == kind
            assert set(model.predict(X).tolist()) <= set(y.tolist())


def test_the_name_of_a_target_is_kept(tmp_path: Path) -> None:
    model = fitted(y={"width": X[:, 0], "height": X[:, 1]})
    assert model.trained.target_names == ("width", "height")


def test_a_model_is_loaded_by_its_name_in_a_home(tmp_path: Path) -> None:
    for number in ("1", "2"):
        (tmp_path / "models/wdbc" / number).mkdir(parents=True)
        fitted(seed=int(number)).save(tmp_path / "models/wdbc" / number)
    (tmp_path / "jobs").mkdir()
    newest, before = (Model.load(name, home=tmp_path).predict_proba(X).tobytes() for name in ("wdbc", "wdbc~1"))
    assert newest == fitted(seed=2).predict_proba(X).tobytes()
    assert (
        before
        == fitted(seed=1).predict_proba(X).tobytes()
        == Model.load("wdbc/1", home=tmp_path).predict_proba(X).tobytes()
    )
    with pytest.raises(NotFound, match="no model other"):
        Model.load("other", home=tmp_path)
    with pytest.raises(NotFound, match="no home"):
        Model.load("wdbc", home=tmp_path / "nowhere")


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_table_of_any_library_is_the_same_table(library: str) -> None:
    module = pytest.importorskip(library)
    columns = {
        "n": X[:, 0].tolist(),
        "whole": [None if i % 7 == 0 else i for i in range(80)],
        "word": ["rgb"[i % 3] for i in range(80)],
        "yes": [i % 2 == 0 for i in range(80)],
    }
    table = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    ours = {
        "n": X[:, 0],
        "whole": np.array([np.nan if v is None else v for v in columns["whole"]]),
        "word": np.array(columns["word"], object),
        "yes": np.array(columns["yes"], float),
    }
    expected = Classifier(epochs=3).fit(ours, LABELS)
    model = Classifier(epochs=3).fit(table, LABELS)
    assert model.predict_proba(table).tobytes() == expected.predict_proba(ours).tobytes()
    assert model.feature_names_in_.tolist() == list(columns)
    reversed_ = table.select(list(columns)[::-1]) if library != "pandas" else table[list(columns)[::-1]]
    assert model.predict_proba(reversed_).tobytes() == expected.predict_proba(ours).tobytes()
    with pytest.raises(SinglepointError, match="X: column 'word' is missing"):
        model.predict(table.select(["n", "whole", "yes"]) if library != "pandas" else table[["n", "whole", "yes"]])


def test_nullable_and_categorical_columns_of_pandas_are_what_they_say() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "whole": pd.array([None if i % 9 == 0 else i for i in range(80)], dtype="Int64"),
            "code": pd.Categorical([(1, 2, 10)[i % 3] for i in range(80)]),
            "flag": pd.array([None if i % 11 == 0 else i % 2 == 0 for i in range(80)], dtype="boolean"),
        }
    )
    y = pd.Series(np.where(np.arange(80) % 3 == 0, 5, 7), name="kind", dtype="Int64")
    model = Classifier(epochs=60, learning_rate=0.02).fit(frame, y)
    assert model.trained_.preprocessor.categorical[0].values == ("1", "10", "2")  # type: ignore[union-attr]
    assert model.trained_.target_names == ("kind",)
    assert model.classes_.tolist() == [5, 7] and model.score(frame, y) == 1.0


TRUTH = {"b": [True, False] * 20, "a": (np.arange(40) % 3 * 1.0).tolist()}


def truths(library: str) -> Any:
    if library == "rows":
        return [list(row) for row in zip(TRUTH["b"], TRUTH["a"], strict=True)]
    if library == "mapping":
        return TRUTH
    frame = pytest.importorskip(library.partition(" ")[0]).DataFrame(TRUTH)
    return frame.astype({"b": "boolean"}) if library.endswith("nullable") else frame


@pytest.mark.parametrize("library", ["mapping", "rows", "pandas", "pandas nullable", "polars"])
def test_truth_values_named_as_categories_are_known_when_they_come_again(library: str) -> None:
    x, y = truths(library), [0, 1] * 20
    named = {"categorical": ["0" if library == "rows" else "b"]}
    assert Classifier(epochs=40, preprocessing=named).fit(x, y).score(x, y) == 1.0
    model = Model(hidden=[8], learning_rate=0.05, preprocessing=named).fit(x, y, epochs=40, validation=(x, y))
    assert model.score(x, y) == model.metrics["accuracy"] == 1.0
    assert Classifier(epochs=40, preprocessing={"categorical": ["b"]}).fit(TRUTH, y).score(x, y) == 1.0


def test_codes_and_dates_named_as_categories_are_read_as_such_by_fit() -> None:
    codes, y = {"c": np.array([2**60, 2**60 + 1] * 20)}, [0, 1] * 20
    assert Classifier(epochs=40, preprocessing={"categorical": ["c"]}).fit(codes, y).score(codes, y) == 1.0
    days = {"d": np.array(["2026-01-05", "2026-01-06"] * 20, "M8[D]")}
    assert Classifier(epochs=40, preprocessing={"categorical": ["d"]}).fit(days, y).score(days, y) == 1.0


def test_auto_finds_the_words_of_a_model_as_well() -> None:
    x = {"w": ["x", "y"] * 20}
    assert Model(preprocessing={"categorical": "auto"}).fit(x, x["w"], epochs=40).score(x, x["w"]) == 1.0


def test_numbers_beside_words_in_lists_are_numbers() -> None:
    rows, y = [["rg"[i % 2], float(i)] for i in range(40)], [0, 1] * 20
    assert Classifier(epochs=2).fit(rows, y).trained_.preprocessor.number_names == ("1",)  # type: ignore[union-attr]


def test_what_a_model_from_a_file_takes_for_no_value_is_none_in_python() -> None:
    x = {"a": X[:, 0], "c": np.where(X[:, 0] > 0, "p", "q").astype(object)}
    learned = Classifier(epochs=5).fit(x, LABELS).trained_
    told = learned.preprocessor.model_copy(update={"missing": ("", "-999", "?")})  # type: ignore[union-attr]
    model = Model.of(replace(learned, preprocessor=told))
    expected = model.predict_table({"a": [None, 1.0], "c": ["p", None]})
    for rows in ({"a": [-999, 1], "c": ["p", "?"]}, [[-999, "p"], [1.0, "?"]]):
        scores = model.predict_table(rows)
        assert scores.probabilities.tobytes() == expected.probabilities.tobytes()  # type: ignore[union-attr]
        assert scores.unseen == expected.unseen


def test_masked_values_are_missing_in_every_kind_of_rows_and_targets() -> None:
    masked = np.ma.array(np.where(X > 1, -999.0, X), mask=X > 1)
    known = Classifier(epochs=2).fit(np.where(X > 1, np.nan, X), LABELS).predict_proba(X).tobytes()
    for rows in (masked, list(masked)):
        assert Classifier(epochs=2).fit(rows, LABELS).predict_proba(X).tobytes() == known
    for y in (masked[:, 0], masked[:, 0].astype(int)):
        with pytest.raises(SinglepointError, match="column 'y': the target is missing"):
            Regressor().fit(X, y)


def test_a_mapping_that_is_no_table_is_refused_in_its_argument() -> None:
    for wrong, told in (({"a": {0: 1.0, 1: 2.0}}, "X: column 'a' is of type dict"), ({"a": 5}, "X: column 'a' is of")):
        with pytest.raises(SinglepointError, match=told):
            Classifier().fit(wrong, [0, 1])
    with pytest.raises(SinglepointError, match="y: column '0' is of type int"):
        Classifier().fit(X[:2], {0: 1, 1: 0})


def test_columns_named_by_positions_go_by_these_where_the_model_does() -> None:
    bare = fitted(X[:, :2])
    expected = bare.predict_proba(X[:, :2]).tobytes()
    assert bare.predict_proba({"1": X[:, 1], "0": X[:, 0]}).tobytes() == expected


def test_categories_taken_by_their_place_keep_their_type() -> None:
    rows = np.array([[i % 2 == 0, i % 3] for i in range(40)], object)
    learned = Classifier(epochs=40, preprocessing={"categorical": ["0"]}).fit(rows, [0, 1] * 20).trained_
    bare = Model.of(replace(learned, preprocessor=learned.preprocessor.model_copy(update={"header": False})))  # type: ignore[union-attr]
    named = {"b": [True, False], "a": [0, 1]}
    assert not bare.predict_table(named).unseen
    with pytest.raises(SinglepointError, match="x: column '1' holds words"):
        bare.predict({"b": [True], "a": ["12"]})


@pytest.mark.parametrize("code", [2**63, 2**64, 10**30])
@pytest.mark.parametrize("kind", [list, lambda y: np.array(y, np.uint64 if max(y) < 2**64 else object)])
def test_classes_beyond_64_bits_are_text_and_values_floats(code: int, kind: Callable[[Any], Any]) -> None:
    x, y = np.array([[0.0], [1.0]] * 3), kind([code, code + 1] * 3)
    model = Classifier(epochs=60).fit(x, y)
    assert model.predict(x).tolist() == [str(code), str(code + 1)] * 3
    assert model.score(x, y) == 1.0
    assert Regressor(epochs=150).fit(x, [code, 1] * 3).score(x, [code, 1] * 3) > 0.9


def test_targets_of_a_table_are_as_those_of_its_column() -> None:
    pandas = pytest.importorskip("pandas")
    for cells in ([2**60, 2**60 + 1], [True, False], ["a", "b"]):
        column = pandas.Series(cells * 3, name="t")
        expected, found = targets_of(column), targets_of(column.to_frame())
        assert found.shape == (6, 1) and found[:, 0].tolist() == expected.tolist()
        assert found.dtype == expected.dtype


def test_decimals_are_targets() -> None:
    assert targets_of([Decimal("1.0"), Decimal(2)]).tolist() == [1, 2]
    assert targets_of([Decimal("1.5"), Decimal(2)]).tolist() == [1.5, 2.0]
    with pytest.raises(SinglepointError, match="the target is infinite"):
        Regressor().fit(X[:2], [10**400, 1])


def test_what_says_in_a_mapping_that_it_is_a_category_is_one() -> None:
    pandas = pytest.importorskip("pandas")
    model = Classifier(epochs=2).fit({"c": pandas.Categorical([3, 1, 2] * 20), "a": X[:60, 0]}, LABELS[:60])
    assert model.trained_.preprocessor.number_names == ("a",)  # type: ignore[union-attr]


def test_a_table_without_the_column_of_text_is_refused() -> None:
    texts = np.array(["red apple", "green pear"] * 20, object)
    learned = Model(hidden=[4], preprocessing={}).fit(texts, texts.tolist(), epochs=2).trained
    read = {"column": "review", "header": True, "missing": ("", "NA")}
    told = learned.preprocessor.model_copy(update=read)  # type: ignore[union-attr]
    model = Model.of(replace(learned, preprocessor=told))
    expected = model.predict_proba(np.array(["", "red"], object)).tobytes()
    assert model.predict_proba({"review": ["NA", "red"]}).tobytes() == expected
    assert model.predict_proba(["NA", "red"]).tobytes() == expected
    with pytest.raises(SinglepointError, match="x: column 'review' is missing"):
        model.predict({"x": ["red"]})


def test_a_sparse_matrix_that_is_a_mapping_is_refused_as_what_it_is() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rows = sparse.dok_array(np.eye(4)[:, :3])
    for model in (Classifier(), Model()):
        with pytest.raises(SinglepointError, match="is a sparse matrix"):
            model.fit(rows, [0, 1, 0, 1])
