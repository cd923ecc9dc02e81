"""Models of jobs get their places: numbered, never overwritten, once for each job, and without work under a lock."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from singlepoint.jobs import failpoints
from singlepoint.jobs.store.home import Home
from singlepoint.worker.models import registry
from singlepoint.worker.models.registry import ready


def staged(home: Home, job_id: str, sha256: str = "1" * 64) -> Path:
    stage = home.path / f"stage-{job_id}"
    stage.mkdir()
    document = {"provenance": {"job": job_id}, "weights": {"sha256": sha256}}
    (stage / "model.json").write_text(json.dumps(document))
    return stage


def publish(home: Home, job_id: str, sha256: str = "1" * 64, *, first: bool = True) -> str:
    publication = ready(home, "iris", job_id, staged(home, job_id, sha256), sha256, first=first)
    return str(publication.publish()["result"]["model"])


def test_versions_are_numbered_and_a_number_taken_meanwhile_is_passed_over(home: Home) -> None:
    assert [publish(home, "a"), publish(home, "b")] == ["iris/1", "iris/2"]
    late = ready(home, "iris", "c", staged(home, "c"), "1" * 64, first=True)
    assert publish(home, "d") == "iris/3"
    assert late.publish()["result"]["model"] == "iris/4"


def test_a_number_that_was_given_and_taken_back_meanwhile_is_not_given_again(home: Home) -> None:
    late = ready(home, "iris", "a", staged(home, "a"), "1" * 64, first=True)
    assert publish(home, "b") == "iris/1"
    registry.remove(home.models / "iris" / "1")
    assert late.publish()["result"]["model"] == "iris/2"


def test_of_two_that_remove_at_once_the_higher_number_is_remembered(home: Home) -> None:
    """One stands still in the middle, having seen that nothing was removed yet."""
    assert [publish(home, job_id) for job_id in "abc"] == ["iris/1", "iris/2", "iris/3"]
    pid = os.fork()
    if not pid:
        failpoints._SETTING = "model.remove.number:stop"
        with contextlib.suppress(BaseException):
            registry.remove(home.models / "iris" / "2")
            os._exit(0)
        os._exit(1)
    os.waitpid(pid, os.WUNTRACED)
    other = threading.Thread(target=registry.remove, args=[home.models / "iris" / "3"])
    other.start()
    other.join(0.2)  # it waits for the first, or is done
    os.kill(pid, signal.SIGCONT)
    other.join()
    assert os.waitpid(pid, 0)[1] == 0
    assert registry.versions(home, "iris") == [1] and publish(home, "d") == "iris/4"


def test_what_a_dead_attempt_has_published_is_not_published_again(home: Home) -> None:
    publish(home, "a")
    publish(home, "b")
    assert publish(home, "a", first=False) == "iris/1"
    assert registry.versions(home, "iris") == [1, 2]
    assert not (home.path / "stage-a").exists()


def test_other_weights_of_the_same_job_are_another_version(home: Home) -> None:
    publish(home, "a")
    assert publish(home, "a", "2" * 64, first=False) == "iris/2"


def test_publishing_looks_at_no_model_while_the_history_is_locked(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(home, "a")
    publication = ready(home, "iris", "b", staged(home, "b"), "1" * 64, first=False)

    def no(*_arguments: object, **_more: object) -> None:
        raise AssertionError("publishing only renames")

    monkeypatch.setattr("builtins.open", no)
    monkeypatch.setattr("os.scandir", no)
    assert publication.publish()["result"]["sha256"] == "1" * 64


def test_a_name_of_which_every_version_was_removed_is_none(home: Home) -> None:
    publish(home, "a")
    assert registry.names(home) == ["iris"]
    registry.remove(home.models / "iris" / "1")
    assert registry.names(home) == []
