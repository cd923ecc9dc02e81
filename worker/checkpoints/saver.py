"""Saving in the background: the work stops for one memory copy, a thread does the rest.

At most one save is under way; the next one waits for it. What went wrong in the thread is raised by the
next call, in the thread that works. `Saver` also measures what a save costs the work. When one is due: `when_due`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from singlepoint.worker.ground.usage import SaveCost
from singlepoint.worker.nn.arrays import Array


class Saver:
    """Takes snapshots into one buffer and has them written.

    snapshot: fills a vector and returns the counters that go with it.  write: makes one durable.
    clock: seconds, monotonic.
    """

    def __init__(
        self,
        size: int,
        dtype: np.dtype[Any],
        snapshot: Callable[[Array], Mapping[str, Any]],
        write: Callable[[Array, Mapping[str, Any]], None],
        clock: Callable[[], float],
    ) -> None:
        self._buffer = np.empty(size, dtype)
        self._snapshot = snapshot
        self._write = write
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._saves = 0
        self._stood_still_s = 0.0
        self._thread_s = 0.0

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
        self._stood_still_s += self._clock() - begun
        self._saves += 1

    @property
    def cost(self) -> SaveCost:
        return SaveCost(self._saves, self._stood_still_s + self._thread_s)

    def drain(self) -> None:
        """Wait until nothing is under way; raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def end(self) -> None:
        """Wait for the save under way, whatever becomes of it: none must be cut off, or outlive the attempt."""
        if self._thread is not None:
            self._thread.join()

    def leave(self) -> None:
        """Wait for the last save, whatever became of it: the work is done, and needs it no more."""
        if self._thread is not None:
            self._thread.join()
        self._thread = self._error = None

    def _run(self, counters: Mapping[str, Any]) -> None:
        begun = time.thread_time()
        try:
            self._write(self._buffer, counters)
        except BaseException as error:  # noqa: BLE001 - carried to the working thread, which raises it
            self._error = error
        self._thread_s += time.thread_time() - begun
