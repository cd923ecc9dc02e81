"""A duty: what our own processes need is measured again, and set aside for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .duties import Pace


@dataclass(frozen=True)
class Reserving(Pace):
    """It was measured at the start."""

    first_s: float = 30.0


RESERVING = Reserving()


def reserve(measure_again: Callable[[], None]) -> Iterator[None]:
    """One slice: all of /proc is read, which takes some milliseconds."""
    measure_again()
    yield
