"""Classes and values are told apart, and the held-back rows are a function of the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.data.preprocessing import BadRow
from singlepoint.worker.data.preprocessing.identity import names_of, own_type
from singlepoint.worker.data.targets import class_names, encode, encode_like, in_own_type, split


def words(*cells: str) -> np.ndarray:
    return np.array(cells, object)


@pytest.mark.parametrize(("values", "task", "classes"), [
    (words("M", "B", "M"), "classification", ("B", "M")),
    (words("10", "9", "10"), "classification", ("9", "10")),
    (words("1.5", "2.5", "3"), "regression", None),
    (np.array([3, 1, 2], np.uint8), "classification", ("1", "2", "3")),
    (np.array([0.0, 1.0, 0.0]), "classification", ("0", "1")),
    (np.array([False, True]), "classification", ("False", "True")),
    (np.arange(21), "regression", None),
    (np.eye(3), "regression", None),
])  # fmt: skip
def test_the_task_follows_from_the_values(values: np.ndarray, task: str, classes: tuple[str, ...] | None) -> None:
    target = encode(values)
    assert (target.task, target.classes) == (task, classes)


def test_codes_with_underscores_are_names_and_not_numbers() -> None:
    assert encode(words("1_0", "2_0", "1_0"), None).classes == ("1_0", "2_0")
    with pytest.raises(BadRow, match="'2_0' is not a number"):
        encode(words("1", "2_0", "3"), "regression")


def test_classes_are_numbered_in_order() -> None:
    assert encode(words("10", "9", "10")).y.tolist() == [1, 0, 1]
    assert encode(np.arange(21), "classification").y.tolist() == list(range(21))


@pytest.mark.parametrize(("values", "classes", "class_type"), [
    (np.array([2**53 + 1, 2**53, 2**53 + 2]), ("9007199254740992", "9007199254740993", "9007199254740994"), "integer"),
    (np.array([-(2**53), -(2**53) - 1]), ("-9007199254740993", "-9007199254740992"), "integer"),
    (np.array([2**63 + 5, 7], np.uint64), ("7", "9223372036854775813"), "text"),
    (np.array([2.0**62, 7.0]), ("7", "4611686018427387904"), "integer"),
    (np.array([2.0**64, 7.0]), ("7", "1.8446744073709552e+19"), "text"),
    (words("9223372036854775813", "9223372036854775814"), ("9223372036854775813", "9223372036854775814"), "text"),
])  # fmt: skip
def test_classes_that_no_float_tells_apart_are_classes_of_their_own(
    values: np.ndarray, classes: tuple[str, ...], class_type: str
) -> None:
    target = encode(values, "classification")
    assert (target.classes, target.class_type) == (classes, class_type)
    own = in_own_type(classes, target.class_type)
    assert list(map(str, own.tolist())) == list(classes)


DECIMALS = st.integers(0, 20).flatmap(lambda places: st.decimals(-(10**20), 10**20, places=places)) | st.decimals(
    -9, 9, places=20
)


@given(st.lists(st.integers(-(2**64), 2**64).map(str) | DECIMALS.map(lambda number: f"{number:f}"), min_size=1))
def test_a_class_has_the_name_of_its_cell(cells: list[str]) -> None:
    assert class_names(own_type(cells)) == names_of(cells)


def test_numbers_are_told_apart_before_they_are_counted() -> None:
    assert encode(2**60 + 64 * np.arange(21)).task == "regression"


def test_values_are_a_column_a_target() -> None:
    assert encode(np.array([1.5, 2.0])).y.shape == (2, 1)
    assert encode(np.ones((4, 3)) * np.arange(4)[:, None]).y.dtype == np.float64


@pytest.mark.parametrize(("values", "task", "message"), [
    (words("a", "", "b"), None, "row 2, column 'y': the target is missing"),
    (words("1", "2", "nan"), None, "row 3, column 'y': the target is missing"),
    (np.array([1.0, np.nan]), None, "row 2, column 'y': the target is missing"),
    (np.array([1.0, np.inf]), None, "row 2, column 'y': the target is infinite"),
    (words("a", "a"), None, "all rows have the one class 'a'"),
    (np.full(4, 2.5), None, "all rows have the same target"),
    (words("1.0", "x"), "regression", "row 2, column 'y': 'x' is not a number"),
    (np.eye(3), "classification", "one target column"),
    (np.zeros(0), None, "there are no rows"),
])  # fmt: skip
def test_targets_nothing_can_be_learned_from_say_why(values: np.ndarray, task: None, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        encode(values, task)


def test_another_files_classes_are_numbered_alike_and_a_new_one_is_refused() -> None:
    target = encode(words("a", "b", "c"))
    assert encode_like(words("c", "c", "a"), target).tolist() == [2, 2, 0]
    with pytest.raises(BadRow, match=r"row 2.*class 'z'"):
        encode_like(words("a", "z"), target)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_validation_part_keeps_the_classes_in_proportion(share: float) -> None:
    target = encode(np.repeat([0, 1, 2], [600, 290, 110]))
    train, validation = split(target, share, seed=3)
    assert sorted([*train, *validation]) == list(range(1000))
    assert len(validation) == 1000 * share
    for number, rows in enumerate([600, 290, 110]):
        assert np.sum(target.y[validation] == number) == pytest.approx(rows * share, abs=2)


def test_the_split_is_a_function_of_the_seed() -> None:
    target = encode(np.random.default_rng(0).normal(size=100))
    assert np.array_equal(split(target, 0.3, 1)[1], split(target, 0.3, 1)[1])
    assert not np.array_equal(split(target, 0.3, 1)[1], split(target, 0.3, 2)[1])


def test_a_class_of_one_row_is_trained_on() -> None:
    target = encode(np.array([0] * 50 + [1] * 49 + [2]))
    for seed in range(20):
        assert 2 in target.y[split(target, 0.4, seed)[0]]


@pytest.mark.parametrize(("rows", "share"), [(2, 0.1), (2, 0.99), (4, 0.75)])
def test_too_few_rows_for_the_share_is_refused(rows: int, share: float) -> None:
    with pytest.raises(InvalidInput, match=r"data\.validation"):
        split(encode(np.arange(rows) % 2), share, 0)


def test_no_share_holds_nothing_back() -> None:
    train, validation = split(encode(np.arange(5)), 0.0, 0)
    assert (len(train), len(validation)) == (5, 0)


def test_the_class_that_is_looked_for_is_the_second_of_two() -> None:
    values = np.array(["well", "ill", "well", "ill"], object)
    assert encode(values).classes == ("ill", "well")
    target = encode(values, positive="ill")
    assert target.classes == ("well", "ill") and target.y.tolist() == [0, 1, 0, 1]
    with pytest.raises(InvalidInput, match=r"data.positive: there is no class 'sick' \(the classes are ill, well\)"):
        encode(values, positive="sick")
