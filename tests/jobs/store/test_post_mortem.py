"""What is known of a dead attempt from the files it left."""

from __future__ import annotations

import json
import os
from pathlib import Path

from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle.records import Attempt, Resources, Terms
from singlepoint.jobs.store.job_files import JobFiles
from singlepoint.jobs.store.post_mortem import examine

ATTEMPT = Attempt(2, dispatched_at=1000.0, terms=Terms(Resources()), started_at=1001.0)


def write(path: Path, at: float, text: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))


def test_an_attempt_that_left_nothing_lost_all_of_its_time(tmp_path: Path) -> None:
    remains = examine(JobFiles(tmp_path), ATTEMPT)
    assert (remains.steps, remains.last_sign_at) == (None, 1001.0)
    assert remains.facts(1005.0) == {"first_step": 0, "lost_s": 4.0, "ended_at": iso(1005.0)}


def test_work_is_lost_since_the_newest_checkpoint_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints" / "000000000050-0001.safetensors", 990.0)
    write(tmp_path / "checkpoints" / "000000000080-0002.safetensors", 1010.0)
    write(tmp_path / "progress.json", 1012.0, json.dumps({"attempt": 2, "first_step": 50, "step": 95}))
    remains = examine(JobFiles(tmp_path), ATTEMPT)
    assert remains.last_sign_at == 1012.0
    assert remains.facts(1013.0) == {"first_step": 50, "steps": 45, "lost_s": 3.0, "ended_at": iso(1013.0)}


def test_a_checkpoint_newer_than_the_last_report_counts_as_steps(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints" / "000000000080-0002.safetensors", 1010.0)
    write(tmp_path / "progress.json", 1009.0, json.dumps({"attempt": 2, "first_step": 50, "step": 60}))
    assert examine(JobFiles(tmp_path), ATTEMPT).steps == 30


def test_the_progress_of_an_earlier_attempt_says_nothing_of_this_one(tmp_path: Path) -> None:
    write(tmp_path / "progress.json", 999.0, json.dumps({"attempt": 1, "first_step": 0, "step": 60}))
    assert examine(JobFiles(tmp_path), ATTEMPT).steps is None


def test_damaged_files_only_mean_that_less_is_known(tmp_path: Path) -> None:
    write(tmp_path / "progress.json", 1003.0, "{")
    write(tmp_path / "checkpoints" / ".000000000080-0002.safetensors.tmp", 1004.0)
    remains = examine(JobFiles(tmp_path), ATTEMPT)
    assert (remains.steps, remains.saved_at, remains.last_sign_at) == (None, 1001.0, 1003.0)
