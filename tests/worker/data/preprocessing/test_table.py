"""Columns are scaled and spread out as scikit-learn would, from the training rows alone."""

from __future__ import annotations

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import PreprocessingSpec
from singlepoint.worker.data.preprocessing import BadRow, TablePreprocessor, fit_table, prepare
from singlepoint.worker.data.preprocessing.identity import name_of
from singlepoint.worker.data.preprocessing.table import categories

ALL = np.arange(6)


def table(**columns: list[object]) -> dict[str, np.ndarray]:
    return {
        name: np.array(cells, object if isinstance(cells[0], str) else np.float64) for name, cells in columns.items()
    }


def spec(**options: object) -> PreprocessingSpec:
    return PreprocessingSpec.model_validate(options)


@pytest.mark.parametrize(("normalise", "scaler"), [("standard", "StandardScaler"), ("min_max", "MinMaxScaler")])
def test_scaling_agrees_with_scikit_learn(normalise: str, scaler: str) -> None:
    sk = pytest.importorskip("sklearn.preprocessing")
    raw = np.random.default_rng(0).normal(5.0, 3.0, (9000, 4))  # more rows than one chunk
    raw[:, 2] = 7.1
    fitted = fit_table(raw, np.arange(9000), spec(normalise=normalise))
    expected = getattr(sk, scaler)().fit_transform(raw)
    np.testing.assert_allclose(fitted.transform(raw), expected, atol=1e-6)


def test_statistics_come_from_the_training_rows_only() -> None:
    raw = table(a=[1.0, 2.0, 3.0, 1e6, -1e6, 5e5])
    seen = fit_table(raw, np.arange(3), spec())
    alone = fit_table(table(a=[1.0, 2.0, 3.0]), np.arange(3), spec())
    assert seen == alone


@pytest.mark.parametrize(("impute", "value"), [("mean", 2.5), ("median", 2.0), ("most_frequent", 1.0)])
def test_a_missing_number_is_filled_from_the_training_rows(impute: str, value: float) -> None:
    raw = table(a=[1.0, 1.0, 3.0, 5.0, np.nan, 99.0])
    fitted = fit_table(raw, np.arange(5), spec(impute=impute, normalise="none"))
    assert fitted.transform(table(a=[np.nan])).item() == value


def test_numbers_are_prepared_alike_however_they_came() -> None:
    draw = np.random.default_rng(0)
    raw = draw.normal(1e3, 5.0, (40, 5)).astype(np.float32)
    fitted = fit_table(raw.astype(np.float64), np.arange(40), spec(normalise="standard"))
    expected = fitted.transform(raw.astype(np.float64))
    assert fitted.transform({str(place): raw[:, place] for place in range(5)}).tobytes() == expected.tobytes()
    for same in (raw, raw.astype(np.longdouble), raw.astype(object), np.asfortranarray(raw), raw[:, ::-1][:, ::-1]):
        kept = same.copy()
        assert fitted.transform(same).tobytes() == expected.tobytes()
        assert (same == kept).all()
    for row in range(40):
        assert fitted.transform(raw[row : row + 1]).tobytes() == expected[row : row + 1].tobytes()


def test_numpy_warns_of_nothing_that_is_refused_or_made_good() -> None:
    fitted = fit_table(table(a=[1.0, 2.0, np.nan]), np.arange(3), spec(impute="mean"))
    with np.errstate(all="raise"):
        fitted.transform(table(a=[np.nan]))
        for bad in (1e300, np.inf):
            with pytest.raises(BadRow, match=r"row 1.*too large"):
                fitted.transform(np.array([[bad]]))


def test_a_missing_number_names_its_row_and_column_when_nothing_fills_it() -> None:
    raw = table(a=[1.0, 2.0, 3.0], b=[1.0, np.nan, 3.0])
    fitted = fit_table(raw, np.array([0, 2]), spec())
    with pytest.raises(BadRow, match=r"row 2, column 'b'.*missing.*preprocessing.impute") as caught:
        fitted.transform(raw)
    assert (caught.value.row, caught.value.column) == (1, "b")


def test_a_number_too_large_for_float32_is_refused() -> None:
    fitted = fit_table(table(a=[1.0, 2.0]), np.arange(2), spec())
    with pytest.raises(BadRow, match=r"row 1.*too large"):
        fitted.transform(table(a=[1e300]))


def test_an_infinite_number_is_refused_when_fitting() -> None:
    with pytest.raises(BadRow, match="row 2, column 'a'"):
        fit_table(table(a=[1.0, np.inf]), np.arange(2), spec())


def test_categories_have_a_place_each_and_so_have_empty_cells_where_training_had_some() -> None:
    raw = table(n=[0.0] * 6, c=["b", "a", "b", "c", "", "a"])
    fitted = fit_table(raw, ALL, spec(categorical=["c"], normalise="none"))
    assert fitted.output_names == ("n", "c=(missing)", "c=a", "c=b", "c=c")
    answer = fitted.transform(table(n=[0.0] * 3, c=["a", "c", ""]))
    assert answer[:, 1:].tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]


def test_a_category_that_training_never_saw_stands_for_the_average_row_and_is_counted() -> None:
    fitted = fit_table(table(c=["b", "a", "b", "b"]), np.arange(4), spec(categorical=["c"]))
    answer, unseen = fitted.counted(table(c=["a", "new", "", "b", "newer"]))
    assert answer.tolist() == [[1, 0], [0.25, 0.75], [0.25, 0.75], [0, 1], [0.25, 0.75]]
    assert unseen == {"c": 3}


def test_a_column_of_one_category_gives_the_same_for_every_other() -> None:
    fitted = fit_table(table(c=["only"] * 6), ALL, spec(categorical=["c"]))
    assert fitted.transform(table(c=["only", "new", ""])).tolist() == [[1], [1], [1]]


def test_rare_categories_beyond_the_limit_share_a_place_with_those_never_seen() -> None:
    raw = table(c=["b", "a", "b", "c", "b", "a"])
    fitted = fit_table(raw, ALL, spec(categorical=["c"], max_categories=2))
    assert fitted.output_names == ("c=a", "c=b", "c=(other)")
    answer, unseen = fitted.counted(table(c=["a", "c", "new"]))
    assert (answer.tolist(), unseen) == ([[1, 0, 0], [0, 0, 1], [0, 0, 1]], {"c": 2})


def test_a_column_of_an_earlier_release_keeps_its_place_for_others() -> None:
    old = {"type": "table", "columns": [{"type": "categorical", "name": "c", "values": ["a", "b"], "fill": None}]}
    fitted = TablePreprocessor.model_validate(old)
    assert fitted.transform(table(c=["b", "new", ""])).tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1]]
    old = {"type": "table", "columns": [{"type": "numeric", "name": "k", "offset": 3.0, "scale": 1.0}]}
    assert TablePreprocessor.model_validate(old).transform(table(k=[3.0, 5.0])).tolist() == [[0], [2]]


@pytest.mark.parametrize("normalise", ["standard", "min_max", "none"])
@pytest.mark.parametrize("cells", [
    [7.1] * 6,
    [0.3, 0.1 + 0.2] * 3,
    [1e9 / 3, 1e9 * (1 / 3)] * 3,
    [-1e-30] * 6,
    [0.0] * 6,
])  # fmt: skip
def test_a_column_that_never_varied_but_for_rounding_gives_0_whatever_comes(
    cells: list[object], normalise: str
) -> None:
    fitted = fit_table(table(k=cells, x=[1.0, 2.0] * 3), ALL, spec(normalise=normalise))
    answer, unseen = fitted.counted(table(k=[cells[1], 0.31, -1e9], x=[1.0] * 3))
    assert answer[:, 0].tolist() == [0, 0, 0]
    assert unseen == {"k": 2}


def test_small_variations_of_a_large_number_are_no_rounding() -> None:
    times = 1.7e9 + np.arange(6) / 4
    fitted = fit_table({"t": times}, ALL, spec())
    assert fitted.transform({"t": times}).std() == pytest.approx(1)


def test_the_last_bits_of_float32_are_rounding_in_an_array_of_float32() -> None:
    raw = np.array([[0.3, 1.0], [np.nextafter(np.float32(0.3), np.float32(1)), 2.0]] * 3, np.float32)
    fitted = fit_table(raw, ALL, spec())
    answer, unseen = fitted.counted(np.array([[0.31, 1.0]], np.float32))
    assert (answer[0, 0], unseen) == (0, {"0": 1})


def test_empty_cells_of_numbers_are_counted_where_training_had_none() -> None:
    raw = table(a=[1.0, 2.0, 3.0], b=[1.0, np.nan, 3.0])
    fitted = fit_table(raw, np.arange(3), spec(impute="mean"))
    assert fitted.counted(table(a=[np.nan, 1.0, np.nan], b=[np.nan] * 3))[1] == {"a": 2}


def test_a_missing_category_becomes_the_most_frequent_when_asked() -> None:
    raw = table(c=["b", "a", "b", "", "b", "a"])
    fitted = fit_table(raw, ALL, spec(categorical=["c"], impute="most_frequent"))
    assert fitted.transform(table(c=[""])).tolist() == [[0, 1]]


def test_columns_of_an_array_go_by_position() -> None:
    raw = np.array([[1.0, 3.0], [2.0, 4.0], [3.0, 3.0]])
    fitted = fit_table(raw, np.arange(3), spec(categorical=["1"], normalise="none"))
    assert fitted.transform(raw).tolist() == [[1, 1, 0], [2, 0, 1], [3, 1, 0]]
    named = {"0": raw[:, 0], "1": np.array(["3", "4", "3"], object)}
    assert np.array_equal(fitted.transform(named), fitted.transform(raw))


def test_a_row_has_the_same_bits_alone_and_among_others() -> None:
    draw = np.random.default_rng(1)
    raw = {"a": draw.normal(size=300), "b": draw.lognormal(size=300)}
    fitted = fit_table(raw, np.arange(300), spec())
    whole = fitted.transform(raw)
    alone = np.concatenate([fitted.transform({k: v[i : i + 1] for k, v in raw.items()}) for i in range(300)])
    assert whole.tobytes() == alone.tobytes()


def test_the_record_survives_json() -> None:
    raw = table(n=[0.1, 1 / 3, 7e-9, 2.0, 5.0, 6.0], c=["b", "a", "b", "c", "", "ü"])
    fitted = fit_table(raw, ALL, spec(categorical=["c"], impute="mean"), missing=("?",))
    again = TablePreprocessor.model_validate_json(fitted.model_dump_json())
    assert again == fitted
    assert again.transform(raw).tobytes() == fitted.transform(raw).tobytes()


@pytest.mark.parametrize(("raw", "options", "message"), [
    (table(a=[1.0] * 6), {"categorical": ["z"]}, "no column 'z'"),
    (table(a=[np.nan] * 6), {}, "column 'a' has no value"),
    (table(a=[""] * 6), {"categorical": ["a"]}, "column 'a' has no value"),
    (table(a=[1e308, -1e308, 0.0, 0.0, 0.0, 0.0]), {}, "too large to scale"),
])  # fmt: skip
def test_what_cannot_be_fitted_says_why(raw: dict[str, np.ndarray], options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message), np.errstate(over="ignore", invalid="ignore"):
        fit_table(raw, ALL, spec(**options))


def test_a_bad_row_is_counted_in_the_whole_table() -> None:
    raw = table(a=[*map(float, range(9000)), np.nan])
    fitted = fit_table(raw, np.arange(9000), spec())
    with pytest.raises(BadRow) as caught:
        prepare(raw, np.arange(10, 9001), fitted)
    assert caught.value.row == 9000


def test_typed_categories_have_the_names_that_they_have_in_files() -> None:
    cells = np.array([1e16, 1e20, 2.0, 0.5, 1e-7, np.nan])
    assert list(categories(cells)) == [name_of(cell) for cell in cells] == ["1e+16", "1e+20", "2", "0.5", "1e-07", ""]
