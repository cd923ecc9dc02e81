"""The two halves of the table of kinds."""

from __future__ import annotations

from singlepoint.jobs.spec import kinds
from singlepoint.worker.kinds import table


def test_what_may_be_asked_can_be_done_and_nothing_else() -> None:
    assert list(table.KINDS) == list(kinds.KINDS)
