"""What the named policies differ in: one table of rules each, read by `arrange`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from singlepoint.scheduler.world.books import Ranking
from singlepoint.scheduler.world.sharing.usage import Sharing, nobody


class Overtaking(StrEnum):
    """Who may start although somebody before it in line can't yet.

    nobody.  harmless: whoever does not delay the first that can't start.  anybody: whoever fits.
    """

    NOBODY = "nobody"
    HARMLESS = "harmless"
    ANYBODY = "anybody"


@dataclass(frozen=True)
class Rules:
    """ranking: who goes first.  gives_way: whether running work is put down for somebody of a better rank.  sharing:
    which projects stand back, having had more than their share.  last_round: of the last ones that wait, each of which
    gets cores of its own, the longest of equal rank starts first."""

    name: str
    ranking: Ranking
    overtaking: Overtaking
    gives_way: bool = False
    sharing: Sharing = nobody
    last_round: bool = False
