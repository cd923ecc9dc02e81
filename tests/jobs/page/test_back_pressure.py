"""What becomes of predictions that cannot be answered now: refused at once, with the status that says why.

The process that computes is a socket that takes requests and says nothing until a test wants it to.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from singlepoint.jobs.client.session import Session
from singlepoint.jobs.host.frames import Frame, Frames
from singlepoint.jobs.page.inference import Asked, Inference, _Line
from singlepoint.jobs.page.predictions import Predictions
from singlepoint.jobs.page.problems import Refused
from singlepoint.jobs.page.security import Limits
from tests.jobs.page.client import TOKEN, Client, Reply, Serve

INFER = "/v2/models/net/infer"


class Computing:
    """The other end of the page's socket."""

    def __init__(self, session: Session) -> None:
        self._path = session.home.serving(0)[1]
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self._path))
        self._listening.listen()
        self._frames, self._peer = Frames(), socket.socket()

    def take(self, count: int) -> list[Frame]:
        """So many requests, once they are there."""
        self._listening.settimeout(30)
        self._peer, _ = self._listening.accept()
        self._peer.settimeout(30)
        return self.more(count)

    def more(self, count: int) -> list[Frame]:
        found: list[Frame] = []
        while len(found) < count:
            found += self._frames.take(self._peer.recv(1 << 16))
        return found

    def answer(self, frame: Frame) -> None:
        self._peer.sendall(Frame(frame.id, {"status": 200}, frame.body).packed())

    def refuse(self, frame: Frame, status: int, error: str) -> None:
        self._peer.sendall(Frame(frame.id, {"status": status, "error": error}).packed())

    def end(self) -> None:
        for one in (self._peer, self._listening):
            one.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)


@pytest.fixture
def computing(session: Session) -> Iterator[Computing]:
    one = Computing(session)
    yield one
    one.end()


@contextmanager
def asking(client: Client, *bodies: bytes) -> Iterator[Callable[[], list[Reply]]]:
    """Requests under way, each by a client of its own; what they were answered in the end."""
    replies: dict[int, Reply] = {}

    def ask(number: int, body: bytes) -> None:
        replies[number] = client("POST", INFER, body=body)

    threads = [threading.Thread(target=ask, args=one) for one in enumerate(bodies)]
    for thread in threads:
        thread.start()

    def answered() -> list[Reply]:
        for thread in threads:
            thread.join(30)
        return [replies[number] for number in range(len(bodies))]

    yield answered
    answered()


def test_each_is_answered_its_own_however_they_come_back(serve: Serve, computing: Computing) -> None:
    bodies = [b"%d" % number for number in range(20)]
    with asking(serve(), *bodies) as answered:
        for frame in reversed(computing.take(20)):
            computing.answer(frame)

        assert [(reply.status, reply.body) for reply in answered()] == [(200, body) for body in bodies]


def test_one_alone_is_handed_over_at_once_and_of_many_sixteen_while_the_others_are_read() -> None:
    handed_over: list[int] = []

    class Wire(asyncio.Transport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            handed_over.append(len(Frames().take(bytes(data))))

    async def ask(count: int) -> None:
        line = _Line(Path("nowhere"), lambda *_: None)
        line.loop = asyncio.get_running_loop()
        line.connection_made(Wire())
        for _ in range(count):
            line.send(Asked(0.0, 0, lambda _outcome: None), b"{}", b"")
        await asyncio.sleep(0)

    asyncio.run(ask(40))
    assert handed_over == [1, 16, 16, 7]


def test_an_answer_is_the_same_whether_its_request_came_in_one_piece_or_slowly(
    serve: Serve, computing: Computing
) -> None:
    client = serve()
    lines = [f"POST {INFER} HTTP/1.1", "host: localhost", "content-length: 3"]
    lines += [f"{name}: {value}" for name, value in client.headers.items()]
    content = "\r\n".join([*lines, "", "row"]).encode()
    replies = []
    with socket.create_connection(("127.0.0.1", client.port)) as peer:
        peer.settimeout(30)
        peer.sendall(content)
        [first] = computing.take(1)
        computing.answer(first)
        replies.append(_whole(peer))
        peer.sendall(content[:-2])
        assert client("GET", "/v2/health/live").status == 200  # so the first piece has been read
        peer.sendall(content[-2:])
        [second] = computing.more(1)
        computing.answer(second)
        replies.append(_whole(peer))

    assert replies[0] == replies[1]
    assert replies[0][-1] == b"row"
    assert any(line.startswith(b"content-security-policy: ") for line in replies[0])


def test_a_prediction_behind_another_request_whose_body_does_not_come_is_not_waited_for(serve: Serve) -> None:
    client = serve(limits=Limits(body_s=0.05))
    head = b"\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n" % TOKEN.encode()
    asked = b"GET /v2/health/live HTTP/1.1" + head + b"\r\nPOST %b HTTP/1.1" % INFER.encode() + head
    with socket.create_connection(("127.0.0.1", client.port)) as peer:
        peer.settimeout(30)
        peer.sendall(asked + b"Content-Length: 9\r\n\r\n")
        told = b"".join(iter(lambda: peer.recv(1 << 16), b""))

    assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"200", b"408"]


def test_a_defect_with_one_answer_keeps_none_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    came: list[int] = []

    def ended(number: int) -> None:
        came.append(number)
        if number == 1:
            raise RuntimeError("a defect")

    inference = Inference([Path("nowhere")], Limits())
    [line] = inference._lines
    for number in range(3):
        line.under_way[number] = Asked(0.0, 0, lambda _, number=number: ended(number))  # type: ignore[misc]
    inference._waiting = 3

    async def answered() -> None:
        line.data_received(b"".join(Frame(number, {"status": 200}).packed() for number in range(3)))

    asyncio.run(answered())

    assert (came, inference.waiting) == ([0, 1, 2], 0)
    assert "a defect" in caplog.text


def _whole(peer: socket.socket) -> list[bytes]:
    """The lines of an answer, less those that differ from one to the next."""
    content = b""
    while not content.endswith(b"\r\n\r\nrow"):
        piece = peer.recv(1 << 16)
        assert piece, content
        content += piece
    *lines, body = content.split(b"\r\n")
    return [*sorted(line for line in lines if not line.startswith((b"date: ", b"x-request-id: "))), body]


def test_what_a_process_that_computes_refuses_is_told_in_the_words_of_the_protocol(
    serve: Serve, computing: Computing
) -> None:
    with asking(serve(), b"row") as answered:
        [frame] = computing.take(1)
        computing.refuse(frame, 422, "there are no rows")

        [reply] = answered()
        assert (reply.status, reply.json) == (422, {"error": "there are no rows"})


def test_a_full_queue_says_when_to_come_again(serve: Serve, computing: Computing) -> None:
    client = serve(limits=Limits(waiting=2))
    with asking(client, b"a", b"b") as answered:
        frames = computing.take(2)
        refused = client("POST", INFER, body=b"c")
        for frame in frames:
            computing.answer(frame)

        assert (refused.status, int(refused.headers["retry-after"]) >= 1) == (429, True)
        assert refused.json["error"]
        assert [reply.status for reply in answered()] == [200, 200]


def test_a_queue_is_full_by_bytes_too(serve: Serve, computing: Computing) -> None:
    client = serve(limits=Limits(waiting_bytes=10))

    assert client("POST", INFER, body=b"x" * 11).status == 429


def test_past_its_deadline_nobody_waits(serve: Serve, computing: Computing) -> None:
    reply = serve(limits=Limits(deadline_s=0.1))("POST", INFER, body=b"a")

    assert (reply.status, "0.1 s" in reply.json["error"]) == (504, True)


def test_while_nobody_computes_or_one_goes_away_it_is_503(serve: Serve, session: Session) -> None:
    client = serve()
    assert client("POST", INFER, body=b"a").status == 503
    computing = Computing(session)
    with asking(client, b"a") as answered:
        computing.take(1)
        computing.end()

        assert [(reply.status, reply.headers["retry-after"]) for reply in answered()] == [(503, "1")]


def test_while_the_service_ends_what_is_under_way_is_answered_and_the_rest_is_503(
    serve: Serve, computing: Computing
) -> None:
    client = serve()
    with asking(client, b"a") as answered:
        [frame] = computing.take(1)
        ending = threading.Thread(target=client.stop)
        ending.start()
        computing.answer(frame)

        assert [reply.status for reply in answered()] == [200]
    ending.join(30)

    async def late() -> None:
        stopping = asyncio.Event()
        stopping.set()
        await Predictions(stopping, Inference([], Limits())).asked(b"{}")

    with pytest.raises(Refused) as refused:
        asyncio.run(late())
    assert refused.value.refusal.status == 503
