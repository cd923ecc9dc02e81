"""Traces are read as the format says, and generated loads are as heavy as they are asked to be."""

from __future__ import annotations

import pytest

from singlepoint.scheduler.simulation.workload import lublin, read_swf

TRACE = """\
; Version: 2.2
; MaxProcs: 8
; Note: made up
  1   100  7  50   4 -1 -1   4  60 -1  1  3 3 -1 -1 -1 -1 -1
  2   110  0  90   2 -1 -1   2  60 -1  1  3 3 -1 -1 -1 -1 -1
  3   105  0  30  -1 -1 -1   1  -1 -1  0  4 3 -1 -1 -1 -1 -1
  4   120  0   0   4 -1 -1   4  60 -1  5  4 3 -1 -1 -1 -1 -1
  5   120  0  10   9 -1 -1   9  60 -1  1  4 3 -1 -1 -1 -1 -1
"""


def test_jobs_that_ran_and_fit_are_kept_by_time_on_the_machine_of_the_header() -> None:
    workload = read_swf(TRACE.splitlines(), "made up")
    assert workload.cores == 8
    assert [(a.id, a.submit_s, a.run_s, a.cores, a.limit_s) for a in workload.arrivals] == [
        ("1", 0, 50, 4, 60),
        ("3", 5, 30, 1, 30),
        ("2", 10, 60, 2, 60),
    ]


def test_a_job_past_its_limit_is_cut_there_unless_nobody_kills_it() -> None:
    raw = read_swf(TRACE.splitlines(), "made up", kill=False)
    assert [(a.run_s, a.limit_s) for a in raw.arrivals if a.id == "2"] == [(90, 90)]


@pytest.mark.parametrize("line", ["1 2 3", "1 2 3 four 5 6 7 8 9 10 11 12", "; MaxProcs: many"])
def test_what_is_no_trace_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 "):
        read_swf(["; Version: 2.2", line], "junk")


def test_a_generated_load_is_as_heavy_as_asked_and_the_same_every_time() -> None:
    workload = lublin(jobs=2000, cores=128, load=0.8, seed=3)
    work = sum(a.run_s * a.cores for a in workload.arrivals)
    assert work / (128 * workload.arrivals[-1].submit_s) == pytest.approx(0.8, rel=0.05)
    assert workload == lublin(jobs=2000, cores=128, load=0.8, seed=3)
    assert max(a.cores for a in workload.arrivals) <= 128


def test_squeezing_changes_the_arrivals_and_giving_way_a_share_of_the_jobs() -> None:
    workload = lublin(jobs=1000, cores=64, load=0.5)
    assert workload.squeezed(0.5).arrivals[-1].submit_s == workload.arrivals[-1].submit_s / 2
    share = sum(a.gives_way for a in workload.giving_way(0.3).arrivals) / 1000
    assert share == pytest.approx(0.3, abs=0.05)
    assert all(a.cores <= 4 for a in workload.on(4).arrivals)
