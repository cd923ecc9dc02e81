"""A spec that an earlier version stored keeps its meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.base import as_known_to_format_1
from singlepoint.jobs.spec.job import from_json, to_json
from tests.homes.unpack import HOMES

STORED = sorted(HOMES.glob("0.1.0/home/jobs/*/spec.json"))


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_none(inner) for name, inner in value.items() if inner is not None}
    return [without_none(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_what_came_later_does_as_before_in_a_spec_of_format_1(path: Path) -> None:
    """If this fails for a new field: it must stand in `earlier` of its part, with the value that does as 0.1.0 did."""
    assert without_none(as_known_to_format_1(from_json(path.read_bytes()))) == json.loads(path.read_bytes())


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_a_stored_spec_is_read_as_it_was_written(path: Path) -> None:
    spec = from_json(path.read_bytes())

    assert from_json(to_json(spec)) == spec


def test_a_spec_of_a_later_version_is_refused_with_the_way_out() -> None:
    later = {**json.loads(STORED[0].read_bytes()), "format": 99}

    with pytest.raises(InvalidInput, match=r"is of format 99.*a newer one"):
        from_json(json.dumps(later).encode())
