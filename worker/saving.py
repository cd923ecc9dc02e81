"""Saving in the background: the work stops for one memory copy, a thread does the rest.

At most one save is under way; the next one waits for it. What went wrong in the thread is raised by the
next call, in the thread that works. `Saver` also measures what a save costs the work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checkpoint import Vector


@dataclass(frozen=True)
class SaveCost:
    """Seconds that saving took from the work: count of saves, mean and sum."""

    saves: int = 0
    overhead_s: float = 0.0

    @property
    def save_s(self) -> float:
        return self.overhead_s / self.saves if self.saves else 0.0


class Saver:
    """Takes snapshots into one buffer and has them written.

    snapshot: fills a vector and returns the counters that go with it.  write: makes one durable.
    clock: seconds, monotonic.
    """

    def __init__(
        self,
        size: int,
        dtype: np.dtype[Any],
        snapshot: Callable[[Vector], Mapping[str, Any]],
        write: Callable[[Vector, Mapping[str, Any]], None],
        clock: Callable[[], float],
    ) -> None:
        self._buffer = np.empty(size, dtype)
        self._snapshot = snapshot
        self._write = write
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.cost = SaveCost()

    def save(self, *, wait: bool = False) -> None:
        """Save the state as it is now; with `wait`, return only when it is on disk.

        Raises what the last background write raised.
        """
        begun = self._clock()
        self.drain()
        counters = self._snapshot(self._buffer)
        self._thread = threading.Thread(target=self._run, args=(counters,), name="saver", daemon=True)
        self._thread.start()
        if wait:
            self.drain()
        self.cost = SaveCost(self.cost.saves + 1, self.cost.overhead_s + self._clock() - begun)

    def drain(self) -> None:
        """Wait until nothing is under way; raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self, counters: Mapping[str, Any]) -> None:
        try:
            self._write(self._buffer, counters)
        except BaseException as error:  # noqa: BLE001 - carried to the working thread, which raises it
            self._error = error
