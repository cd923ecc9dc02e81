"""A check at submit ends within its time and its memory, and says what it could not tell."""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.spec.job import Spec
from singlepoint.worker.kinds import within_limits


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return parse_document({"kind": "train", "data": {"path": "x.csv"}, "model": {"hidden": [4]}}, tmp_path, "spec")


def standing() -> tuple[Any, ...]:
    """What a check must leave as it was."""
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    return limits, signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)


def checked_by(monkeypatch: pytest.MonkeyPatch, spec: Spec, act: Any, **limits: Any) -> tuple[str, ...]:
    """The warnings of a check that acts like that."""
    monkeypatch.setattr(within_limits, "check", act)
    before = standing()
    try:
        checked = within_limits.check_within_limits(spec, **limits)
    finally:
        assert standing() == before
    return () if checked is None else checked.warnings


def test_one_that_takes_too_long_is_given_up_whatever_the_reader_catches(
    monkeypatch: pytest.MonkeyPatch, spec: Spec
) -> None:
    def endless(_spec: Spec) -> None:
        while True:
            try:
                sum(range(1000))
            except Exception:  # as a reader that takes everything for a damaged file
                continue

    [warning] = checked_by(monkeypatch, spec, endless, seconds=0.05)
    assert warning.startswith("unchecked: to look at the data takes more than 0.05 s")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine: RLIMIT_DATA holds nobody here")
def test_one_that_takes_too_much_memory_is_given_up_also_where_the_reader_blames_the_file(
    monkeypatch: pytest.MonkeyPatch, spec: Spec
) -> None:
    def greedy(_spec: Spec) -> None:
        try:
            np.ones(2**27)
        except MemoryError as error:
            raise InvalidInput(Problem("data.path", "cannot be read")) from error

    [warning] = checked_by(monkeypatch, spec, greedy, memory_bytes=2**26)
    assert warning.startswith("unchecked: to look at the data takes more than 64 MiB of memory")


def test_what_a_check_finds_within_them_is_told_as_ever(monkeypatch: pytest.MonkeyPatch, spec: Spec) -> None:
    def finds(_spec: Spec) -> None:
        raise InvalidInput(Problem("data.path", "is none"))

    assert checked_by(monkeypatch, spec, lambda _spec: None) == ()
    with pytest.raises(InvalidInput, match="is none"):
        checked_by(monkeypatch, spec, finds)
