"""`explain`, `eta`, `ps`, `show` and what submit is told: one sentence and the same times, wherever one asks."""

from __future__ import annotations

import json

import pytest

from singlepoint import main
from singlepoint.jobs.client.query import listing, live
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.client.submit import submit
from singlepoint.jobs.clock import iso, seconds
from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.outlook import foreseen_lines
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.spec.job import likeness
from singlepoint.scheduler.explain import expectation, explanation, in_line
from singlepoint.scheduler.foresight import read_scene, with_spec
from tests.conftest import accept
from tests.scheduler.pretend import Bench


@pytest.fixture
def bench(session: Session) -> Bench:
    """One core: a job runs, two wait."""
    bench = Bench(session.store, session.connection, cpu=1)
    for name in ("run", "first", "mine"):
        bench.submit(name=name)
    bench.look()
    bench.claim()
    bench.look(1.0)
    return bench


def ids(session: Session) -> dict[str, str]:
    return {row["name"]: row["id"] for row in listing(session).rows}


def asking_for(session: Session, **fields: object) -> dict[str, object] | None:
    """What would be told of a command that is about to be handed in."""
    spec = parse_document({"kind": "run", "command": ["true"], **fields}, session.home.path, "new")  # type: ignore[arg-type]
    found = expectation(session, Checked(spec), seconds(iso(1_900_000_001.0)))
    return found.to_json() if found is not None else None


def test_explain_says_of_every_job_what_a_list_says_and_the_same_times(bench: Bench, session: Session) -> None:
    rows = listing(session).rows
    assert len(rows) == 3 and all(row["eta"] is not None for row in rows)
    for row in rows:
        told = explanation(session, row["id"])
        alone, _ = live(session, session.store.load(row["id"]))
        for name in ("reason", "eta", "deadline_probability"):
            assert told[name] == row[name] == alone[name]


def test_a_waiting_job_is_told_what_it_lacks_who_has_it_and_what_would_help(bench: Bench, session: Session) -> None:
    known = ids(session)
    told = explanation(session, known["mine"])
    assert told["lacks"] == {"cpu_millis": {"needs": 1000, "free": 0}}
    assert (told["waits_for"], told["ahead"]) == ([known["run"]], [known["first"]])
    changes = {one["change"]: one["eta"]["start"]["p50"] for one in told["sooner"]}
    assert "--priority 1" in changes
    assert all(at < told["eta"]["start"]["p50"] for at in changes.values())
    assert "lacks" not in explanation(session, known["run"]), "it runs"


@pytest.mark.parametrize("scene", ["gone", "no JSON", '{"schema": 1}', json.dumps({"waiting": [1], "left": {}})])
def test_without_a_scene_that_makes_sense_the_sentence_is_told_alone(
    bench: Bench, session: Session, scene: str
) -> None:
    key = session.index.key("scene")
    session.connection.delete(key) if scene == "gone" else session.connection.set(key, scene)
    told = explanation(session, ids(session)["mine"])
    assert told["reason"] and "lacks" not in told
    assert read_scene(session) is None and asking_for(session) is None


def test_a_job_to_come_is_foreseen_to_stand_where_like_ones_do_whatever_the_last_of_them_took(
    bench: Bench, session: Session
) -> None:
    spec = parse_document({"kind": "run", "command": ["true"]}, session.home.path, "new")
    like, world = likeness(spec), bench.scheduler.world
    took = [Account(wall_s=took_s) for took_s in [100.0] * 10 + [130.0] * 10]
    for account in took:
        world.experience.learn([Entry("x", 1, State.SUCCEEDED, "n", "run", 0.0, 0.0, like=like, account=account)])
    bench.submit(name="like it", like=like)
    bench.look(1.0)

    scene = read_scene(session)
    foreseen = with_spec(session, scene, Checked(spec), bench.now, "it") if scene else None
    there = world.books.task(ids(session)["like it"])

    assert foreseen is not None and there is not None
    task = foreseen.task("it")
    assert task is not None and task.expected_s == there.expected_s == pytest.approx(100)
    assert foreseen.left[there.id].median_s == pytest.approx(130, rel=0.01)


def test_submit_is_told_when_a_job_should_start_and_that_is_after_those_before_it(
    bench: Bench, session: Session
) -> None:
    eta = {row["name"]: row["eta"] for row in listing(session).rows}
    outlook = asking_for(session)
    assert outlook is not None
    expected = outlook["eta"]
    assert isinstance(expected, dict)
    for quantile in ("p10", "p50", "p90"):
        assert expected["start"][quantile] >= eta["mine"]["end"][quantile]
    assert next(foreseen_lines(outlook, 1_900_000_001.0)).startswith("starts ")


def test_a_dependent_is_expected_to_start_after_what_it_comes_after_has_ended(bench: Bench, session: Session) -> None:
    known = ids(session)
    outlook = asking_for(session, after=[known["first"]], priority=9)
    assert outlook is not None and isinstance(outlook["eta"], dict)
    eta = {row["name"]: row["eta"] for row in listing(session).rows}
    assert outlook["eta"]["start"]["p50"] >= eta["first"]["end"]["p50"]
    assert asking_for(session, after=[f"{known['first']}:failed"]) is None, "nobody foresees that"
    held = accept(session.store, at=bench.now)
    bench.note(held.id, Note.HOLD)
    bench.look(1.0)
    assert asking_for(session, after=[held.id]) is None


def test_a_deadline_that_may_be_missed_is_told_with_the_change_that_would_meet_it(
    bench: Bench, session: Session
) -> None:
    outlook = asking_for(session, deadline=iso(bench.now + 1e8))
    assert outlook is not None and outlook["deadline_probability"] == 1.0
    outlook = asking_for(session, deadline=iso(bench.now + 1))
    assert outlook is not None and outlook["deadline_probability"] == 0.0
    spec = {"kind": "run", "command": ["true"], "deadline": iso(bench.now + 7200)}
    job = submit(session, parse_document(spec, session.home.path, "wish"), bench.now).job
    bench.look(1.0)
    row = next(row for row in listing(session).rows if row["id"] == job.id)
    assert 0.0 <= row["deadline_probability"] <= 1.0
    assert explanation(session, job.id)["deadline_at"] == row["deadline_at"] == iso(bench.now - 1 + 7200)


def test_while_redis_is_lost_and_after_nothing_is_told_that_is_not_so(bench: Bench, session: Session) -> None:
    known = ids(session)
    session.connection.flushall()
    told = explanation(session, known["mine"])
    assert told["eta"] is None and told["reason"]
    bench.look(1.0)
    assert explanation(session, known["mine"])["waits_for"] == [known["run"]]


def test_times_that_are_not_told_yet_are_played_by_whoever_asks(bench: Bench, session: Session) -> None:
    told = {row["id"]: row["eta"] for row in listing(session).rows}
    session.connection.delete(session.index.key("told"))
    assert all(row["eta"] is None for row in listing(session).rows)
    for job_id, eta in told.items():
        assert explanation(session, job_id)["eta"] == eta


def test_eta_without_an_id_tells_of_every_job_in_the_order_of_the_line(
    bench: Bench, session: Session, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = ids(session)
    bench.note(known["mine"], Note.PRIORITISE, priority=5)
    bench.look(1.0)
    rows = in_line(listing(session).rows)
    assert [row["name"] for row in rows] == ["run", "mine", "first"]
    starts = [row["eta"]["start"]["p50"] for row in rows[1:]]
    assert starts == sorted(starts)
    unknown = [{**row, "eta": None} for row in rows]
    assert [row["name"] for row in in_line(reversed(unknown))] == ["run", "mine", "first"], "as by priority"

    where = ("--home", str(session.home.path), "--redis-url", redis_url)
    assert main([*where, "eta", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1 and {one["id"] for one in document["jobs"]} == set(known.values())
    assert main([*where, "eta", known["mine"], "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone.keys() - {"schema"} == document["jobs"][0].keys()
    assert main([*where, "eta"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(known)
