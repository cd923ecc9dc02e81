"""Start and end are told by playing the queue forward."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from statistics import NormalDist, fmean

import pytest

from singlepoint.jobs.clock import iso
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.reasons import Eta
from singlepoint.jobs.lifecycle.records import Resources, Sample
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.simulation.forecast import foresee, foresight, plays, staged
from singlepoint.scheduler.simulation.paper import Paper
from singlepoint.scheduler.simulation.scene import Coming, Hope, scene_of
from singlepoint.scheduler.simulation.scene_document import from_json, to_json
from singlepoint.scheduler.world.learned.experience import Z80, Estimate
from singlepoint.scheduler.world.learned.reliability import Posterior
from singlepoint.scheduler.world.tasks import Task
from singlepoint.scheduler.world.world import World


def forecast(world: World, rules: Rules) -> Mapping[str, Eta]:
    return foresee(scene_of(world, rules)).eta


@pytest.fixture
def paper() -> Paper:
    """One core. `run` has done half in 100 s; `next` and `last` wait, and their like took 50 s, often."""
    paper = Paper(cpu=1)
    entry = Entry("x", 1, State.SUCCEEDED, "n", "train", 0.0, 50.0, like="fifty", account=Account(wall_s=50.0))
    paper.world.experience.learn([entry] * 20)
    paper.submit("run")
    paper.settle()
    paper.claim("run")
    paper.submit("next", like="fifty")
    paper.submit("last", like="fifty")
    paper.pass_time(100)
    paper.world.sampled({"run": Sample(1, paper.now, progress=0.5, wall_s=100.0)})
    paper.settle()
    return paper


def test_each_waits_for_those_before_it_and_the_interval_holds_the_middle(paper: Paper) -> None:
    found = forecast(paper.world, POLICIES["fifo"])
    assert found["run"].start is None
    assert found["run"].end[1] - paper.now == pytest.approx(100, rel=0.1)
    assert found["next"].start is not None and found["last"].start is not None
    assert found["next"].start[1] - paper.now == pytest.approx(100, rel=0.1)
    assert found["last"].end[1] - paper.now == pytest.approx(200, rel=0.1)
    for eta in found.values():
        assert eta.end[0] <= eta.end[1] <= eta.end[2]


def test_the_same_queue_has_the_same_forecast_and_looking_ahead_changes_nothing(paper: Paper) -> None:
    free, waiting = paper.world.free, list(paper.world.books.waiting())
    assert forecast(paper.world, POLICIES["feedback"]) == forecast(paper.world, POLICIES["feedback"])
    assert (paper.world.free, list(paper.world.books.waiting())) == (free, waiting)


def test_a_dependent_starts_after_what_it_comes_after_has_ended_along_a_chain(paper: Paper) -> None:
    paper.submit("second", like="fifty", after=["next"])
    paper.submit("third", like="fifty", after=["second:any", "run"])
    found = forecast(paper.world, POLICIES["feedback"])
    for one, other in (("next", "second"), ("second", "third")):
        start = found[other].start
        assert start is not None and all(at >= end for at, end in zip(start, found[one].end, strict=True))


def test_what_waits_for_a_failure_or_is_held_has_no_eta_and_neither_has_what_comes_after_it(paper: Paper) -> None:
    paper.submit("sorry", after=["run:failed"])
    paper.submit("held")
    paper.note("held", Note.HOLD)
    paper.submit("behind", after=["held"])
    assert forecast(paper.world, POLICIES["fifo"]).keys() == {"run", "next", "last"}


def test_a_job_with_a_begin_starts_no_earlier(paper: Paper) -> None:
    paper.submit("late", like="fifty", begin_at=iso(paper.now + 1000))
    start = forecast(paper.world, POLICIES["feedback"])["late"].start
    assert start is not None and start[0] == pytest.approx(paper.now + 1000, abs=0.5)


def test_what_would_go_on_when_the_home_is_drained_has_no_eta(paper: Paper) -> None:
    paper.world.books.drains_at = paper.now + 175
    assert forecast(paper.world, POLICIES["fifo"]).keys() == {"run", "next"}


def test_what_stands_still_for_its_owner_keeps_its_memory_in_a_forecast_too() -> None:
    paper = Paper(cpu=2, memory_mib=1024)
    paper.submit("still", memory_mib=800)
    paper.settle()
    paper.claim("still")
    paper.note("still", Note.ASK, ask="pause")
    paper.note("still", Note.PAUSE)
    paper.submit("wide", memory_mib=800)
    paper.submit("slim", memory_mib=100)
    assert forecast(paper.world, POLICIES["best-effort"]).keys() == {"slim"}


@pytest.mark.parametrize(("spare_s", "least", "most"), [(-60.0, 0.0, 0.0), (600.0, 1.0, 1.0), (0.0, 0.2, 0.8)])
def test_the_chance_to_meet_a_deadline_is_the_share_of_plays_that_do(
    paper: Paper, spare_s: float, least: float, most: float
) -> None:
    paper.submit("wish", like="fifty", deadline_at=iso(paper.now + 250 + spare_s))
    foreseen = foresee(scene_of(paper.world, POLICIES["fifo"]))
    assert least <= foreseen.in_time["wish"] <= most


def test_a_play_with_no_time_for_a_death_counts_as_much_as_there_is_none(paper: Paper) -> None:
    scene = scene_of(paper.world, POLICIES["fifo"])
    deadline_at = scene.now + 1e6
    task, left = Task("wish", Resources(1000), scene.now, scene.now), Estimate(1e5, 1e5, 1e5, "like")
    chances = []
    for setback_s in (0.0, math.inf):
        wish = scene.with_job(Coming(task, scene.now), left, Hope(deadline_at, setback_s))
        chances.append(foresee(replace(wish, survival=Posterior(1.0, 1e5))).in_time["wish"])
    tight = scene.with_job(Coming(task, scene.now), left, Hope(scene.now + 1e5 + 300, math.inf))
    chances.append(foresee(replace(tight, survival=Posterior(1.0, 1e5))).in_time["wish"])
    assert chances[:2] == [1.0, 1.0], "there is time to do all of it again"
    assert 0.0 < chances[2] <= 0.5


def test_a_scene_is_read_as_it_was_told(paper: Paper) -> None:
    paper.submit("wish", like="fifty", deadline_at=iso(paper.now + 250), after=["next"])
    paper.submit("run2", kind="run", deadline_at=iso(paper.now + 250), project="p")
    scene = scene_of(paper.world, POLICIES["easy"])
    assert from_json(json.loads(json.dumps(to_json(scene)))) == scene
    assert foresee(from_json(to_json(scene))) == foresee(scene)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("policy", "chance"),
            ("now", None),
            ("waiting", [{}]),
            ("waiting", 7),
            ("left", {}),
            ("left", {"next": [1]}),
        ),
        *(("hopes", {"next": 1}), ("survival", []), ("cores", ["a"]), ("room", {"cpu_millis": -1})),
    ],
)
def test_a_scene_that_makes_no_sense_is_refused(paper: Paper, name: str, value: object) -> None:
    document = to_json(scene_of(paper.world, POLICIES["easy"]))
    with pytest.raises(Malformed):
        from_json({**document, name: value})


def test_a_job_that_is_still_to_come_is_its_likes_equal_whatever_the_last_of_them_took(paper: Paper) -> None:
    entry = Entry("x", 1, State.SUCCEEDED, "n", "train", 0.0, 65.0, like="fifty", account=Account(wall_s=65.0))
    paper.world.experience.learn([entry] * 10)  # too little to set all of them back in line
    paper.submit("later", like="fifty", begin_at=iso(paper.now + 60))
    scene = scene_of(paper.world, POLICIES["feedback"])
    waiting, coming = (scene.task(name) for name in ("last", "later"))
    assert waiting is not None and coming is not None and coming.expected_s == waiting.expected_s
    assert scene.left["later"] == scene.left["last"] and scene.left["last"].median_s > 1.1 * 50


def test_a_job_that_has_not_run_in_a_play_stands_where_it_stood_and_one_that_has_by_what_is_left(paper: Paper) -> None:
    entry = Entry("x", 1, State.SUCCEEDED, "n", "train", 0.0, 65.0, like="fifty", account=Account(wall_s=65.0))
    paper.world.experience.learn([entry] * 10)
    scene = scene_of(paper.world, POLICIES["feedback"])
    machine = staged(scene, {job_id: takes.median_s for job_id, takes in scene.left.items()})
    waiting = scene.task("last")
    life = machine.lives["last"]
    assert waiting is not None and machine.knows(life) == pytest.approx(waiting.expected_s)
    life.left_s -= 10
    assert machine.knows(life) == life.left_s


def test_an_idle_machine_has_nothing_to_foresee() -> None:
    assert forecast(Paper().world, POLICIES["feedback"]) == {}


def test_what_is_known_of_the_remaining_work_decides_who_goes_first(paper: Paper) -> None:
    assert paper.world.books.task("next") is not None
    task = paper.world.books.task("next")
    assert task is not None and task.expected_s == pytest.approx(50, rel=0.01)


def test_like_jobs_keep_their_order_whenever_they_came_and_whatever_was_learned_meanwhile() -> None:
    paper = Paper(cpu=1, rules=POLICIES["feedback"])
    for number in range(4):
        paper.submit(f"early{number}", like="same")
    for number in range(8):
        paper.settle()
        (job_id,) = paper.in_state(State.QUEUED)
        paper.claim(job_id)
        paper.pass_time(1.0 + 0.1 * (number % 3))
        paper.end(job_id)
        if number < 4:
            paper.submit(f"late{number}", like="same")
    assert paper.dispatched() == [f"early{n}" for n in range(4)] + [f"late{n}" for n in range(4)]


def test_time_that_a_job_stood_still_makes_nobody_later() -> None:
    """Half done in 100 s of work, of 300 s since it began: as much again is left, not three times as much."""
    paper = Paper(cpu=1)
    paper.submit("run")
    paper.settle()
    paper.claim("run")
    paper.pass_time(50)
    paper.note("run", Note.ASK, ask="pause", by="scheduler")
    paper.note("run", Note.PAUSE, attempt=1)
    paper.pass_time(200)
    paper.note("run", Note.RESUME)
    paper.note("run", Note.GO_ON, attempt=1)
    paper.pass_time(50)
    paper.world.sampled({"run": Sample(1, paper.now, progress=0.5, wall_s=300.0)})
    left = paper.world.remaining("run")
    assert left is not None and left.median_s == pytest.approx(100, rel=0.01)

    paper.end("run")
    entry = Entry.of(paper.jobs["run"])
    assert (entry.account.wall_s, entry.account.paused_s) == (pytest.approx(300, abs=1), pytest.approx(200, abs=1))


def _coming(gap_s: float, policy: str) -> Paper:
    """A short job every so often, of which only the last has not ended; then a long one."""
    paper = Paper(cpu=1, rules=POLICIES[policy])
    for like, took_s in (("short", 10.0), ("long", 1000.0)):
        entry = Entry("x", 1, State.SUCCEEDED, "n", "train", 0.0, 0.0, like=like, account=Account(wall_s=took_s))
        paper.world.experience.learn([entry] * 20)
    for number in range(12):
        paper.submit(f"short-{number}", like="short")
        paper.pass_time(gap_s)
    for number in range(11):
        paper.move(f"short-{number}", Event.CANCEL)
    paper.submit("long", like="long")
    return paper


def test_short_jobs_that_keep_coming_are_foreseen_to_go_before_a_longer_one() -> None:
    end_s = {}
    for gap_s in (20.0, 2000.0):
        paper = _coming(gap_s, "feedback")
        end_s[gap_s] = forecast(paper.world, POLICIES["feedback"])["long"].end[1] - paper.now
    assert end_s[2000.0] == pytest.approx(1010, rel=0.1)
    assert end_s[20.0] > end_s[2000.0] + 300


def test_after_many_that_came_together_nothing_is_foreseen_to_follow() -> None:
    paper = _coming(0.5, "feedback")
    at_once = forecast(paper.world, POLICIES["feedback"])["long"].end[1] - paper.now
    paper.pass_time(5)
    later = forecast(paper.world, POLICIES["feedback"])["long"].end[1] - paper.now
    assert at_once > later + 300
    assert later == pytest.approx(1010, rel=0.1)


def test_an_hour_that_meets_all_alike_leaves_more_doubt_when_a_line_will_be_done() -> None:
    paper = Paper(cpu=1)
    entry = Entry("x", 1, State.SUCCEEDED, "n", "train", 0.0, 0.0, like="ten", account=Account(wall_s=10.0))
    paper.world.experience.learn([entry] * 3)
    for number in range(16):
        paper.submit(f"job{number}", like="ten")
    scene, width_s = scene_of(paper.world, POLICIES["fifo"]), {}
    for together in (0.0, 0.5):
        foreseen = replace(scene, together=together)
        low, _, high = foresight(foreseen, list(plays(foreseen))).eta["job15"].end
        width_s[together] = high - low
    assert width_s[0.5] > 1.5 * width_s[0.0]


def test_a_time_is_below_each_quantile_as_often_as_it_says_however_few_the_plays() -> None:
    paper = Paper(cpu=1)
    entry = Entry("x", 1, State.SUCCEEDED, "n", "train", 0.0, 0.0, like="ten", account=Account(wall_s=10.0))
    paper.world.experience.learn([entry] * 3)
    paper.submit("one", like="ten")
    scene = scene_of(paper.world, POLICIES["fifo"])
    found = []
    takes = scene.left["one"]
    spread, starts_s = math.log(takes.high_s / takes.median_s) / Z80, scene.starting.median_s
    for seed in range(300):
        etas = foresight(scene, list(islice(plays(scene, 1000 * seed), 10))).eta["one"].end
        logs = [math.log((at - scene.now - starts_s) / takes.median_s) / spread for at in etas]
        found.append([NormalDist().cdf(value) for value in logs])
    for share, shares in zip((0.1, 0.5, 0.9), zip(*found, strict=True), strict=True):
        assert fmean(shares) == pytest.approx(share, abs=0.02)


def test_of_jobs_like_none_whoever_is_reckoned_to_take_least_goes_first() -> None:
    paper = Paper(cpu=1, rules=POLICIES["feedback"])
    for name, reckoned_s in (("long", 50.0), ("short", 0.5), ("middle", 5.0)):
        paper.submit(name, reckoned_s=reckoned_s)
    paper.submit("command", kind="run")
    for _ in range(4):
        paper.settle()
        (job_id,) = paper.in_state(State.QUEUED)
        paper.claim(job_id)
        paper.pass_time(1.0)
        paper.end(job_id)
    assert paper.dispatched() == ["short", "middle", "long", "command"]


def test_commands_like_none_stand_by_what_others_took_until_they_have_run_themselves() -> None:
    paper = Paper(cpu=1, rules=POLICIES["feedback"])
    others = [
        Entry(f"c{n}", 1, State.SUCCEEDED, "n", "run", 0.0, 0.0, like=f"c{n}", account=Account(wall_s=4.0))
        for n in range(3)
    ]
    paper.world.experience.learn(others)
    paper.submit("command", kind="run")
    paper.submit("slow", reckoned_s=40.0)
    paper.submit("quick", reckoned_s=0.4)
    assert [task.id for task in paper.world.books.waiting()] == ["quick", "command", "slow"]
    paper.move("quick", Event.CANCEL)
    paper.settle()
    assert paper.in_state(State.QUEUED) == ["command"]
    paper.claim("command")
    paper.pass_time(600.0)
    holding = paper.world.books.holding("command")
    assert holding is not None and holding.task.expected_s is None, "what has run long will run long"
