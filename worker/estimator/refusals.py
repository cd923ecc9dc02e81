"""What the Python door says when it cannot do what it is asked: errors of `jobs.errors` that name argument and column.

Fields of a spec, in which the rest of the program speaks, become arguments here. scikit-learn and most Python code
look for ValueError, so these are ValueErrors too.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from singlepoint.jobs.errors import EXIT_INVALID, InvalidInput, Problem, SinglepointError
from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.fields import expanded
from singlepoint.jobs.spec.network import ModelSpec
from singlepoint.jobs.spec.problems import explain
from singlepoint.worker.data.preprocessing import BadRow
from singlepoint.worker.fitting.training import as_problem

P = TypeVar("P", bound=Part)

_ROWS, _TARGETS = ("data.path", "data.text"), ("data.target", "data.positive")
_SECTIONS = ("training.", "model.", "data.")


class InvalidArgument(InvalidInput, ValueError):
    """An argument, or the data in it, cannot be used."""


class InvalidArgumentType(InvalidArgument, TypeError):
    """An argument holds things of a kind that no table has."""


class BadArgumentRow(BadRow, ValueError):
    """A row of an argument cannot be used."""


class NotTrained(SinglepointError, ValueError, AttributeError):
    """The model has no weights yet: call fit, or load one."""

    exit_code = EXIT_INVALID


def not_trained() -> NotTrained:
    """The error; one that scikit-learn knows as its own, where that is in use."""
    theirs = sys.modules.get("sklearn.exceptions")
    if theirs is None:
        return NotTrained()
    both: type[NotTrained] = type("NotTrained", (NotTrained, theirs.NotFittedError), {"__doc__": NotTrained.__doc__})
    return both()


@contextlib.contextmanager
def refusals(model: ModelSpec | None = None, rows: str = "x") -> Iterator[None]:
    """What is refused inside is an InvalidArgument or a BadArgumentRow.

    model: whose layers a complaint of the network may be about.  rows: what the argument is called that holds them.
    """
    try:
        yield
    except (InvalidArgument, BadArgumentRow, NotTrained):
        raise
    except BadRow as bad:
        (problem,) = bad.problems
        raise BadArgumentRow(bad.row, bad.column, bad.reason, _hint(problem, rows), problem.cell) from bad
    except InvalidInput as error:
        raise InvalidArgument([_of_argument(problem, rows) for problem in error.problems], hint=error.hint) from error
    except ValueError as error:  # of network or trainer: the message names a field
        raise InvalidArgument(_of_argument(as_problem(str(error), model or ModelSpec()), rows)) from error


def refused(argument: str, what: str, hint: str = "") -> InvalidArgument:
    """The error about one argument."""
    return InvalidArgument(Problem(argument, what, hint))


def checked(part: type[P], values: Mapping[str, Any]) -> P:
    """The record with these fields, shorthand written out, numbers of numpy taken. Raises InvalidArgument."""
    document = expanded(part, _plain(values))
    try:
        return part.model_validate(document)
    except ValidationError as error:
        raise InvalidArgument(explain(part, document, error.errors())) from None


def _plain(value: Any) -> Any:
    """Records as dicts, numbers of numpy as Python's: what a document would hold."""
    if isinstance(value, Part):
        return value.model_dump(exclude_unset=True) | {"type": value.type} if hasattr(value, "type") else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple | np.ndarray) else value


def _of_argument(problem: Problem, rows: str) -> Problem:
    field = rows if problem.field in _ROWS else "y" if problem.field in _TARGETS else problem.field
    for section in _SECTIONS:
        field = field.removeprefix(section)
    return replace(problem, field=field, hint=_hint(problem, rows))


def _hint(problem: Problem, rows: str) -> str:
    hint = problem.hint
    for name, argument in (
        ("add it to data.ignore", f"leave it out of {rows}"),
        ("data.ignore", f"what is left out of {rows}"),
        ("data.target", "y"),
        ("data.", ""),
        ("model.", ""),
    ):
        hint = hint.replace(name, argument)
    return hint
