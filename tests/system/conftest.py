"""One machine shared by the tests that leave it as they found it, and a fresh one for those that do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .machine import Machine, write_training


@pytest.fixture(scope="session")
def shared_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"), grace_s=3)
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
    spec = write_training(shared_machine.directory, name="undisturbed")
    job = shared_machine.finished(shared_machine.submit("train", spec))
    assert job.result is not None and len(job.attempts) == 1
    return str(job.result["sha256"])
