"""Whoever says that there is no memory is understood, however deep it is wrapped."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.ground.memory_errors import lack_of_memory


def test_every_kind_of_no_memory_is_recognised() -> None:
    with pytest.raises(MemoryError) as numpys:
        np.empty(2**60, np.uint8)
    for error in (
        MemoryError(),
        numpys.value,
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
    ):
        assert lack_of_memory(error)


def test_it_is_found_among_the_causes_of_another_error() -> None:
    with pytest.raises(InvalidInput) as wrapped:
        try:
            raise MemoryError("512 bytes")
        except MemoryError:
            raise InvalidInput(Problem("t.parquet", "cannot be read")) from None
    assert lack_of_memory(wrapped.value) == "512 bytes"


def test_arrows_are_too() -> None:
    arrow = pytest.importorskip("pyarrow")
    assert lack_of_memory(arrow.ArrowMemoryError("malloc of size 64 failed"))
    assert lack_of_memory(arrow.ArrowInvalid("Failed to launch worker thread: Resource temporarily unavailable"))


@pytest.mark.parametrize("error", [ValueError("memory"), OSError(errno.ENOSPC, "full"), RuntimeError("thread")])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert lack_of_memory(error) is None
