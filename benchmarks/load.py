"""A load on an HTTP server: clients that keep their connection, each asking again as soon as it is answered.

One process and one thread drive all clients by epoll, and requests are whole before the clock starts, so the load costs
the machine little, and every server under comparison the same.
"""

from __future__ import annotations

import gc
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"


@dataclass(frozen=True)
class Load:
    """What one run came to. seconds: of each answer, ascending.  statuses: how often each came but 200."""

    per_s: float
    seconds: Sequence[float]
    statuses: dict[int, int]

    def at_ms(self, share: float) -> float:
        """The latency that `share` of the answers did not exceed."""
        return 1e3 * self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


@dataclass
class _Client:
    """One connection. number: of the request under way."""

    peer: socket.socket
    number: int = 0
    sent_s: float = 0.0
    content: bytearray = field(default_factory=bytearray)
    whole: int = -1  # bytes of the answer, once its header is there
    head: int = 0

    def answered(self) -> bool:
        """Whether the answer is whole by now."""
        if self.whole < 0:
            self.head = self.content.find(END)
            if self.head < 0:
                return False
            lower = bytes(self.content[: self.head]).lower()
            start = lower.index(LENGTH) + len(LENGTH)
            stop = lower.find(b"\r\n", start)
            self.head += len(END)
            self.whole = self.head + int(lower[start : stop if stop > 0 else None])
        return len(self.content) >= self.whole


def load(
    port: int,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float = float("inf"),
    answers: int | None = None,
    seen: Callable[[int, int, bytes], None] | None = None,
) -> Load:
    """Send `requests` in turn, over and over, for so long or until so many answers have come.

    seen: called with a request's number, the status and the body of its answer.
    Raises OSError when the server breaks a connection.
    """
    most = answers if answers is not None else 2**62
    selector, taken, latencies, statuses = selectors.EpollSelector(), 0, list[float](), dict[int, int]()
    everybody = [_Client(socket.create_connection(("127.0.0.1", port))) for _ in range(clients)]
    gc.collect()
    gc.disable()
    begun = now = time.perf_counter()
    try:
        for client in everybody:
            client.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client.peer, selectors.EVENT_READ, client)
            taken = _ask(client, requests, taken)
        while now - begun < seconds and len(latencies) < most:
            for key, _ in selector.select():
                client = key.data
                _read(client)
                if not client.answered():
                    continue
                now = time.perf_counter()
                latencies.append(now - client.sent_s)
                status = int(client.content[9:12])
                if status != 200:
                    statuses[status] = statuses.get(status, 0) + 1
                if seen is not None:
                    seen(client.number, status, bytes(client.content[client.head : client.whole]))
                taken = _ask(client, requests, taken)
        return Load(len(latencies) / (time.perf_counter() - begun), sorted(latencies), statuses)
    finally:
        gc.enable()
        for client in everybody:
            client.peer.close()
        selector.close()


def _ask(client: _Client, requests: Sequence[bytes], taken: int) -> int:
    client.number, client.whole = taken % len(requests), -1
    client.content.clear()
    client.sent_s = time.perf_counter()
    client.peer.sendall(requests[client.number])
    return taken + 1


def _read(client: _Client) -> None:
    content = client.peer.recv(1 << 16)
    if not content:
        raise ConnectionError("the server ended a connection")
    client.content += content


def post(path: str, body: bytes, **headers: str) -> bytes:
    """A request as it goes over the wire. headers: `_` stands for `-`."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + END + body
