"""The programs of `examples`, killed at random moments: they end in the same result as undisturbed."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from singlepoint.jobs.lifecycle.states import State
from tests.worker.making import Maker

PROGRAMS = Path(__file__).parents[3] / "examples" / "programs"
KILLS = int(os.environ.get("SINGLEPOINT_KILLS", "4"))


def command(name: str) -> list[str]:
    return ["/bin/sh" if name.endswith(".sh") else sys.executable, str(PROGRAMS / name)]


@pytest.mark.parametrize(
    ("name", "needs"), [("pipeline.sh", None), ("partial_fit.py", "sklearn"), ("torch_loop.py", "torch")]
)
def test_a_program_killed_at_random_moments_ends_in_the_same_result(
    tmp_path: Path, name: str, needs: str | None
) -> None:
    if needs is not None:
        pytest.importorskip(needs)
    chance = random.Random(name)
    maker = Maker(tmp_path)
    spec = {"kind": "run", "name": "p", "command": command(name), "resources": {"memory": "2GiB"}}
    calm = maker.make(maker.submit(spec))
    assert calm.state is State.SUCCEEDED, maker.home.job_files(calm.id).log.read_text()
    usage = calm.attempts[-1].usage
    assert usage is not None

    job_id = maker.submit(spec)
    kills = 0
    while (job := maker.store.load(job_id)).state is State.PENDING:
        pid = maker.begin(job_id)
        if kills < KILLS:
            maker.kill_within(pid, chance.random() * usage.wall_s)
        job = maker.oversee(job_id, pid)
        kills += job.attempts[-1].end == "killed"

    assert job.state is State.SUCCEEDED
    assert kills > 0
    assert job.result is not None and calm.result is not None
    assert job.result["sha256"] == calm.result["sha256"]
