"""The last ones that wait, a core for each: the longest first, so that all are done the sooner."""

from __future__ import annotations

from dataclasses import replace

from singlepoint.scheduler.policy import feedback
from singlepoint.scheduler.simulation.machine import Replay, knows_all, knows_nothing, replay
from singlepoint.scheduler.simulation.workload import Arrival, Workload


def played(*runs_s: float, cores: int = 2, priorities: tuple[int, ...] = (), knows: bool = True) -> Replay:
    arrivals = [
        Arrival(str(at), float(at), run_s, 1, priority=priorities[at] if priorities else 0)
        for at, run_s in enumerate(runs_s)
    ]
    return replay(Workload("few", cores, tuple(arrivals)), feedback.RULES, 0.0, knows_all if knows else knows_nothing)


def ends(one: Replay) -> list[float]:
    return [life.ended_at for life in one.lives]


def test_of_the_last_two_the_longer_one_gets_the_core_that_comes_free_first() -> None:
    played_so = played(10, 20, 30, 50)
    assert ends(played_so) == [10, 21, 51, 60]
    as_before = replay(played_so.workload, replace(feedback.RULES, last_round=False), 0.0, knows_all)
    assert ends(as_before) == [10, 21, 40, 71]
    assert sum(ends(played_so)) == sum(ends(as_before))


def test_while_more_wait_than_there_are_cores_the_shortest_goes_first() -> None:
    assert ends(played(10, 20, 30, 50, 40)) == [10, 21, 40, 71, 80]  # 30 before 50 and 40; of those, 50


def test_a_better_rank_goes_first_however_short() -> None:
    assert ends(played(10, 20, 30, 50, priorities=(1, 1, 1, 0))) == [10, 21, 40, 71]


def test_where_nobody_knows_first_come_goes_first() -> None:
    assert ends(played(10, 20, 30, 50, knows=False)) == [10, 21, 40, 71]


def test_what_takes_long_waits_for_what_takes_less() -> None:
    assert ends(played(10, 20, 100, 200)) == [10, 21, 110, 221]
