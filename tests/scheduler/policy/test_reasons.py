"""Every waiting job has a reason."""

from __future__ import annotations

import pytest

from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Ask, Event
from singlepoint.scheduler.policy.reasons import explain, head_reason
from tests.scheduler.paper import Paper, budget


@pytest.fixture
def paper() -> Paper:
    """One core; `run` is running, `first` and `second` wait for it."""
    paper = Paper(cpu=1, memory_mib=1024)
    paper.submit("run")
    paper.settle()
    paper.claim("run")
    for job_id in ("first", "second"):
        paper.now += 1
        paper.submit(job_id, memory_mib=1000)
    paper.settle()
    return paper


def test_the_head_says_what_it_lacks(paper: Paper) -> None:
    reason = "first in line; needs 1 core (0 cores free), 1000 MiB of memory (512 MiB free)"
    assert explain(paper.world, "first") == reason
    assert head_reason(paper.world) == {"id": "first", "reason": reason}


def test_those_behind_say_who_is_in_front(paper: Paper) -> None:
    assert explain(paper.world, "second") == "1 job is in front, first first"


def test_nobody_waiting_is_no_head() -> None:
    assert head_reason(Paper().world) == {}


def test_a_running_job_says_where_and_what_was_asked_of_it(paper: Paper) -> None:
    paper.note("run", Note.ASK, ask=Ask.CANCEL)
    assert explain(paper.world, "run") == "running as attempt 1 on core 0, asked to cancel"


def test_paused_held_backing_off_and_ending_jobs_say_so(paper: Paper) -> None:
    paper.note("first", Note.HOLD)
    assert explain(paper.world, "first").startswith("held; `singlepoint resume first`")
    paper.note("run", Note.ASK, ask=Ask.PAUSE)
    paper.note("run", Note.PAUSE)
    assert explain(paper.world, "run").startswith("paused, holding its memory")
    paper.move("run", Event.LOSE, attempt=1, end="failed", cause="ValueError", not_before=paper.now + 9)
    paper.note("run", Note.RESUME)
    assert explain(paper.world, "run") == "attempt 1 is still ending: a process of it holds the job's lock"
    paper.die("run")
    assert explain(paper.world, "run").endswith("Z, because of: ValueError")


def test_the_head_says_when_a_paused_job_goes_first() -> None:
    paper = Paper(cpu=1)
    paper.submit("paused")
    paper.settle()
    paper.claim("paused")
    paper.note("paused", Note.ASK, ask=Ask.PAUSE)
    paper.note("paused", Note.PAUSE)
    paper.submit("run")
    paper.submit("next")
    paper.settle()
    paper.note("paused", Note.RESUME)
    paper.settle()
    assert explain(paper.world, "next") == "first in line; the paused job paused goes on before it"
    assert explain(paper.world, "paused") == "goes on when it gets its cores: needs 1 core (0 cores free)"


def test_a_lowered_budget_is_a_reason(paper: Paper) -> None:
    paper.world.budget_changed(budget(1, 100), Resources())
    paper.submit("tiny", memory_mib=1)
    assert explain(paper.world, "tiny").startswith("first in line; waits until work ends or is put down")


def test_finished_jobs_say_how_and_unknown_ones_are_an_error(paper: Paper) -> None:
    paper.end("run")
    assert explain(paper.world, "run") == "succeeded"
    with pytest.raises(KeyError):
        explain(paper.world, "never heard of")


def test_every_unfinished_job_has_a_reason(paper: Paper) -> None:
    paper.submit("giant", memory_mib=9999)
    paper.submit("after", after=["run", "first"])
    paper.submit("queued", priority=9)
    for job_id in paper.jobs:
        assert explain(paper.world, job_id)
