"""A request whose head came before is begun without the parser, and nobody can tell by its answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from uvicorn.server import ServerState

from singlepoint.jobs.page import guard
from singlepoint.jobs.page.connection import Again, Connection, cut
from singlepoint.jobs.page.predictions import Head
from singlepoint.jobs.page.problems import Refused
from singlepoint.jobs.page.security import Limits, Refusal
from tests.jobs.page.client import TOKEN, Client, Serve
from tests.jobs.page.test_back_pressure import INFER, Computing, computing

__all__ = ["computing"]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the parser was given."""
    found: list[bytes] = []
    parse = Connection._parse

    def noting(self: Connection, data: bytes) -> None:
        found.append(data)
        parse(self, data)

    monkeypatch.setattr(Connection, "_parse", noting)
    return found


class Peer:
    """A client that keeps its connection."""

    def __init__(self, client: Client) -> None:
        self.socket = socket.create_connection(("127.0.0.1", client.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._come = b""

    def ask(self, content: bytes) -> None:
        self.socket.sendall(content)

    def reply(self) -> tuple[int, bytes, bytes]:
        """Status, head and body of the next answer."""
        while b"\r\n\r\n" not in self._come:
            self._more()
        head, _, rest = self._come.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(rest) < length:
            self._more()
            rest = self._come.partition(b"\r\n\r\n")[2]
        self._come = rest[length:]
        return int(head[9:12]), head, rest[:length]

    def _more(self) -> None:
        piece = self.socket.recv(1 << 16)
        assert piece, self._come
        self._come += piece


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve(limits=Limits(waiting=1))


@pytest.fixture
def peer(client: Client) -> Iterator[Peer]:
    one = Peer(client)
    yield one
    one.socket.close()


def request(body: bytes = b"row", *more: str, token: str = TOKEN, host: str = "localhost") -> bytes:
    lines = [f"POST {INFER} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, f"Authorization: Bearer {token}", *more, "", ""]).encode() + body


def known(peer: Peer, computing: Computing, content: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Ask so for the first time, when there is no connection yet, and then so that the head is known.

    The reply to the second.
    """
    peer.ask(content or request())
    [frame] = computing.take(1)
    computing.answer(frame)
    peer.reply()
    peer.ask(content or request())
    [frame] = computing.more(1)
    computing.answer(frame)
    return peer.reply()


def without_what_differs(head: bytes) -> list[bytes]:
    return [line for line in head.split(b"\r\n") if not line.startswith((b"date: ", b"x-request-id: "))]


def test_it_is_answered_the_same_unparsed_whatever_its_body(
    peer: Peer, computing: Computing, parsed: list[bytes]
) -> None:
    before = known(peer, computing)
    parsed.clear()
    for body in (b"wor", b"a longer one", b""):
        peer.ask(request(body))
        [frame] = computing.more(1)
        computing.answer(frame)
        status, head, answer = peer.reply()
        assert (status, answer, frame.body) == (200, body, body)
        expected = before[1].replace(b"content-length: 3", b"content-length: %d" % len(body))
        assert without_what_differs(head) == without_what_differs(expected)

    assert parsed == []


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (request(token=TOKEN[:-1] + "x"), 401),
        (request(token=""), 401),
        (request(host="elsewhere.example"), 400),
        (
            request()
            .replace(b"row", b"row", 1)
            .replace(b"Content-Length: 3", b"Content-Length: 3\r\nContent-Length: 3"),
            400,
        ),
        (request().replace(b"POST", b"FROB", 1), 400),
    ],
)
def test_a_head_that_differs_in_anything_is_judged_for_itself(
    peer: Peer, computing: Computing, other: bytes, status: int
) -> None:
    known(peer, computing)
    peer.ask(other)
    assert peer.reply()[0] == status


def test_a_head_of_another_connection_is_known_too(
    client: Client, peer: Peer, computing: Computing, parsed: list[bytes]
) -> None:
    known(peer, computing)
    parsed.clear()
    other = Peer(client)
    other.ask(request())
    [frame] = computing.more(1)
    computing.answer(frame)
    assert (other.reply()[0], parsed) == (200, [])
    other.socket.close()


def test_what_was_let_in_by_cookie_is_asked_for_it_every_time(
    client: Client, peer: Peer, computing: Computing, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (f"Cookie: {client.cookie()}", "Origin: http://localhost", "Content-Type: application/json")
    content = request(b"row", *lines).replace(b"Authorization: Bearer %b\r\n" % TOKEN.encode(), b"")
    assert known(peer, computing, content)[0] == 200
    monkeypatch.setattr(guard, "now", lambda: 1e12)
    peer.ask(content)
    assert peer.reply()[0] == 401


def test_what_is_refused_is_told_as_ever(peer: Peer, computing: Computing) -> None:
    known(peer, computing)
    for status in (422, 504):
        peer.ask(request())
        [frame] = computing.more(1)
        computing.refuse(frame, status, "why")
        assert peer.reply()[::2] == (status, b'{"error":"why"}')
    peer.ask(request())
    [frame] = computing.more(1)
    computing.answer(frame)
    assert peer.reply()[0] == 200


def test_a_full_queue_is_429(client: Client, peer: Peer, computing: Computing) -> None:
    known(peer, computing)
    other = Peer(client)
    peer.ask(request())
    [frame] = computing.more(1)
    other.ask(request())
    status, head, _ = other.reply()
    assert (status, b"retry-after: " in head) == (429, True)
    computing.answer(frame)
    assert peer.reply()[0] == 200
    other.socket.close()


def test_what_comes_while_one_is_under_way_is_answered_after_it(
    client: Client, peer: Peer, computing: Computing
) -> None:
    known(peer, computing)
    peer.ask(request(b"1"))
    [first] = computing.more(1)
    peer.ask(request(b"2"))
    assert client("GET", "/v2/health/live").status == 200  # so that has been read
    computing.answer(first)
    [second] = computing.more(1)
    peer.ask(request(b"3") + b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    computing.answer(second)
    [third] = computing.more(1)
    computing.answer(third)
    assert [peer.reply()[2] for _ in range(4)] == [b"1", b"2", b"3", b'{"live":true}']


def test_after_an_error_too_what_came_meanwhile_is_answered(client: Client, peer: Peer, computing: Computing) -> None:
    known(peer, computing)
    peer.ask(request(b"1"))
    [first] = computing.more(1)
    peer.ask(request(b"2"))
    assert client("GET", "/v2/health/live").status == 200  # so that has been read
    computing.refuse(first, 422, "why")
    [second] = computing.more(1)
    computing.answer(second)
    assert [peer.reply()[0] for _ in range(2)] == [422, 200]


def test_a_part_of_the_next_is_none_of_the_one_that_is_told_why_not(
    client: Client, peer: Peer, computing: Computing
) -> None:
    known(peer, computing)
    large = b"x" * (3 * Limits().header_bytes)
    peer.ask(request(large))
    [first] = computing.more(1)
    peer.ask(request(b"2")[:20])
    assert client("GET", "/v2/health/live").status == 200  # so that has been read
    computing.refuse(first, 422, "why")
    assert peer.reply()[0] == 422
    peer.ask(request(b"2")[20:])
    [second] = computing.more(1)
    computing.answer(second)
    assert peer.reply()[::2] == (200, b"2")

    peer.ask(request(large) + request(b"4")[:20])  # nor in one piece
    [third] = computing.more(1)
    computing.answer(third)
    assert peer.reply()[::2] == (200, large)
    peer.ask(request(b"4")[20:])
    [fourth] = computing.more(1)
    computing.answer(fourth)
    assert peer.reply()[::2] == (200, b"4")


@pytest.mark.parametrize("first", ["GET", "known"])
def test_line_ends_alone_keep_no_connection(serve: Serve, computing: Computing, first: str) -> None:
    one = Peer(serve(limits=Limits(header_s=0.2)))
    if first == "known":
        known(one, computing)
    else:
        one.ask(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one.reply()[0] == 200
    one.ask(b"\r\n")
    assert one.socket.recv(1) == b""
    one.socket.close()


def test_a_client_that_goes_away_hinders_nobody(client: Client, peer: Peer, computing: Computing) -> None:
    known(peer, computing)
    peer.ask(request())
    [frame] = computing.more(1)
    peer.socket.close()
    computing.answer(frame)
    other = Peer(client)
    other.ask(request())
    [frame] = computing.more(1)
    computing.answer(frame)
    assert other.reply()[0] == 200
    other.socket.close()


def test_an_end_waits_for_it_and_its_answer_says_so(client: Client, peer: Peer, computing: Computing) -> None:
    known(peer, computing)
    peer.ask(request())
    [frame] = computing.more(1)
    ending = threading.Thread(target=client.stop)
    ending.start()
    with pytest.raises(OSError):
        while True:  # until the port is closed, by when the connections have been told
            socket.create_connection(("127.0.0.1", client.port), timeout=30).close()
    computing.answer(frame)
    status, head, body = peer.reply()
    assert (status, body, b"connection: close" in head.lower()) == (200, b"row", True)
    assert peer.socket.recv(1) == b""
    ending.join(30)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        request()[:-1],
        request() + b"x",
        request().partition(b"\r\n\r\n")[0],
        request().replace(b"Content-Length", b"X-Length"),
        request().replace(b": 3", b": +3"),
        request(b"row", "X: " + "x" * 2048),
    ],
)
def test_only_one_request_that_is_whole_is_cut(data: bytes) -> None:
    assert cut(data) is None


def test_of_a_head_all_but_the_length_of_the_body_is_told_apart() -> None:
    assert cut(request(b"row")) == (*(cut(request(b"a longer one")) or (b"",))[:1], b"row")
    assert len({(cut(one) or (b"",))[0] for one in (request(), request(token="x"), request(host="x"))}) == 3


class Wire:
    closed = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def test_what_came_on_a_connection_that_is_gone_is_not_looked_at_nor_is_an_answer_to_another() -> None:
    noted: list[object] = []

    class Loop:
        def call_soon(self, *call: object) -> None:
            noted.append(call)

    one, wire, loop, again = object.__new__(Connection), Wire(), Loop(), Again(b"", Head(b"", ""), 0.0)
    one.transport, one.loop, one.server_state = wire, loop, ServerState()  # type: ignore[assignment]
    one.straight = SimpleNamespace(note=None)  # type: ignore[assignment]
    one._again, one._later = again, b"more"
    one._answer_again(Again(b"", Head(b"", ""), 1.0), Refused(Refusal(503, "", "")))
    assert (one._again, one._later, noted) == (again, b"more", [])
    wire.closed = True
    one._answer_again(again, Refused(Refusal(503, "", "")))
    assert (one._again, one._later, len(noted)) == (None, b"", 1)


def test_a_connection_is_kept_so_long_after_its_last_answer_and_while_one_is_under_way() -> None:
    class Loop:
        def __init__(self) -> None:
            self.now_s, self.looks = 100.0, list[float]()

        def time(self) -> float:
            return self.now_s

        def call_later(self, delay: float, _look: object) -> None:
            self.looks.append(delay)

    one, loop, wire = object.__new__(Connection), Loop(), Wire()
    one.loop, one.transport, one.timeout_keep_alive, one._answered_s = loop, wire, 5, 100.0  # type: ignore[assignment]
    loop.now_s = 103.0
    one.timeout_keep_alive_handler()
    loop.now_s, one._again = 105.0, Again(b"", Head(b"", ""), 0.0)
    one.timeout_keep_alive_handler()
    assert (loop.looks, wire.closed) == ([2.0, 5], False)
    one._again = None
    one.timeout_keep_alive_handler()
    assert (loop.looks, wire.closed) == ([2.0, 5], True)
