"""A table in a TOML or JSON file, within limits: what a spec, or the settings, are read from. The only such reader."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from singlepoint.jobs import documents
from singlepoint.jobs.errors import InvalidInput, NotFound, NotPermitted, Problem
from singlepoint.jobs.regular_files import read_regular

MOST_BYTES = 2**20
MOST_VALUES = 20_000
MOST_DEPTH = 32
"""How long, how full and how deep one may be: far more than anybody writes, and checked in no time."""

# It begins where a part does (no quote of one is escaped) and takes back nothing it took: a long one is read once.
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rf"(?<![A-Za-z0-9_\\-])(?:{_PART}\s*+\.\s*+){{{MOST_DEPTH}}}")

_READERS: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads}


def read_document(path: Path) -> dict[str, Any]:
    """The table in a .toml or .json file; raises NotFound, NotPermitted or InvalidInput."""
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise InvalidInput(Problem(str(path), "a spec is a .toml or a .json file"))
    try:
        document = reader(_text(path))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise NotFound(f"no spec file {path}", hint="give the path of a .toml or .json file") from None
    except PermissionError:
        raise NotPermitted(f"cannot read {path}: not permitted", hint="mend its permissions") from None
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}", hint="give another file") from error
    except RecursionError:
        raise InvalidInput(Problem(str(path), "is nested too deeply")) from None
    except ValueError as error:  # TOML's, JSON's and UTF-8's errors are all of this kind, and say where
        raise InvalidInput(Problem(str(path), f"is not valid {path.suffix[1:].upper()}: {error}")) from None
    if not isinstance(document, dict):
        raise InvalidInput(Problem(str(path), "must hold a table at its top"))
    if documents.size(document, MOST_DEPTH) > MOST_VALUES:
        what = f"holds more than {MOST_VALUES} values, or is nested more than {MOST_DEPTH} deep"
        raise InvalidInput(Problem(str(path), what, "put what repeats into the data"))
    return document


def _text(path: Path) -> str:
    """What a spec file says; raises ValueError for one that no spec can be, before it costs anything to parse."""
    content = read_regular(path, MOST_BYTES)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES} bytes, the most that a spec may be")
    text = content.decode("utf-8-sig")
    if path.suffix == ".toml" and is_deep(text):  # in JSON a dot means nothing
        raise ValueError(f"it has a key of more than {MOST_DEPTH} parts")
    return text


def is_deep(text: str) -> bool:
    """Whether it has a dotted key, as TOML has them, of more parts than there may be."""
    return _DEEP_KEY.search(text) is not None
