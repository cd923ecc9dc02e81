"""A few words with our own Redis without redis-py: the same answers, the same errors, the same patience."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import worker_registration

from singlepoint.jobs.broker import redis_errors
from singlepoint.jobs.broker.address import Broker, locate
from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.broker.refusals import require_writable
from singlepoint.jobs.broker.registered import RegisteredWorker, registered_workers
from singlepoint.jobs.broker.rq_names import waiting_key, workers_key
from singlepoint.jobs.broker.rq_queues import DispatchQueue
from singlepoint.jobs.broker.server_program import socket_path
from singlepoint.jobs.broker.wire import Wire, dial
from singlepoint.jobs.errors import BrokerRefuses
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept

KEY = "sp:x:jobs"


@pytest.fixture
def line(redis_url: str) -> Wire:
    found = dial(Broker(redis_url, ours=True))
    assert found is not None
    return found


def test_it_is_answered_as_redis_py_is(line: Wire, redis_url: str) -> None:
    peer: Any = redis.Redis.from_url(redis_url)
    peer.hset(KEY, mapping={"a": b"\r\n\xff", "b": "é" * 100_000})
    peer.set("text", "+OK")
    questions: list[tuple[str, tuple[Any, ...]]] = [
        ("ping", ()),
        ("get", ("text",)),
        ("get", ("nothing",)),
        ("exists", (KEY,)),
        ("hget", (KEY, "a")),
        ("hget", (KEY, "nothing")),
        ("hgetall", (KEY,)),
        ("hgetall", ("nothing",)),
        ("setrange", ("nothing", 0, "")),
        ("delete", ("nothing", "neither")),
    ]
    for name, words in questions:
        assert getattr(line, name)(*words) == getattr(peer, name)(*words), name


def test_what_is_told_over_it_the_scheduler_hears(line: Any, redis_url: str, store: JobStore) -> None:
    peer = Index(redis.Redis.from_url(redis_url), "x")
    jobs = [accept(store), accept(store)]

    assert Index(line, "x").tell(jobs[0])
    with Index(line, "x").together() as tell:
        tell(jobs[1])

    assert {row["id"] for row in peer.summaries()} == {job.id for job in jobs}
    assert Index(line, "x").summaries() == peer.summaries()
    assert peer.wait_for_bell(1.0) == [job.id for job in jobs]
    Index(line, "x").forget(jobs[0].id)
    assert [row["id"] for row in peer.summaries()] == [jobs[1].id]


def test_what_is_refused_is_redis_pys_error(line: Any, redis_url: str) -> None:
    peer = redis.Redis.from_url(redis_url)
    peer.set(KEY, "of another type")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        line.hgetall(KEY)
    with pytest.raises(redis_errors.ResponseError, match="WRONGTYPE"), line.pipeline() as pipe:
        pipe.llen("nothing")
        pipe.hdel(KEY, "a")
        pipe.execute()
    assert Index(line, "x").summaries() == []  # healed, as over redis-py

    peer.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerRefuses, match="full"):
            require_writable(line)
        assert not Index(line, "x").ring("a")
    finally:
        peer.config_set("maxmemory", 0)


def test_a_connection_that_broke_is_made_again(line: Wire, redis_url: str) -> None:
    peer = redis.Redis.from_url(redis_url)
    peer.set("text", "kept")
    peer.client_kill_filter(_type="normal", skipme=True)

    assert line.get("text") == b"kept"
    with line.pipeline() as pipe:
        pipe.rpush("bell", "a")
        assert pipe.execute() == [1]


def test_a_connection_that_is_let_go_of_is_closed_without_a_warning(redis_url: str) -> None:
    """A session of Python's has no end; a user's test suite shows such warnings."""
    gc.collect()  # what other tests left
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        dial(Broker(redis_url, ours=True))
        gc.collect()
    assert [str(one.message) for one in told if issubclass(one.category, ResourceWarning)] == []


def test_after_trouble_nobody_is_given_the_answer_of_another(line: Wire, redis_url: str) -> None:
    redis.Redis.from_url(redis_url).set("text", "kept")
    line._line.sendall(b"*2\r\n$4\r\nECHO\r\n$5\r\nother\r\n")  # an answer that nobody waited for any more
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("singlepoint.jobs.broker.wire._encoded", fails)
        assert line.get("text") == b"kept"
    assert line.get("text") == b"kept"


def test_after_an_interrupt_nobody_is_given_the_answer_that_was_waited_for(
    line: Wire, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Ctrl-C, between question and answer."""
    redis.Redis.from_url(redis_url).mset({"text": "kept", "other": "of another"})

    def interrupted(_line: Wire) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Wire, "answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            line.get("other")
    assert line.get("text") == b"kept"


def fails(_commands: object) -> bytes:
    raise TimeoutError


def test_only_a_server_of_ours_that_answers_is_spoken_to(home: Home, redis_url: str) -> None:
    assert dial(locate(home)) is None  # nothing was started
    assert dial(Broker(redis_url, ours=False)) is None


@pytest.mark.parametrize("answer", [b"", b"+PONG", b"+PONG\r\n$-9\r\n", b"+PONG\r\n?\r\n", b"+PONG\r\n$9\r\nshort"])
def test_an_answer_that_is_none_is_left_to_redis_py(
    answer: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:

    path = tmp_path / "s"
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
        server.listen()

        def answering() -> None:
            with server.accept()[0] as peer:
                peer.recv(100)
                peer.sendall(answer)

        thread = threading.Thread(target=answering)
        thread.start()
        monkeypatch.setattr(Broker, "socket", property(lambda _self: Path("s")))
        asked: list[Any] = []
        monkeypatch.setattr(Wire, "_said_by_redis_py", lambda _self, words, transaction: [asked.append(words)])
        found = dial(Broker("unix://s", ours=True))
        thread.join()
        assert found is None or (found.get("a") is None and asked)


def test_rq_calls_our_lists_as_we_do(connection: redis.Redis, home: Home) -> None:
    queue = DispatchQueue(connection, home.uuid)
    assert waiting_key(home.uuid) == queue.waiting.key
    assert workers_key(home.uuid) == worker_registration.WORKERS_BY_QUEUE_KEY % queue.run.name


def test_registered_workers_are_told_alike_with_and_without_redis_py(line: Any, redis_url: str) -> None:
    peer: Any = redis.Redis.from_url(redis_url)
    assert registered_workers(line, "x") == registered_workers(peer, "x") == []
    peer.sadd(workers_key("x"), "rq:worker:a", "rq:worker:gone", "rq:worker:odd", b"\xff\n")
    peer.hset("rq:worker:a", mapping={"hostname": "here", "pid": 12})
    peer.set("rq:worker:odd", "no hash")
    assert registered_workers(line, "x") == registered_workers(peer, "x") == [RegisteredWorker("a", "here", 12)]


def test_a_command_that_lists_loads_no_redis_py(home: Home) -> None:
    """It takes longer to load than all the rest."""
    assert (
        _heavy("import singlepoint.jobs.commands.ps, singlepoint.jobs.broker.index, singlepoint.jobs.broker.wire") == []
    )


def test_nor_does_whoever_waits_for_a_start_of_ours(redis_url: str, home: Home) -> None:
    """What it loaded, the services that it waits for would have to wait for."""
    there = ("jobs.store.home as homes", "jobs.services.live as live", "worker.supervision.starting")
    modules = ", ".join(f"singlepoint.{name}" for name in there)
    look = f"import {modules}; print(live.look(homes.open_home({str(home.path)!r}), is_starting=True).broker)"
    assert _heavy(look) == ["False"]
    socket_path(home).parent.mkdir(exist_ok=True)
    socket_path(home).symlink_to(redis_url.removeprefix("unix://"))
    assert _heavy(look) == ["True"]


def _heavy(statements: str) -> list[str]:
    """What these print, and which of the modules that take long they load."""
    asked = subprocess.run(
        [sys.executable, "-c", f"import sys; {statements}; print(*{{'redis', 'rq', 'pydantic'}} & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return asked.stdout.split()
