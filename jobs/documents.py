"""Reading JSON that nobody vouches for. Pure.

What lies on disk or in Redis may have been cut short, edited or mixed up. `parse` holds a document to a size and a
depth; each reader below takes one field of it, by type and range. All of them raise Malformed, which names the field,
and nothing else: what to do about it says whoever knows where the document came from.

A field that is null counts as one that is not there. Fields nobody reads are let be: a later version may have written
them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

Document = Mapping[str, Any]
D = TypeVar("D")

MOST_BYTES = 2**22
MOST_DEPTH = 32
MOST_WHOLE = 2**63 - 1
MOST_ENTRIES = 100_000
LAST_S = 253_402_214_400.0
"""The last day of the year 9999, in seconds since the epoch: what can be written as a time."""


class Malformed(ValueError):
    """A document is not what it should be; says where, and what should be there."""


class Needed(Enum):
    """In place of a default: the field has to be there."""

    NEEDED = "needed"


NEEDED = Needed.NEEDED


def parse(content: bytes | str, *, most_bytes: int = MOST_BYTES, most_depth: int = MOST_DEPTH) -> Any:
    """The JSON value in `content` (UTF-8); NaN and the infinities are read as null.

    Raises Malformed for what is no JSON, longer than `most_bytes`, or nested deeper than `most_depth`.
    """
    if len(content) > most_bytes:
        raise Malformed(f"it is longer than {most_bytes} bytes")
    try:
        text = content.decode() if isinstance(content, bytes) else content
        value = _DECODER.decode(text)
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"it is no JSON ({error})") from None
    if text.count("{") + text.count("[") > most_depth and size(value, most_depth) == math.inf:
        raise Malformed(f"it is nested more than {most_depth} deep")
    return value


_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def parse_object(content: bytes | str, *, most_bytes: int = MOST_BYTES, most_depth: int = MOST_DEPTH) -> dict[str, Any]:
    """As `parse`, for a document that has to be an object."""
    value = parse(content, most_bytes=most_bytes, most_depth=most_depth)
    if not isinstance(value, dict):
        raise Malformed("it is no JSON object")
    return value


def size(value: Any, most_depth: int) -> float:
    """How many values there are in a value, itself included; infinite when it is nested deeper than `most_depth`."""
    count, level = 0, [value]
    for _ in range(most_depth + 1):
        count += len(level)
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return count
    return math.inf


def text(document: Document, name: str, default: D | Needed = NEEDED, *, most: int = MOST_BYTES) -> str | D:
    """A string of at most `most` characters."""
    value = document.get(name)
    if isinstance(value, str) and len(value) <= most:
        return value
    return _instead(value, name, f"a text of at most {most} characters", default)


def whole(
    document: Document, name: str, default: D | Needed = NEEDED, *, least: int = 0, most: int = MOST_WHOLE
) -> int | D:
    """A whole number between two bounds."""
    value = document.get(name)
    if type(value) is int and least <= value <= most:  # not isinstance: true and false are whole numbers in Python
        return value
    return _instead(value, name, f"a whole number from {least} to {most}", default)


def number(
    document: Document, name: str, default: D | Needed = NEEDED, *, least: float = 0.0, most: float = 1e18
) -> float | D:
    """A finite number between two bounds."""
    value = document.get(name)
    if (type(value) is float or type(value) is int) and least <= value <= most:
        return value
    return _instead(value, name, f"a number from {least:g} to {most:g}", default)


def flag(document: Document, name: str, default: D | Needed = NEEDED) -> bool | D:
    """True or false."""
    value = document.get(name)
    return value if isinstance(value, bool) else _instead(value, name, "true or false", default)


def time(document: Document, name: str, default: D | Needed = NEEDED) -> float | D:
    """Seconds since the epoch, from a time as `clock.iso` writes it."""
    value = document.get(name)
    if isinstance(value, str) and len(value) <= 40:
        try:
            at = datetime.fromisoformat(value)
            seconds = at.timestamp() if at.tzinfo is not None else -1.0
        except (ValueError, OverflowError):
            seconds = -1.0
        if 0.0 <= seconds <= LAST_S:
            return seconds
    return _instead(value, name, "a time in UTC", default)


def texts(document: Document, name: str, default: D | Needed = NEEDED) -> tuple[str, ...] | D:
    """A list of strings."""
    value = document.get(name)
    if isinstance(value, list) and len(value) <= MOST_ENTRIES and all(isinstance(one, str) for one in value):
        return tuple(value)
    return _instead(value, name, "a list of texts", default)


def wholes(
    document: Document, name: str, default: D | Needed = NEEDED, *, most: int = MOST_WHOLE
) -> tuple[int, ...] | D:
    """A list of whole numbers from 0 to `most`."""
    value = document.get(name)
    short = isinstance(value, list) and len(value) <= MOST_ENTRIES
    if short and all(type(one) is int and 0 <= one <= most for one in value or ()):
        return tuple(value or ())
    return _instead(value, name, f"a list of whole numbers from 0 to {most}", default)


def mapping(document: Document, name: str, default: D | Needed = NEEDED) -> dict[str, Any] | D:
    """An object, of whatever finite values."""
    value = document.get(name)
    if isinstance(value, dict) and is_finite(value):
        return value
    return _instead(value, name, "an object of finite values", default)


def figures(document: Document, name: str, default: D | Needed = NEEDED) -> dict[str, float] | D:
    """An object of finite numbers; those that are null are left out."""
    value = document.get(name)
    if isinstance(value, dict):
        known = {key: one for key, one in value.items() if one is not None}
        if all(type(one) in (float, int) and -1e308 <= one <= 1e308 for one in known.values()):
            return known
    return _instead(value, name, "an object of numbers", default)


def is_finite(value: Any) -> bool:
    """Whether no number in a parsed value is beyond what a float holds."""
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _instead(value: Any, name: str, wanted: str, default: D | Needed) -> D:
    """The default of a field that is not there; raises Malformed for one that is there, or has none."""
    if isinstance(default, Needed) or value is not None:
        raise Malformed(f"`{name}` is {'missing' if value is None else f'not {wanted}'}")
    return default
