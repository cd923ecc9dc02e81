"""A service under test: our uvicorn on a port of its own, in a thread, over a home that a test can reach into."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import fakeredis
import pytest
import redis

from singlepoint.jobs.client.entry import Address
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.host.processes import this_process
from singlepoint.jobs.page import server
from singlepoint.jobs.page.place import bound
from singlepoint.jobs.page.security import Limits
from singlepoint.jobs.page.service import Service
from singlepoint.jobs.store.durable import make_directory
from singlepoint.jobs.store.settings import Http
from tests.jobs.page.client import SOURCES, TOKEN, Client, Serve


@pytest.fixture
def redis_behind() -> fakeredis.FakeServer:
    """The server that answers; it can be taken away."""
    return fakeredis.FakeServer()


@pytest.fixture
def connection(redis_behind: fakeredis.FakeServer) -> Iterator[redis.Redis]:
    """Once on a fake Redis is enough here: what is asked of it has tests of its own on both."""
    with fakeredis.FakeRedis(server=redis_behind) as fake:
        yield fake


@pytest.fixture
def serve(session: Session) -> Iterator[Serve]:
    """Starts a service over the home; settings and limits as a test wants them."""
    stops = []

    def start(settings: Http | None = None, limits: Limits | None = None) -> Client:
        make_directory(session.home.outputs)
        listening = bound("127.0.0.1", 0)
        port = listening.getsockname()[1]
        instance = Address("", this_process()).instance
        service = Service(session, SOURCES, settings or Http(), TOKEN, instance, limits or Limits())
        running = server.prepared(service, None, frozenset())
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()

        def stop() -> None:
            running.end()
            thread.join(20)
            assert not thread.is_alive(), "the service did not end"

        stops.append(stop)
        return Client(port, service, stop)

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve()
