"""One machine shared by the tests that leave it as they found it, and a fresh one for those that do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .machine import SHORT_EPOCHS, Machine


@pytest.fixture(scope="session")
def shared_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    try:
        yield machine.start()
    finally:
        machine.stop()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Not started: a test says with which environment."""
    one = Machine(tmp_path)
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="session")
def undisturbed(shared_machine: Machine) -> str:
    """sha256 of the weights of the standard training, never interrupted."""
    return _calm(shared_machine, "undisturbed")


@pytest.fixture(scope="session")
def undisturbed_short(shared_machine: Machine) -> str:
    """The same of a training that is just long enough to save once."""
    return _calm(shared_machine, "undisturbed-short", epochs=SHORT_EPOCHS)


def _calm(machine: Machine, name: str, **changes: Any) -> str:
    job = machine.finished(machine.train(name, **changes))
    assert job.result is not None and len(job.attempts) == 1
    return str(job.result["sha256"])
