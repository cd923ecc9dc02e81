"""Which fields stand at which place of a spec, read from its classes: for shorthand and what `problems` suggests. Pure.

A place is named by its keys and list positions, such as `("model", "layers", 2, "kernel")`. A dict that a
union of parts may hold is told apart by its `type`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union

from pydantic import SecretStr

from .base import Part

Place = tuple[str | int, ...]


def dotted(place: Place) -> str:
    """`model.layers[2].kernel`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)
    return text.removeprefix(".")


def choices(annotation: Any) -> list[Any]:
    """The members of a (nested) union, without None; any other annotation is its own only choice."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return choices(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [one for member in typing.get_args(annotation) for one in choices(member)]
    return [] if annotation is types.NoneType else [annotation]


def parts(annotation: Any) -> list[type[Part]]:
    """The records that may stand here."""
    return [one for one in choices(annotation) if isinstance(one, type) and issubclass(one, Part)]


def tag(part: type[Part]) -> str | None:
    """The `type` by which a union knows this record, or None."""
    field = part.model_fields.get("type")
    return typing.get_args(field.annotation)[0] if field and typing.get_origin(field.annotation) is Literal else None


def part_of(annotation: Any, value: Any) -> type[Part] | None:
    """The record that the dict `value` is meant to be, as far as its `type` tells."""
    options = parts(annotation)
    if not isinstance(value, dict) or not options:
        return None
    if len(options) == 1:
        return options[0]
    return next((option for option in options if tag(option) == value.get("type")), None)


def item_of(annotation: Any) -> Any:
    """What a list or table may hold here; None where neither may stand."""
    for option in choices(annotation):
        arguments = typing.get_args(option)
        if typing.get_origin(option) is tuple:
            return arguments[0]
        if typing.get_origin(option) is dict:
            return arguments[1]
    return None


def holds_secrets(annotation: Any) -> bool:
    """Whether what may stand here, or below, is kept from everybody's eyes."""
    return annotation is SecretStr or any(map(holds_secrets, typing.get_args(annotation)))


def at(annotation: Any, value: Any, place: Place) -> tuple[Any, Any]:
    """The annotation and the value at `place`, each None where the document leaves what the classes know."""
    for key in place:
        part = part_of(annotation, value)
        if part is not None:
            field = part.model_fields.get(str(key))
            annotation = field.annotation if field else None
        else:
            annotation = item_of(annotation)
        value = child(value, key)
    return annotation, value


def child(value: Any, key: str | int) -> Any:
    """`value[key]`, or None."""
    if isinstance(value, dict):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    return None


def expanded(annotation: Any, value: Any, default: Any = None) -> Any:
    """`value` with shorthand written out.

    Where a record with a `type` may stand, `"adam"` is `{"type": "adam"}`, and a record without one is of the
    default's type: `{"learning_rate": 0.1}` is Adam's.
    """
    if isinstance(value, dict) and "type" not in value and isinstance(default, Part) and (kind := tag(type(default))):
        value = {"type": kind, **value}
    if isinstance(value, str) and str not in choices(annotation) and any(tag(part) for part in parts(annotation)):
        return {"type": value}
    if isinstance(value, list):
        item = item_of(annotation)
        return [expanded(item, one) for one in value]
    part = part_of(annotation, value)
    if part is None:
        return value
    fields = part.model_fields
    return {
        name: expanded(fields[name].annotation, one, fields[name].default) if name in fields else one
        for name, one in value.items()
    }


def everywhere(annotation: Any, place: Place = ()) -> Iterator[tuple[str, Place]]:
    """Every field's name with the place it belongs to, outermost first."""
    if not parts(annotation) and item_of(annotation) is not None:
        yield from everywhere(item_of(annotation), place)
    for part in parts(annotation):
        for name, field in part.model_fields.items():
            yield name, place
            yield from everywhere(field.annotation, (*place, name))
