"""A field that is read is of its type and within its range, or Malformed says which one is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Malformed, parse, parse_object

WRONG: tuple[Any, ...] = (True, "5", [5], {"a": 5}, 1e400, -1e400, 2**70, -(2**70), "\ud800", [[[]]], -1, 0.5)
READERS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "text": (documents.text, ("", "a")),
    "whole": (documents.whole, (0, 2**63 - 1)),
    "number": (documents.number, (0, 0.5)),
    "flag": (documents.flag, (True, False)),
    "time": (documents.time, ("2026-01-01T00:00:00Z", "1970-01-01T00:00:00.000001+00:00")),
    "texts": (documents.texts, ([], ["a", "b"])),
    "wholes": (documents.wholes, ([], [1, 2])),
    "mapping": (documents.mapping, ({}, {"a": [{"b": 1.5}]})),
    "figures": (documents.figures, ({}, {"a": 1, "b": -0.5})),
}


@pytest.mark.parametrize("name", READERS)
def test_each_reader_takes_its_own_type_and_names_the_field_of_any_other(name: str) -> None:
    read, sound = READERS[name]
    for value in sound:
        read({"field": value}, "field")
    refused = 0
    for value in WRONG:
        try:
            read({"field": value}, "field")
        except Malformed as error:
            assert "`field`" in str(error)
            refused += 1
    assert refused >= 7, f"{name} took too much"


@pytest.mark.parametrize("name", READERS)
def test_a_field_that_is_not_there_or_null_is_its_default_or_malformed(name: str) -> None:
    read, _ = READERS[name]
    for document in ({}, {"field": None}):
        assert read(document, "field", None) is None
        with pytest.raises(Malformed, match="`field` is missing"):
            read(document, "field")


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "2026-01-01", "9999-12-31T23:59:59-12:00", "1969-01-01T00:00:00Z"]
)
def test_a_time_lies_between_1970_and_9999_and_has_a_zone(text: str) -> None:
    with pytest.raises(Malformed):
        documents.time({"at": text}, "at")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[" * 40 + b"]" * 40, b'{"a":' * 40 + b"1" + b"}" * 40, b"1" * 5000],
)
def test_what_is_no_json_or_nested_too_deeply_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed):
        parse(content)


def test_a_document_is_held_to_its_size_and_what_is_not_finite_is_null() -> None:
    assert parse(b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]') == ["[" * 40]
    assert parse_object(b'{"a": NaN, "b": -Infinity}') == {"a": None, "b": None}
    for content in (b"[]", b"3", b'"' + b"a" * documents.MOST_BYTES + b'"'):
        with pytest.raises(Malformed):
            parse_object(content)
