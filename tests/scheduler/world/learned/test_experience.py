"""How long jobs take is told by like jobs and by progress, with an interval that says how little is known."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.records import Sample
from singlepoint.jobs.lifecycle.states import State
from singlepoint.scheduler.world.learned.experience import STARTING, Experience, by_progress, what_is_left


def ended(wall_s: float, like: str = "a", state: State = State.SUCCEEDED, work: float = 0.0) -> Entry:
    account = Account(wall_s=wall_s, cpu_s=0.9 * wall_s)
    return Entry("x", 1, state, "n", "train", 0.0, wall_s, like=like, work=work, account=account)


def test_of_what_nobody_has_run_nothing_is_known() -> None:
    known = Experience()
    known.learn([ended(100, state=State.FAILED), ended(100, like="")])
    assert known.run_time("a") is None


def test_three_like_jobs_tell_the_processor_time_within_a_tenth_and_their_number_narrows_the_interval() -> None:
    few, many = Experience(), Experience()
    few.learn(ended(s) for s in (95, 100, 104))
    many.learn(ended(s) for s in (95, 100, 104) * 6)
    cpu = few.cpu_time("a")
    assert cpu is not None and cpu.median_s == pytest.approx(90, rel=0.1)
    wide, narrow = few.run_time("a"), many.run_time("a")
    assert wide is not None and narrow is not None
    assert wide.high_s / wide.low_s > narrow.high_s / narrow.low_s > 1


def test_what_many_epochs_take_is_told_by_jobs_of_few() -> None:
    known = Experience()
    known.learn(ended(1.0 + 0.5 * epochs, work=epochs) for epochs in (4, 10, 20))
    long, cpu = known.run_time("a", work=100), known.cpu_time("a", work=100)
    assert long is not None and long.median_s == pytest.approx(51.0, rel=0.1)
    assert cpu is not None and cpu.median_s == pytest.approx(0.9 * 51.0, rel=0.1)


def test_of_one_length_alone_another_is_told_by_proportion_but_for_a_short_start() -> None:
    known = Experience()
    known.learn([ended(20.3, work=10)])
    estimates = [known.run_time("a", work=epochs) for epochs in (10, 100, 1)]
    assert [round(one.median_s, 1) for one in estimates if one is not None] == [20.3, 200.3, 2.3]


def test_jobs_whose_work_nobody_could_tell_are_taken_as_they_come_and_teach_those_that_have_no_others() -> None:
    known = Experience()
    known.learn([ended(100)] * 3)
    assert known.run_time("a", work=7) == known.run_time("a")
    known.learn([ended(10, work=1)])
    with_work, without = known.run_time("a", work=2), known.run_time("a")
    assert with_work is not None and with_work.median_s < 20
    assert without is not None and without.median_s == pytest.approx(100)


def test_eight_in_ten_of_like_jobs_end_within_the_interval() -> None:
    chance, inside, count = random.Random(1), 0, 2000
    for _ in range(count):
        *seen, then = (chance.lognormvariate(5.0, 0.4) for _ in range(11))
        known = Experience()
        known.learn(ended(s) for s in seen)
        estimate = known.run_time("a")
        assert estimate is not None
        inside += estimate.low_s <= then <= estimate.high_s
    assert 0.75 <= inside / count <= 0.85


def test_who_asks_is_told_by_the_newest_while_the_line_keeps_its_order() -> None:
    known = Experience()
    known.learn(ended(100) for _ in range(10))
    stood = known.standing("a")
    assert known.learn(ended(130) for _ in range(5)) == set()

    told = known.run_time("a")
    assert known.standing("a") == stood is not None
    assert told is not None and 110 < told.median_s < 120 < told.high_s

    assert known.learn(ended(200) for _ in range(20)) == {"a", "train"}
    stands = known.standing("a")
    assert stood is not None and stands is not None and stands.median_s > 1.4 * stood.median_s


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.0, 0.1), (0.5, 0.3, 0.6)])
def test_what_jobs_have_in_common_that_end_at_about_the_same_time_is_the_machines(
    share: float, least: float, most: float
) -> None:
    chance, known, hour = random.Random(3), Experience(), 0.0
    for number in range(400):
        if number % 20 == 0:  # another good or bad hour
            hour = chance.gauss(0.0, 1.0)
        off = math.sqrt(share) * hour + math.sqrt(1 - share) * chance.gauss(0.0, 1.0)
        known.learn([ended(10.0 * math.exp(0.3 * off), like=f"kind-{number % 5}")])
    assert least <= known.together() <= most


def test_many_at_once_teach_what_they_had_taught_one_by_one() -> None:
    chance = random.Random(5)
    took = [100.0] * 10 + [130.0] * 10 + [100 * math.exp(chance.gauss(0.0, 0.2)) for _ in range(300)]
    entries = [ended(took_s, like="ab"[number % 7 == 0]) for number, took_s in enumerate(took)]
    at_once, singly = Experience(), Experience()
    at_once.learn(entries)
    for entry in entries:
        singly.learn([entry])
    for like in "ab":
        assert at_once.run_time(like) == singly.run_time(like)
        assert at_once.standing(like) == singly.standing(like)
    assert at_once.together() == singly.together()


def test_progress_tells_what_is_left_and_the_more_is_done_the_better() -> None:
    early = by_progress(Sample(1, 0.0, progress=0.1, wall_s=10.0))
    late = by_progress(Sample(1, 0.0, progress=0.9, wall_s=90.0))
    assert early is not None and late is not None
    assert (early.median_s, late.median_s) == (pytest.approx(90), pytest.approx(10))
    assert early.high_s / early.low_s > late.high_s / late.low_s
    again = by_progress(Sample(2, 0.0, progress=0.6, began_progress=0.5, wall_s=10.0))
    assert again is not None and again.median_s == pytest.approx(40)
    assert by_progress(Sample(1, 0.0, progress=0.5, wall_s=0.5)) is None


def test_who_outran_the_expectation_is_expected_to_go_on_for_a_while() -> None:
    known = Experience()
    known.learn([ended(100)] * 5)
    estimate = known.run_time("a")
    assert estimate is not None
    assert what_is_left(estimate, 40).median_s == pytest.approx(60, rel=0.01)
    assert 0 < what_is_left(estimate, 500).median_s < what_is_left(estimate, 500).high_s


def test_the_time_from_a_grant_to_the_work_is_learned_from_all_jobs_whatever_they_do() -> None:
    experience = Experience()
    assert experience.starting() == STARTING
    for number in range(30):
        account = Account(wall_s=2.0, granted_core_s=2 * (2.0 + 0.05), ends={"succeeded": 1})
        kind = f"kind-{number}"
        entry = Entry(str(number), 1, State.SUCCEEDED, "n", "train", 0.0, 0.0, like=kind, cores=2, account=account)
        experience.learn([entry])
    starting = experience.starting()
    assert 0.03 < starting.low_s < starting.median_s < starting.high_s < 0.08
    assert abs(starting.median_s - 0.05) < 1e-6


def test_a_job_with_an_attempt_that_was_lost_says_nothing_of_the_time_from_a_grant_to_the_work() -> None:
    experience = Experience()
    account = Account(wall_s=2.0, granted_core_s=2.05 + 60.0, ends={"succeeded": 1, "lost": 1})
    experience.learn([Entry("x", 1, State.SUCCEEDED, "n", "train", 0.0, 0.0, like="a", cores=1, account=account)])
    assert experience.starting() == STARTING


def of_kind(wall_s: float, reckoned_s: float = 0.0, kind: str = "train") -> Entry:
    return replace(ended(wall_s, like=f"{kind} of {wall_s}"), kind=kind, reckoned_s=reckoned_s)


def test_a_job_like_none_is_told_by_its_shapes_and_by_how_far_off_others_of_its_kind_were() -> None:
    known = Experience()
    cold = known.of_kind("train", 100.0)
    assert cold is not None and cold.low_s < 50 < cold.median_s < 150 < cold.high_s and cold.source == "kind"

    assert "train" in known.learn([of_kind(20.0, 10.0)])
    known.learn(of_kind(2.0 * seconds, seconds) for seconds in (1.0, 4.0, 30.0))
    warm, other = known.of_kind("train", 100.0), known.of_kind("predict", 100.0)
    assert warm is not None and warm.median_s == pytest.approx(200.0, rel=0.1)
    assert other == cold


def test_a_command_like_none_is_told_by_the_others_and_the_first_by_nothing() -> None:
    known = Experience()
    assert known.of_kind("run", 0.0) is None
    known.learn(of_kind(seconds, kind="run") for seconds in (2.0, 4.0, 8.0))
    told, like = known.of_kind("run", 0.0), known.run_time("run of 4.0")
    assert told is not None and like is not None
    assert told.median_s == pytest.approx(4.0, rel=0.01) and told.low_s < 1.0 and told.high_s > 16.0
    assert known.of_kind("train", 0.0) is None


def test_what_is_reckoned_goes_by_others_that_were_and_what_is_not_by_others_that_were_not() -> None:
    known = Experience()
    known.learn([of_kind(1000.0, kind="run"), of_kind(1000.0)])
    reckoned, unreckoned = known.of_kind("train", 0.5), known.of_kind("train", 0.0)
    assert reckoned is not None and reckoned.median_s < 1
    assert unreckoned is not None and unreckoned.median_s == pytest.approx(1000.0, rel=0.01)
