"""What a waiting job waits for, and what would help it: nothing is told that playing the line did not show."""

from __future__ import annotations

import math

import pytest

from singlepoint.jobs.clock import iso
from singlepoint.jobs.ledger.entries import Account, Entry
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Sample
from singlepoint.jobs.lifecycle.states import State
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.simulation.forecast import foresee
from singlepoint.scheduler.simulation.paper import MIB, Paper
from singlepoint.scheduler.simulation.scene import Scene, scene_of
from singlepoint.scheduler.simulation.situation import situation
from singlepoint.scheduler.simulation.whatif import Known, outlook, sooner
from singlepoint.scheduler.world.learned.experience import Estimate

NOTHING_KNOWN = Known()


def a_busy_machine(**facts: object) -> Paper:
    """Two cores. `run` has one of them and 100 s to go; `first` and `mine` want both, `first` is first."""
    paper = Paper(cpu=2, memory_mib=2048)
    entry = Entry("x", 1, State.SUCCEEDED, "n", "train", 0.0, 50.0, like="fifty", account=Account(wall_s=50.0))
    paper.world.experience.learn([entry] * 20)
    paper.submit("run", memory_mib=1024)
    paper.settle()
    paper.claim("run")
    paper.pass_time(100)
    paper.world.sampled({"run": Sample(1, paper.now, progress=0.5, wall_s=100.0)})
    paper.submit("first", cpu=2, like="fifty")
    paper.submit("mine", cpu=2, like="fifty", **facts)
    paper.settle()
    return paper


def seen(paper: Paper, policy: str = "fifo") -> Scene:
    return scene_of(paper.world, POLICIES[policy])


def changes(scene: Scene, known: Known = NOTHING_KNOWN) -> dict[str, float]:
    """What would help `mine`, and how much sooner it should start with it."""
    eta = foresee(scene).eta.get("mine")
    starts_at = eta.start[1] if eta is not None and eta.start is not None else math.inf
    found = sooner(scene, "mine", known, eta)
    return {one.words: starts_at - one.eta.start[1] for one in found if one.eta.start is not None}


def test_a_waiting_job_is_told_the_resource_who_holds_it_and_who_goes_first() -> None:
    stands = situation(seen(a_busy_machine()), "mine")
    assert stands is not None
    assert stands.lacks == {"cpu_millis": (2000, 1000)}
    assert (stands.waits_for, stands.ahead) == (("run",), ("first",))
    assert situation(seen(a_busy_machine()), "run") is None, "it runs"


def test_a_place_that_is_kept_for_another_is_told_with_the_time() -> None:
    paper = a_busy_machine()
    paper.submit("slim", preemptible=False)
    stands = situation(seen(paper, "easy"), "slim")
    assert stands is not None and stands.reservation is not None
    assert (stands.reservation.task.id, stands.lacks) == ("first", {})


def test_a_job_that_comes_after_others_waits_for_those_that_have_not_ended() -> None:
    paper = a_busy_machine()
    paper.submit("child", after=["run", "mine:any"])
    stands = situation(seen(paper), "child")
    assert stands is not None and stands.waits_for == ("run", "mine")


def test_a_higher_priority_is_told_with_what_it_brings_and_asking_for_it_brings_that() -> None:
    paper = a_busy_machine()
    told = changes(seen(paper))
    assert told["--priority 1"] == pytest.approx(50, rel=0.1)
    before = foresee(seen(paper)).eta["mine"].start
    paper.note("mine", Note.PRIORITISE, priority=1)
    after = foresee(seen(paper)).eta["mine"].start
    assert before is not None and after is not None
    assert before[1] - after[1] == pytest.approx(told["--priority 1"], abs=1.0)


def test_what_would_change_nothing_is_not_told() -> None:
    paper = a_busy_machine(priority=7)
    assert "--priority 1" not in changes(seen(paper)) and "memory" not in str(changes(seen(paper)))


def test_fewer_cores_and_less_memory_are_told_where_like_jobs_managed_with_them() -> None:
    paper = Paper(cpu=2, memory_mib=1024)
    paper.submit("run", memory_mib=900)
    paper.settle()
    paper.claim("run")
    paper.submit("mine", cpu=2, memory_mib=800)
    known = Known({1: Estimate(50, 60, 70, "like")}, peak_memory_bytes=60 * MIB)
    assert not changes(seen(paper), known), "either alone does not do"
    paper = Paper(cpu=2, memory_mib=1024)
    paper.submit("run", memory_mib=900)
    paper.settle()
    paper.claim("run")
    paper.submit("mine", memory_mib=800)
    assert "--memory 75MiB" in changes(seen(paper), known)


def test_pausing_who_is_in_the_way_is_tried_too() -> None:
    assert changes(seen(a_busy_machine()))["singlepoint pause run"] > 50


def test_letting_it_be_put_down_is_told_where_it_waits_for_somebody_whom_it_would_delay() -> None:
    paper = Paper(cpu=2)
    for name, cpu in (("run", 1), ("first", 2)):
        paper.submit(name, cpu=cpu, preemptible=False)
        paper.settle()
    paper.claim("run")
    paper.submit("mine", preemptible=False)
    assert changes(seen(paper, "feedback"))["preemptible = true"] > 0


def test_a_deadline_that_is_met_anyhow_needs_no_change() -> None:
    paper = a_busy_machine(deadline_at=iso(1_000_000 + 1000))
    found = outlook(seen(paper), "mine", NOTHING_KNOWN)
    assert found is not None and (found.in_time, found.changes) == (1.0, ())


@pytest.mark.parametrize(("priority_of_first", "change"), [(0, "--priority 1"), (1000, "--set training.epochs=20")])
def test_a_deadline_in_danger_comes_with_the_cheapest_change_that_would_meet_it(
    priority_of_first: int, change: str
) -> None:
    """`run` ends in 100 s, `first` and `mine` take 50 s each, so `mine` would end 200 s from now."""
    paper = a_busy_machine(deadline_at=iso(1_000_000 + 285))
    paper.note("first", Note.PRIORITISE, priority=priority_of_first)
    found = outlook(seen(paper), "mine", Known(epochs=40))
    assert found is not None and found.in_time is not None and found.in_time < 0.9
    assert [one.words for one in found.changes] == [change]
    assert (found.changes[0].in_time or 0.0) >= 0.9


def test_a_deadline_that_nothing_would_meet_is_told_as_that() -> None:
    paper = a_busy_machine(deadline_at=iso(1_000_000 + 150))
    found = outlook(seen(paper), "mine", Known(epochs=40))
    assert found is not None and (found.in_time, found.changes) == (0.0, ())
