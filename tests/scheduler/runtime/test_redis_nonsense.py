"""Whatever somebody puts into Redis, the work goes on, and the index is built anew from the directories."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
import redis

from singlepoint.jobs.broker.rq_names import parse_rq_id
from singlepoint.jobs.client import query
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.errors import BrokerRefuses
from singlepoint.jobs.lifecycle.records import Sample
from singlepoint.jobs.lifecycle.summary import summary
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.runtime.upkeep.mending import MENDING
from tests.scheduler.pretend import Bench

Spoil = Callable[[redis.Redis, str], object]

TYPES: dict[str, Spoil] = {
    "string": lambda connection, key: connection.set(key, b"\xff{no json"),
    "number": lambda connection, key: connection.set(key, 7),
    "list": lambda connection, key: connection.rpush(key, b"\xff", "../../x_1", "abc", "*"),
    "hash": lambda connection, key: connection.hset(key, mapping={b"\xff": b"\xff", "../x": "{}", "a": "[]"}),
    "set": lambda connection, key: connection.sadd(key, b"\xff", "rq:worker:nobody"),
    "zset": lambda connection, key: connection.zadd(key, {b"\xff": 0, "../../x_1": 1e300}),
}

WRONG = (
    *(None, True, -1, 0.5, 2**70, 1e308, "", "x", "\ud800", "../x", [], [[1]], ["../x"], {}, {"a": 1}),
    *("0001-01-01T00:00:00Z", "9" * 5000, 1e400),
)


def go(bench: Bench, times: int = 4) -> None:
    """Looks, as the scheduler's loop makes them."""
    rung: list[str] = []
    for _ in range(times):
        bench.now += 2.0
        try:
            bench.scheduler.look(rung)
            rung = bench.index.wait_for_bell(0.002)
        except redis.RedisError as error:
            bench.scheduler._lose_redis(error)
            rung = []
    bench.scheduler.look(rung)


def is_well(bench: Bench, waiting: str) -> None:
    """The job that waits is told of as it is, can be taken, and is; then the index is whole and true."""
    go(bench)
    drop_foreign(bench)
    assert bench.claim() == waiting
    bench.end(waiting)
    bench.now += MENDING.every_s  # what nobody needed meanwhile is found by then
    go(bench, 2)
    assert bench.index.is_complete() and bench.told() == bench.states()
    assert bench.told()[waiting] == "succeeded"


def drop_foreign(bench: Bench) -> None:
    """As a worker drops what it takes from the run queue and cannot read."""
    for entry in bench.queue.run_ids():
        try:
            parse_rq_id(entry)
        except ValueError:
            bench.queue.discard(entry)


def a_home(store: JobStore, connection: redis.Redis) -> tuple[Bench, str]:
    """One job at work, which has told how far it is, and one that waits."""
    bench = Bench(store, connection, cpu=2)
    running, waiting = bench.submit(), bench.submit()
    bench.look()
    assert bench.claim() == running
    bench.look()
    bench.index.report_progress(running, {"progress": 0.5, "sample": Sample(1, bench.now).to_json()})
    connection.sadd(f"rq:workers:{bench.queue.run.name}", "rq:worker:nobody")
    return bench, waiting


def keys_of(bench: Bench) -> set[str]:
    """Every key that stands there, and those of rq's that come and go."""
    there = {key.decode() for key in bench.connection.scan_iter("*")}
    run, waiting = bench.queue.run, bench.queue.waiting
    named = {queue.intermediate_queue_key for queue in (run, waiting)} | {run.key, waiting.key, bench.index.key("bell")}
    return there | named | {f"rq:{name}:{run.name}" for name in ("wip", "finished", "failed")} | {"rq:worker:nobody"}


def test_nonsense_of_any_type_under_any_key_stops_nothing(store: JobStore) -> None:
    connection = fakeredis.FakeRedis()
    bench, waiting = a_home(store, connection)
    cases = 0
    for name in sorted(keys_of(bench)):
        for spoil in TYPES.values():
            key = name.replace(f"{waiting}_1", f"{waiting}_{bench.load(waiting).attempt}")
            connection.delete(key)
            spoil(connection, key)
            is_well(bench, waiting)
            waiting = bench.submit()
            go(bench, 2)
            cases += 1
    assert cases > 80


@pytest.mark.parametrize("field", ["jobs", "live", "head"])
def test_a_wrong_value_in_any_field_of_what_is_told_stops_nothing(store: JobStore, field: str) -> None:
    bench, waiting = a_home(store, fakeredis.FakeRedis())
    session = Session(store.home, store)
    session.__dict__["connection"] = bench.connection
    sound = {
        "jobs": summary(bench.load(waiting)),
        "live": {"progress": 0.5, "step": 3, "sample": Sample(1, 1.0, wall_s=0.5, memory_bytes=3).to_json()},
        "head": {"id": waiting, "reason": "needs 1 core"},
    }[field]
    documents: list[Any] = [{**sound, name: value} for name in sound for value in WRONG]
    documents += [{**sound, "sample": {**sound["sample"], n: v}} for n in sound.get("sample", ()) for v in WRONG]
    documents += [{name: value for name, value in sound.items() if name != left} for left in sound]
    for document in documents:
        _tell(bench, field, waiting, json.dumps(document))
        rows = {row["id"]: row for row in query.listing(session).rows}
        assert rows[waiting]["state"] == bench.load(waiting).state.value and len(rows) == len(store.ids())
        go(bench, 1)
        assert bench.told() == bench.states()
    is_well(bench, waiting)


def _tell(bench: Bench, field: str, job_id: str, text: str) -> None:
    if field == "head":
        bench.connection.set(bench.index.key("head"), text)
    else:
        bench.connection.hset(bench.index.key(field), job_id, text)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "it is full"),
        ("READONLY You can't write against a read only replica.", "read-only replica"),
        ("NOREPLICAS Not enough good replicas to write.", "too few replicas"),
        (
            "MISCONF Redis is configured to save RDB snapshots, but it is unable to persist.",
            "its disk",
        ),
    ],
)
def test_a_redis_that_refuses_writes_is_named_by_who_submits_and_by_who_lists(
    session: Session, monkeypatch: pytest.MonkeyPatch, answer: str, says: str
) -> None:
    monkeypatch.setattr(session.connection, "setrange", lambda *_: _refuse(answer))
    with pytest.raises(BrokerRefuses, match=f"refuses to be written to: .*{says}"):
        session.require_writable()
    assert isinstance(query.listing(session).away, BrokerRefuses)


def _refuse(answer: str) -> None:
    from redis._parsers.base import BaseParser

    raise BaseParser.parse_error(answer)
