"""A few words with the home's own Redis over its socket, without redis-py: for commands, which say little and end.

What they ask is called as redis-py calls it, answered alike, and no more of it is here; trouble is raised as redis-py's
errors. A connection that breaks is left to redis-py, which tries again for a second, and which says what is wrong with
a server that does not answer at all (`dial` is None then). Every command of ours may be said twice.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, Self

from singlepoint.jobs.errors import BrokerAway

from . import redis_errors
from .address import Broker

DIAL_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 5.0

Word = str | bytes | int
Words = tuple[Word, ...]


def dial(broker: Broker) -> Wire | None:
    """A connection to a server of ours, which has answered; None when it does not, or is none of ours."""
    if not broker.ours or broker.socket is None:
        return None
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(DIAL_TIMEOUT_S)
    try:
        line.connect(str(broker.socket))
        line.sendall(_encoded([("PING",)]))
        wire = Wire(broker, line)
        if wire.answer() != b"PONG":  # it is loading its file, for example
            raise ConnectionError
        line.settimeout(ANSWER_TIMEOUT_S)
    except (OSError, _Nonsense):
        line.close()
        return None
    return wire


class _Nonsense(ValueError):
    """What came is no answer of Redis's."""


class Wire:
    """An open connection. Any thread may ask."""

    def __init__(self, broker: Broker, line: socket.socket) -> None:
        self._broker = broker
        self._line = line
        self._answers: BinaryIO = line.makefile("rb")
        self._turn = threading.Lock()

    def __del__(self) -> None:
        self.close()  # a session has no end, and Python warns of a socket that nobody closed

    def ping(self) -> bool:
        return bool(self.one("PING"))

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self.one("GET", key)
        return found

    def exists(self, key: str) -> int:
        return int(self.one("EXISTS", key))

    def hget(self, key: str, field: str) -> bytes | None:
        found: bytes | None = self.one("HGET", key, field)
        return found

    def hgetall(self, key: str) -> dict[bytes, bytes]:
        found = self.one("HGETALL", key)
        return found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))

    def smembers(self, key: str) -> list[bytes]:
        return list(self.one("SMEMBERS", key))

    def setrange(self, key: str, offset: int, value: str) -> int:
        return int(self.one("SETRANGE", key, offset, value))

    def delete(self, *keys: str) -> int:
        return int(self.one("DEL", *keys))

    def rpush(self, key: str, *values: str) -> int:
        return int(self.one("RPUSH", key, *values))

    def pipeline(self, transaction: bool = True) -> Pipeline:
        return Pipeline(self, transaction)

    def one(self, *words: Word) -> Any:
        """The answer to one command; raises redis-py's ResponseError for one that is refused."""
        return _sound(self.said([words], transaction=False))[0]

    def said(self, commands: Sequence[Words], *, transaction: bool) -> list[Any]:
        """The answers to all of these, errors among them. Raises redis-py's RedisError when there are none."""
        try:
            with self._turn:
                if not transaction:
                    self._line.sendall(_encoded(commands))
                    return [self.answer() for _ in commands]
                self._line.sendall(_encoded([("MULTI",), *commands, ("EXEC",)]))
                *refused, answers = [self.answer() for _ in range(len(commands) + 2)]
                return answers if isinstance(answers, list) else [_refused(refused) or answers]
        except (OSError, _Nonsense):
            self.close()
            return self._said_by_redis_py(commands, transaction=transaction)
        except BaseException:  # Ctrl-C, say, with the answer still to come
            self.close()
            raise

    def close(self) -> None:
        """Hang up. Where nobody knows what is still on its way, the next to ask must not be given it: from now on every
        send fails at once, and redis-py asks."""
        self._answers.close()
        self._line.close()

    def _said_by_redis_py(self, commands: Sequence[Words], *, transaction: bool) -> list[Any]:
        from .connection import connect

        try:
            with connect(self._broker) as connection, connection.pipeline(transaction=transaction) as pipe:
                for words in commands:
                    pipe.execute_command(*words)
                answers: list[Any] = pipe.execute(raise_on_error=False)
                return answers
        except BrokerAway as error:
            raise redis_errors.RedisError(error.message) from None

    def answer(self) -> Any:
        """The next answer that comes: bytes, a number, a list of such, None, or an error as a value."""
        line = self._answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        try:
            match kind:
                case b"+":
                    return rest
                case b"-":
                    return redis_errors.ResponseError(rest.decode(errors="replace"))
                case b":":
                    return int(rest)
                case b"$":
                    return None if rest == b"-1" else self._bytes(int(rest))
                case b"*":
                    return None if rest == b"-1" else [self.answer() for _ in range(int(rest))]
        except ValueError as error:
            raise _Nonsense(str(error)) from None
        raise _Nonsense(f"an answer that begins {kind!r}")

    def _bytes(self, count: int) -> bytes:
        found = self._answers.read(count + 2)
        if len(found) < count + 2:
            raise ConnectionError("Redis closed the connection")
        return found[:-2]


class Pipeline:
    """Commands that are said together. As redis-py's, it may be left without being executed."""

    def __init__(self, wire: Wire, transaction: bool) -> None:
        self._wire = wire
        self._transaction = transaction
        self._commands: list[Words] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._commands.clear()

    def __len__(self) -> int:
        return len(self._commands)

    def eval(self, script: str, keys: int, *words: Word) -> None:
        self._commands.append(("EVAL", script, keys, *words))

    def rpush(self, key: str, *values: str) -> None:
        self._commands.append(("RPUSH", key, *values))

    def publish(self, channel: str, message: str) -> None:
        self._commands.append(("PUBLISH", channel, message))

    def llen(self, key: str) -> None:
        self._commands.append(("LLEN", key))

    def hmget(self, key: str, *fields: str) -> None:
        self._commands.append(("HMGET", key, *fields))

    def hdel(self, key: str, *fields: str) -> None:
        self._commands.append(("HDEL", key, *fields))

    def delete(self, *keys: str) -> None:
        self._commands.append(("DEL", *keys))

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """All answers; raises the first that is an error, unless those are to be among them."""
        commands, self._commands = self._commands, []
        answers = self._wire.said(commands, transaction=self._transaction) if commands else []
        return _sound(answers) if raise_on_error else answers


def _sound(answers: list[Any]) -> list[Any]:
    for error in answers:
        if isinstance(error, Exception):
            raise error
    return answers


def _refused(answers: Iterable[Any]) -> Exception | None:
    """Why a transaction was not begun, or not carried out: what was said of one of its commands."""
    return next((one for one in answers if isinstance(one, Exception)), None)


def _encoded(commands: Iterable[Words]) -> bytes:
    parts = []
    for words in commands:
        parts.append(b"*%d\r\n" % len(words))
        for word in words:
            content = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(content), content))
    return b"".join(parts)
