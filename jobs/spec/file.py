"""A spec from a file, with `--set a.b=value` on top.

Paths in a file are relative to it; `~` is the user's home.
"""

from __future__ import annotations

import copy
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from singlepoint.jobs.document_files import MOST_BYTES, MOST_DEPTH, is_deep, read_document
from singlepoint.jobs.errors import InvalidInput, Problem, UsageError

from .job import KINDS, Spec, parse

_KEY = re.compile(r"\.?([A-Za-z0-9_-]+)|\[([0-9]+)\]")

NO_OPTIONS: Mapping[str, Any] = {}


def parse_file(
    path: Path | str, sets: Sequence[str] = (), options: Mapping[str, Any] = NO_OPTIONS, *, kind: str | None = None
) -> Spec:
    """The spec in a file, changed by `sets` (`a.b=value`) and `options` (a path in the spec, and its value).

    Its name is the file's unless it says one.  kind: what it must be, if that is known.
    Raises NotFound, NotPermitted, UsageError (a set that makes no sense) or InvalidInput with every problem.
    """
    document = read_document(Path(path))
    return parse_document(document, Path(path).absolute().parent, Path(path).stem, sets, options, kind=kind)


def parse_document(
    document: dict[str, Any],
    base: Path,
    name: str,
    sets: Sequence[str] = (),
    options: Mapping[str, Any] = NO_OPTIONS,
    *,
    kind: str | None = None,
) -> Spec:
    """The spec in a table that is already read; see `parse_file`.

    base: what its paths are relative to.  name: what it is called unless it says so itself.
    """
    document = copy.deepcopy(document)
    for text in sets:
        if len(text) > MOST_BYTES or is_deep(text):
            where = text.partition("=")[0]  # its value may be a secret
            raise UsageError(f"--set {where[:40]}…: too long, or of more than {MOST_DEPTH} parts")
        where, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: not of the form a.b=value", hint="for example --set training.epochs=5")
        set_value(document, where.strip(), _toml_value(value.strip()))
    for where, value in options.items():
        set_value(document, where, value)
    document.setdefault("name", _name_from(name))
    if kind is not None and document.setdefault("kind", kind) != kind and document["kind"] in list(KINDS):
        other = document["kind"]
        raise InvalidInput(Problem("kind", f"is {other!r}, not {kind!r}", f"use `singlepoint submit {other}`"))
    return parse(document, relative_to(base))


def relative_to(base: Path) -> Callable[[str], str]:
    """Makes a path absolute, starting from `base`."""
    return lambda text: os.path.normpath(base / os.path.expanduser(text))


def set_value(document: dict[str, Any], where: str, value: Any) -> None:
    """Put `value` at the path `where`, in place; tables on the way are made.

    A shorthand on the way is written out: with `optimiser = "adam"`, `optimiser.learning_rate` is Adam's.
    """
    keys = _keys(where)
    if not keys:
        raise UsageError(
            f"{where!r} is no path in a spec", hint="write it like training.epochs or model.layers[2].name"
        )
    holder: Any = document
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        if not _may_hold(holder, key):
            raise UsageError(f"there is no {where} in this spec")
        if following is None:
            holder[key] = value
            return
        inner = holder[key] if isinstance(key, int) else holder.setdefault(key, {})
        if isinstance(inner, str):
            inner = holder[key] = {"type": inner}
        holder = inner


def _may_hold(holder: Any, key: str | int) -> bool:
    return isinstance(holder, list) and key < len(holder) if isinstance(key, int) else isinstance(holder, dict)


def _keys(where: str) -> list[str | int]:
    """`model.layers[2].kernel` as keys and positions; empty when it is not such a path."""
    keys: list[str | int] = []
    position = 0
    while position < len(where):
        match = _KEY.match(where, position)
        if match is None:
            return []
        keys.append(int(match[2]) if match[2] else match[1])
        position = match.end()
    return keys


def _toml_value(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if len(document) == 1 else text


def _name_from(text: str) -> str:
    """A job's name out of a file's: what a name may not hold becomes a dash."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:64] or "job"
