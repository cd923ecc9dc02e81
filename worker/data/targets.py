"""What is to be learned: classes or values, and which rows are held back to check it.

A target is a column of text or numbers. `encode` decides between classification and regression when nobody said,
names the classes, and refuses targets nothing can be learned from. `split` is a function of the seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import Task
from singlepoint.worker.data.preprocessing.identity import is_whole, names_of, value_name
from singlepoint.worker.data.preprocessing.numbers import is_number
from singlepoint.worker.data.preprocessing.numbers import numbers as parsed
from singlepoint.worker.data.preprocessing.rows import BadRow
from singlepoint.worker.nn.arrays import Array, Indices
from singlepoint.worker.nn.random import Purpose, random_words

ClassType = Literal["text", "integer", "boolean"]
Identity = Literal["value", "spelling"]
_CLASS_TYPES: dict[str, ClassType] = {"O": "text", "U": "text", "b": "boolean"}  # by the kind of the values' type

MOST_INFERRED_CLASSES = 20
"""Whole numbers with at most this many different values are taken for classes when nobody said what they are."""


@dataclass(frozen=True)
class Target:
    """An encoded target.

    y: int64 (n,) numbers of classes, or float64 (n, k) values.  classes: their names in the order of their
    numbers, None for values.  class_type: whether they were text, whole numbers or truth values.
    identity: how classes are told apart, see `encode`.
    """

    task: Task
    y: Array
    classes: tuple[str, ...] | None = None
    class_type: ClassType = "text"
    identity: Identity = "value"


def encode(
    values: Array,
    task: Task | None = None,
    *,
    name: str = "y",
    whole: bool = True,
    positive: str | None = None,
    identity: Identity = "value",
) -> Target:
    """values: (n,) text objects, whole numbers or floats; or (n, k) numbers, always a regression.

    Classes are told apart by their value (see `preprocessing.identity`): 2 and 2.0 are one, 007 is another than 7; or
    by their spelling, as in specs of the first format.
    positive: the class that is looked for, put last; otherwise classes are in sorted order.
    whole: False when these are only the first rows, where a single class or value need not be a mistake.
    Raises InvalidInput: a missing value (by row), a single class, values that never vary, text where values are
    needed, or a target of several columns for classes.
    """
    numbers = as_numbers(values)
    _check_complete(values, numbers, name)
    if values.ndim == 2 and values.shape[1] == 1:
        values, numbers = values[:, 0], None if numbers is None else numbers[:, 0]
    if (task or _likely_task(values, numbers)) == "regression":
        return Target("regression", _values(values, numbers, name, constant_is_fine=not whole))
    if values.ndim != 1:
        raise InvalidInput(Problem("data.task", "classes need one target column", "use task = 'regression'"))
    classes, class_type = _classes(values, numbers, identity)
    if len(classes) < 2 and whole:
        hint = "a classification needs rows of at least two classes"
        raise InvalidInput(Problem("data.target", f"all rows have the one class '{classes[0]}'", hint))
    if positive is not None:
        classes = _with_last(classes, value_name(positive) if identity == "value" else positive)
    numbered = number_classes(values, classes, name, identity)
    return Target("classification", numbered, classes, class_type, identity)


def _with_last(classes: tuple[str, ...], positive: str) -> tuple[str, ...]:
    """The classes with the one that is looked for last: scores of two classes are about the second."""
    if positive not in classes:
        known = ", ".join(classes[:10])
        raise InvalidInput(Problem("data.positive", f"there is no class '{positive}'", f"the classes are {known}"))
    return (*(one for one in classes if one != positive), positive)


def encode_like(values: Array, target: Target, *, name: str = "y") -> Array:
    """Other rows' targets, numbered as `target` numbers them. Raises InvalidInput, also for a class it lacks."""
    numbers = as_numbers(values)
    _check_complete(values, numbers, name)
    if target.classes is not None:
        return number_classes(values.reshape(len(values)), target.classes, name, target.identity)
    return _values(values, numbers, name, constant_is_fine=True)


def number_classes(
    values: Array, classes: Sequence[str], name: str = "y", identity: Identity = "value"
) -> npt.NDArray[np.int64]:
    """The number of each row's class. Raises BadRow for one not among them."""
    place = {word: number for number, word in enumerate(classes)}
    names = class_names(values, identity)
    try:
        return np.fromiter(map(place.__getitem__, names), np.int64, len(names))
    except KeyError as unknown:
        row = names.index(unknown.args[0])
        hint = f"known: {', '.join(classes[:10])}"
        raise BadRow(row, name, f"class '{unknown.args[0][:40]}' does not occur in the training rows", hint) from None


def class_names(values: Array, identity: Identity = "value") -> list[str]:
    """Each row's class by the name of its value, or as it is spelled."""
    if identity == "spelling" and values.dtype.kind in "OU":
        return [str(value) for value in values.tolist()]
    if values.dtype.kind == "f" and np.all((values == np.floor(values)) & (np.abs(values) < 2.0**63)):
        values = values.astype(np.int64)
    return names_of(values.tolist())


def in_own_type(names: Sequence[str], class_type: ClassType) -> Array:
    """Classes as they were in the targets: (n,) text, int64 or bool."""
    if class_type == "integer":
        return np.array([int(name) for name in names], np.int64)
    return np.array([name == "True" for name in names]) if class_type == "boolean" else np.array(names, np.str_)


def split(target: Target, share: float, seed: int) -> tuple[Indices, Indices]:
    """Row numbers for training and for validation, each ascending: a function of the arguments alone.

    Classes keep their proportions: rows are lined up class by class, in random order within each, and taken at
    equal distances. One row of each class is never taken.
    Raises InvalidInput when the share of the rows is less than one row, or leaves too few to train on.
    """
    n = len(target.y)
    if not share:
        return np.arange(n), np.arange(0)
    line = np.argsort(random_words(seed, Purpose.SPLIT, n), kind="stable")
    reserved = 1
    if target.classes is not None:
        line = line[np.argsort(target.y[line], kind="stable")]
        firsts = np.flatnonzero(np.diff(target.y[line], prepend=-1))
        line, reserved = np.delete(line, firsts), len(firsts)
    count = int(share * n + 0.5)
    if not 1 <= count <= n - reserved:
        few = f"{share:g} of {n} rows is {count}, which leaves {n - count} to train on"
        raise InvalidInput(Problem("data.validation", few, "give more rows, another share, or 0 for none"))
    places = np.arange(len(line) + 1) * count // len(line)
    chosen = np.zeros(n, bool)
    chosen[line[np.flatnonzero(np.diff(places))]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def as_numbers(values: Array) -> npt.NDArray[np.float64] | None:
    """The values as float64 (missing: NaN), or None when one is neither a number nor missing."""
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    try:
        return parsed(["nan" if word == "" else str(word) for word in values.ravel().tolist()]).reshape(values.shape)
    except (TypeError, ValueError):
        return None


def _likely_task(values: Array, numbers: npt.NDArray[np.float64] | None) -> Task:
    if numbers is None:
        return "classification"
    if numbers.ndim == 2:
        return "regression"
    whole = bool(np.all(numbers == np.floor(numbers)))
    different = np.unique(values if values.dtype.kind in "iu" else numbers)
    return "classification" if whole and len(different) <= MOST_INFERRED_CLASSES else "regression"


def _check_complete(values: Array, numbers: npt.NDArray[np.float64] | None, name: str) -> None:
    if not len(values):
        raise InvalidInput(Problem("data.path", "there are no rows", "give at least a few"))
    bad = np.array([word == "" for word in values.tolist()]) if numbers is None else ~np.isfinite(numbers)
    if bad.any():
        row = int(np.argwhere(bad)[0, 0])
        infinite = numbers is not None and np.isinf(numbers[row]).any()
        reason = "the target is infinite" if infinite else "the target is missing"
        raise BadRow(row, name, reason, "remove the row, or choose another data.target")


def _values(
    values: Array, numbers: npt.NDArray[np.float64] | None, name: str, *, constant_is_fine: bool = False
) -> npt.NDArray[np.float64]:
    if numbers is None:
        row, cell = next((i, word) for i, word in enumerate(values.ravel().tolist()) if not is_number(word))
        hint = "use data.task = 'classification' for names"
        raise BadRow(row, name, "is not a number, which a regression needs", hint, str(cell))
    numbers = numbers.reshape(len(numbers), -1)
    if not constant_is_fine and np.all(numbers == numbers[0]):
        raise InvalidInput(Problem("data.target", "all rows have the same target: there is nothing to learn"))
    return numbers


def narrow(values: Array) -> npt.NDArray[np.float32]:
    """Values (n, k) in float32. Raises BadRow for one that is too large."""
    with np.errstate(over="ignore"):
        narrowed = values.astype(np.float32)
    if not np.isfinite(narrowed).all():
        row = int(np.argwhere(~np.isfinite(narrowed))[0, 0])
        raise BadRow(row, "", "the target is too large", "use larger units")
    return narrowed


def _classes(
    values: Array, numbers: npt.NDArray[np.float64] | None, identity: Identity
) -> tuple[tuple[str, ...], ClassType]:
    """Names in numerical order when they are numbers, else alphabetical."""
    names = class_names(values, identity)
    class_type = _CLASS_TYPES.get(values.dtype.kind, "integer")
    if numbers is None:
        return tuple(sorted(set(names))), "text"
    exact = values if values.dtype.kind in "iu" else numbers
    value: Mapping[str, Any] = dict(zip(names, exact.tolist(), strict=True))
    if class_type == "integer" and not all(map(is_whole, value)):
        class_type = "text"  # fractions, or more than 64 bits
    return tuple(sorted(value, key=lambda word: (value[word], word))), class_type
