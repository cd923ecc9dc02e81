"""Which of the free cores an attempt gets: not always the first, nor two halves of one while whole ones are free."""

from __future__ import annotations

import pytest

from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.host.state import UNKNOWN, Core, Host
from singlepoint.scheduler.policy.plan import Dispatch
from singlepoint.scheduler.simulation.paper import Paper

SMT = {core: Core(core % 4) for core in range(8)}
"""Four physical cores of two each: 0 and 4 are one."""

NUMA = {core: Core(core, core // 4) for core in range(8)}
"""Two nodes of four."""


@pytest.mark.parametrize(
    ("host", "free", "count", "picked"),
    [
        (UNKNOWN, (0, 1, 2, 3), 2, (0, 1)),
        (Host(load={0: 0.9, 1: 0.9, 2: 0.0, 3: 0.31}), (0, 1, 2, 3), 2, (2, 3)),
        (Host(load={0: 0.04, 1: 0.0}), (0, 1), 1, (0,)),  # next to nothing is nothing
        (Host(layout=SMT), tuple(range(8)), 2, (0, 1)),
        (Host(layout=SMT), (2, 3, 4, 5, 6, 7), 1, (2,)),  # 4 and 5 are halves of what somebody has
        (Host(layout=SMT), (4, 5), 1, (4,)),  # better than none
        (Host(layout=SMT), (0, 4, 1), 2, (0, 1)),
        (Host(layout=NUMA), tuple(range(2, 8)), 3, (4, 5, 6)),  # together on a node
        (Host(layout=NUMA, load={4: 1.0, 5: 1.0}), tuple(range(8)), 4, (0, 1, 2, 3)),
        (Host(layout=NUMA, load={0: 1.0, 1: 1.0}), tuple(range(8)), 4, (4, 5, 6, 7)),
        (Host(layout=NUMA), (2, 3, 4), 3, (2, 3, 4)),  # no node has room for all of it
    ],
)
def test_the_cores_that_are_picked(host: Host, free: tuple[int, ...], count: int, picked: tuple[int, ...]) -> None:
    assert host.picked(free, count) == picked


def test_jobs_of_one_plan_get_cores_of_their_own() -> None:
    paper = Paper(cpu=4)
    for job_id in ("a", "b"):
        paper.submit(job_id, cpu=2)
    plan = decide(paper.world, paper.rules, Host(load={0: 0.8, 1: 0.8}))
    assert [one.terms.cores for one in plan.decisions if isinstance(one, Dispatch)] == [(2, 3), (0, 1)]
