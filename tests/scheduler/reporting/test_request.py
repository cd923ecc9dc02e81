"""Whether a job's request was sensible, by what its attempts used."""

from __future__ import annotations

import pytest

from singlepoint.jobs.lifecycle.records import Attempt, Job, Resources, Terms, Usage
from singlepoint.jobs.lifecycle.states import State
from singlepoint.scheduler.reporting.request import request_report, request_rows

MIB = 2**20


def job(cores: int, memory_mib: int, *attempts: tuple[float, float, int]) -> Job:
    """attempts: seconds it ran, seconds of processor, MiB at most."""
    asked = Resources(1000 * cores, memory_mib * MIB)
    ended = tuple(
        Attempt(
            number,
            0.0,
            Terms(asked),
            started_at=10.0,
            ended_at=10.0 + wall_s,
            end="succeeded",
            usage=Usage(wall_s=wall_s, cpu_s=cpu_s, peak_memory_bytes=peak_mib * MIB),
        )
        for number, (wall_s, cpu_s, peak_mib) in enumerate(attempts, 1)
    )
    return Job("a", "a", "run", State.SUCCEEDED, 0.0, asked, attempts=ended)


@pytest.mark.parametrize(
    ("cores", "memory_mib", "attempts", "advice"),
    [
        (1, 512, [(100, 90, 300)], []),
        (4, 512, [(100, 110, 300)], ["1 core would have done: it used 1.10 on average"]),
        (4, 512, [(100, 180, 300)], ["2 cores would have done: it used 1.80 on average"]),
        (2, 512, [(100, 10, 300), (100, 340, 300)], []),
        (1, 4096, [(100, 90, 300)], ["375 MiB of memory would have done: it used 300 MiB at most"]),
        (1, 256, [(100, 90, 300)], ["it took more memory than it asked for: 300 MiB"]),
    ],
)
def test_the_advice(cores: int, memory_mib: int, attempts: list[tuple[float, float, int]], advice: list[str]) -> None:
    found = request_report(job(cores, memory_mib, *attempts))
    assert found is not None
    assert found["advice"] == advice
    assert dict(request_rows(found))["the request"] == ("; ".join(advice) or "was sensible")


def test_of_what_hardly_ran_nothing_is_said() -> None:
    assert request_report(job(4, 4096)) is None
    assert request_report(job(4, 4096, (0.3, 0.1, 20))) is None
