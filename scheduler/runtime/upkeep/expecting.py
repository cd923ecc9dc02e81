"""A duty: where many wait, those stand by what was learned last of their like, or of their kind; where few do, the
world has them stand by it at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from singlepoint.scheduler.world.world import World

from .duties import Pace


@dataclass(frozen=True)
class Expecting(Pace):
    """Soon: until then new ones and old ones of a kind stand by different estimates."""

    every_s: float = 0.5
    share: float = 0.1


EXPECTING = Expecting()


def expect(world: World) -> Iterator[None]:
    """In slices; nothing at all unless something was learned."""
    yield from world.expectations()
