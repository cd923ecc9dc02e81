"""What `up` starts, and in which order: what is stopped first must need the others the most."""

from __future__ import annotations

import subprocess
import sys

from singlepoint.jobs.store.home import Home
from singlepoint.worker.supervision.up import services


def names(home: Home, *, redis_is_ours: bool = True, page: list[str] | None = None) -> list[str]:
    found = services(home, ["singlepoint"], {}, workers=2, redis_is_ours=redis_is_ours, page=page)
    return [child.name for child in found]


def test_the_scheduler_is_stopped_before_the_workers_and_they_before_redis(home: Home) -> None:
    assert names(home) == ["broker", "worker", "scheduler"]
    assert names(home, redis_is_ours=False) == ["worker", "scheduler"], "a Redis of one's own is left alone"


def test_with_a_page_there_are_as_many_who_answer_predictions_as_the_owner_set(home: Home) -> None:
    (home.path / "settings.toml").write_text("[http]\nprocesses = 2\n")
    assert names(home, page=[]) == ["broker", "worker", "scheduler", "serving", "serving-1", "page"]


def test_nothing_that_only_its_children_need_is_loaded_before_they_are_started() -> None:
    """redis-py and pydantic take half a second, on the way to the first service."""
    loads = "import singlepoint.worker.supervision.starting, singlepoint.worker.supervision.up, sys"
    program = f"{loads}; print({{'redis', 'rq', 'pydantic', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
