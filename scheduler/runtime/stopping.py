"""SIGTERM and SIGINT: they end a wait at once, and never interrupt anything else."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class Stopping(BaseException):
    """Raised where the scheduler waits, once it was asked to stop."""


class StopSignals:
    """Whether this process was asked to stop, and whether it is waiting."""

    def __init__(self) -> None:
        self._asked = False
        self._waiting = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """The signals are ours in here, and whoever's they were before afterwards."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, action in before.items():
                signal.signal(number, action)

    def rest(self, wait: Callable[[], T]) -> T:
        """Wait in a way that a signal may end at once. Raises Stopping, also when the signal came before."""
        self._waiting = True
        try:
            if self._asked:
                raise Stopping
            return wait()
        finally:
            self._waiting = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if self._waiting:
            self._waiting = False  # once: a second signal must not interrupt the leaving
            raise Stopping
