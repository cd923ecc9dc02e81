"""What pydantic found wrong, told to a person: the field's path, the value, and what was probably meant. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from singlepoint.jobs.errors import Problem

from .base import Part
from .fields import Place, at, child, dotted, everywhere, holds_secrets, part_of

_WANTS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text in Unicode",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be at most 64 letters, digits, - and _",
    "tuple_type": "must be a list",
    "too_long": "must have at most {max_length} entries",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "is missing",
    "value_error": "{error}",
}

_OF_THE_WRONG_TYPE = ("_type", "_parsing", "_from_float")
_COMPLETE = {"missing", "union_tag_not_found", "value_error"}  # messages to which the value adds nothing


MOST_HINTS = 50
"""Problems of one spec that come with what was meant, which takes a while to find; further ones say what is wrong."""


def explain(spec: type[Part], document: dict[str, Any], errors: Iterable[ErrorDetails]) -> list[Problem]:
    """One problem for each place, in the order of the spec's fields."""
    by_place: dict[Place, list[ErrorDetails]] = {}
    for error in errors:
        by_place.setdefault(place_of(document, error), []).append(error)
    around = {place[:depth] for place in by_place for depth in range(len(place))}
    told = {place: found for place, found in by_place.items() if not (place in around and all(map(_is_of_type, found)))}
    return [
        _problem(
            spec, document, place, [error for error in found if _is_telling(error, found)], hint=number < MOST_HINTS
        )
        for number, (place, found) in enumerate(told.items())
    ]


def place_of(document: dict[str, Any], error: ErrorDetails) -> Place:
    """Where the error is, without the names of union members that pydantic puts in between."""
    place: list[str | int] = []
    value: Any = document
    last = len(error["loc"]) - 1
    for position, key in enumerate(error["loc"]):
        is_absent_field = position == last and error["type"] == "missing"
        if is_absent_field or (isinstance(value, dict) and key in value) or isinstance(key, int):
            place.append(key)
            value = child(value, key)
    return tuple(place)


def _is_telling(error: ErrorDetails, found: list[ErrorDetails]) -> bool:
    """Of the complaints of a union's members, "wrong type" says nothing when another member took the type."""
    return not _is_of_type(error) or all(_is_of_type(other) for other in found)


def _is_of_type(error: ErrorDetails) -> bool:
    no_word = error["type"] == "literal_error" and isinstance(error["input"], dict | list)
    return no_word or error["type"].endswith(_OF_THE_WRONG_TYPE)


def _problem(
    spec: type[Part], document: dict[str, Any], place: Place, found: list[ErrorDetails], *, hint: bool
) -> Problem:
    kind = found[0]["type"]
    _, value = at(spec, document, place)
    if kind == "extra_forbidden":
        return Problem(dotted(place), _WANTS[kind], _who_was_meant(spec, document, place) if hint else "")
    if kind.startswith("union_tag"):
        place, value = (*place, "type"), child(value, "type")
    wants = " or ".join(dict.fromkeys(_wanted(error) for error in found)).replace(" or must be ", " or ")
    if any(holds_secrets(at(spec, document, place[:depth])[0]) for depth in range(1, len(place) + 1)):
        return Problem(dotted(place), f"{wants}, is {_kind_of(value)}", _WRITTEN)
    message = wants if kind in _COMPLETE else f"{wants}, is {shown(value)}"
    return Problem(dotted(place), message, _which_was_meant(value, found[0]) if hint else "")


def _wanted(error: ErrorDetails) -> str:
    template = _WANTS.get(error["type"])
    return template.format_map(error.get("ctx", {})) if template else error["msg"]


def _who_was_meant(spec: type[Part], document: dict[str, Any], place: Place) -> str:
    """A hint for a field that does not exist: a like name here, or the place where this name belongs."""
    *parent, name = place
    part = part_of(*at(spec, document, tuple(parent)))
    names = list(part.model_fields) if part else []
    if like := closest(str(name), names):
        return f"did you mean {like}?"
    belongs = next((home for known, home in everywhere(spec) if known == name), None)
    if belongs is not None:
        return f"it belongs in {dotted(belongs)}" if belongs else "it belongs at the top"
    return f"known here: {', '.join(names)}" if names else ""


def _which_was_meant(value: Any, error: ErrorDetails) -> str:
    """A hint for a word that is not among those allowed."""
    context = error.get("ctx", {})
    allowed = re.findall(r"'([^']*)'", str(context.get("expected_tags") or context.get("expected") or ""))
    if error["type"] == "union_tag_not_found" or not isinstance(value, str):
        return ""
    like = closest(value, allowed)
    return f"did you mean {like}?" if like else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None when none is."""
    return next(iter(get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)), None)


_WRITTEN = 'write it like env.NAME = "value"; in the shell --env NAME=value'


def _kind_of(value: Any) -> str:
    """Of a value that nobody is shown, what can be said."""
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return kinds.get(type(value), "something else")


def shown(value: Any) -> str:
    """A value as it would stand in a spec, short enough for a message."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
