"""Saving in the background: one at a time, the state as it was, and no error lost."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from singlepoint.worker.checkpoints.saver import Saver
from singlepoint.worker.nn.arrays import Array


class State:
    """A vector that a training would change at each step."""

    def __init__(self) -> None:
        self.value = 0.0

    def snapshot(self, out: Array) -> dict[str, Any]:
        out[:] = self.value
        return {"step": int(self.value)}


def test_a_save_holds_the_state_of_its_moment_though_the_work_goes_on() -> None:
    state, gate = State(), threading.Event()
    written: list[tuple[float, int]] = []

    def write(vector: Array, counters: Mapping[str, Any]) -> None:
        gate.wait(5)
        written.append((float(vector[0]), counters["step"]))

    saver = Saver(3, np.dtype(np.float32), state.snapshot, write, lambda: 0.0)
    state.value = 1.0
    saver.save()
    state.value = 2.0
    gate.set()
    saver.drain()
    assert written == [(1.0, 1)]


def test_at_most_one_save_is_outstanding() -> None:
    running, most, state = [0], [0], State()

    def write(_vector: Array, _counters: Mapping[str, Any]) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        running[0] -= 1

    saver = Saver(3, np.dtype(np.float32), state.snapshot, write, lambda: 0.0)
    for _ in range(20):
        saver.save()
    saver.drain()
    assert most == [1] and saver.cost.saves == 20


def test_an_error_in_the_background_is_raised_where_the_work_is() -> None:
    def write(_vector: Array, _counters: Mapping[str, Any]) -> None:
        raise OSError("disk on fire")

    saver = Saver(3, np.dtype(np.float32), State().snapshot, write, lambda: 0.0)
    saver.save()
    with pytest.raises(OSError, match="on fire"):
        saver.drain()
    saver.drain()  # raised once


def test_the_cost_is_the_time_the_work_stood_still() -> None:
    times = iter([0.0, 2.0, 10.0, 11.0])
    saver = Saver(1, np.dtype(np.float32), State().snapshot, lambda _v, _c: None, lambda: next(times))
    saver.save()
    saver.save()
    saver.drain()
    assert saver.cost.saves == 2 and saver.cost.overhead_s == pytest.approx(3.0, abs=0.1)
