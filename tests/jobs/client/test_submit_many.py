"""Many jobs from one client: none is kept before all were checked, and all are told of together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from singlepoint.jobs.client import submit_many
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.job import Spec, parse


def training(name: str = "tiny", **more: Any) -> Spec:
    seed = more.pop("seed", 1)
    document = {
        "name": name,
        "data": {"path": "/rows.csv", "target": "y"},
        "model": {"hidden": [2]},
        "training": {"epochs": 1, "seed": seed},
        **more,
    }
    return parse(document)


def reading(*specs: Spec) -> list[submit_many.Called]:
    return [(f"specs[{n}]", partial(lambda spec: spec, spec)) for n, spec in enumerate(specs)]


class Counted:
    """A check that settles the task, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Spec] = []

    def __call__(self, spec: Spec) -> Checked:
        self.asked.append(spec)
        assert spec.kind == "train"
        data = spec.data.model_copy(update={"task": "classification"})
        return Checked(spec.model_copy(update={"data": data}), ("looked at",), ())


def test_jobs_are_kept_in_order_and_told_of_with_one_bell_each(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_many, "BATCH", 2)
    ids = submit_many.submit_many(session, reading(*(training(f"t{n}") for n in range(5))), 1.0)
    assert [session.store.load(job_id).name for job_id in ids] == [f"t{n}" for n in range(5)]
    assert session.index.wait_for_bell(1.0) == ids
    assert {row["id"] for row in session.index.summaries()} == set(ids)


def test_one_that_will_not_do_keeps_all_from_being_kept(session: Session) -> None:
    def refuse(spec: Spec) -> None:
        if spec.name == "bad":
            raise InvalidInput([Problem("data.path", "is empty", ""), Problem("data.target", "is not there", "")])

    with pytest.raises(InvalidInput) as caught:
        submit_many.submit_many(session, reading(training(), training("bad", project="p")), 1.0, refuse)
    assert [problem.field for problem in caught.value.problems] == ["specs[1]: data.path", "specs[1]: data.target"]
    assert session.store.ids() == []


def test_what_differs_in_name_and_seed_alone_is_checked_once_and_settled_alike() -> None:
    check = Counted()
    look = submit_many.remembering(check)
    one, other = training("one", seed=1), training("other", seed=2)
    answers = [look(spec) for spec in (one, other, training(project="p"))]
    assert [spec.name for spec in check.asked] == ["one", "tiny"]
    settled = answers[1]
    assert settled is not None and settled.spec.kind == "train" and settled.spec.data.task == "classification"
    assert (settled.spec.name, settled.spec.training.seed, settled.lines) == (
        "other",
        2,
        answers[0] and answers[0].lines,
    )


def test_of_two_with_one_unique_key_the_second_is_the_first(session: Session) -> None:
    first, second, third = training(unique="k"), training("other"), training(unique="k")
    ids = submit_many.submit_many(session, reading(first, second, third), 1.0)
    assert ids[0] == ids[2] != ids[1] and len(session.store.ids()) == 2


def test_jobs_that_redis_could_not_be_told_of_are_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    session.require_redis()

    def lost(*_: Any, **__: Any) -> Callable[..., Any]:
        raise redis.ConnectionError("away")

    monkeypatch.setattr(session.connection, "pipeline", lost)
    ids = submit_many.submit_many(session, reading(training(), training()), 1.0)
    assert sorted(session.store.ids()) == sorted(ids)
