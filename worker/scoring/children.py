"""Processes that score the pieces of a file together: forked from the attempt, one on each core it was granted.

They share the model by the fork. What comes back is in the order of the file, whoever was faster, and pieces and
answers cross as plain bytes. Children write nothing, so one may die at any instant; but an attempt is one: it dies
the death its child died, and whoever watches it judges that as ever. They die with the attempt, hold its lock,
ignore requests to stop (those are the attempt's to answer), and have equal shares of the memory it has left.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from typing import Never, Self

from threadpoolctl import threadpool_limits

from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.host.processes import use_cores
from singlepoint.jobs.lifecycle.records import Terms
from singlepoint.worker.data.formats import Piece
from singlepoint.worker.ground import limits
from singlepoint.worker.ground.process import data_bytes, die_with

PIECES_PER_CHILD = 2
"""Pieces that are with a child or wait for their turn, for each child: the bound of what is held in memory."""

Score = Callable[[Piece], bytes]
"""Work on one piece: a function of the piece alone, whose answer is never empty."""


class ChildDied(Exception):
    """A child has ended though nobody asked it to; status: as from `os.waitpid`."""

    def __init__(self, pid: int, status: int) -> None:
        super().__init__(f"process {pid} of the attempt ended with {os.waitstatus_to_exitcode(status)}")
        self.status = status


def die_alike(death: ChildDied) -> Never:
    """End this process by the signal that killed its child. Raises RuntimeError if there was none."""
    if os.WIFSIGNALED(death.status):
        number = os.WTERMSIG(death.status)
        with contextlib.suppress(OSError):  # SIGKILL has no other way
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    raise RuntimeError(str(death))


@dataclass(eq=False)
class _Child:
    """One of them, from outside. task: what it works on."""

    pid: int
    connection: Connection
    task: _Task | None = None

    def give(self, task: _Task) -> None:
        """Hand it a piece; only when it has none: it would not listen while it waits to be heard."""
        piece = task.piece
        with self._alive():
            self.connection.send_bytes(json.dumps([piece.first_row, piece.rows, piece.cursor]).encode())
            self.connection.send_bytes(piece.content)
        self.task = task

    def take(self) -> None:
        """Its answer, put where it belongs."""
        assert self.task is not None
        with self._alive():
            self.task.answer = self.connection.recv_bytes()
        self.task = None

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError):  # its end of the pipe, which nobody else has, is closed: maybe in mid-message
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # should it live on, it is no use any more; nor is waiting for it
            raise ChildDied(self.pid, os.waitpid(self.pid, 0)[1]) from None

    def end(self) -> None:
        self.connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


@dataclass(eq=False)
class _Task:
    """A piece that was handed out. answer: None until it is back; b"" if the child could not do it."""

    piece: Piece
    answer: bytes | None = None


class Children:
    """One child for each core of `terms`, as long as the context lasts.

    threads of the BLAS: one, in this process and in each child, whatever was granted: the bits must not depend on it.
    """

    def __init__(self, score: Score, terms: Terms) -> None:
        self._score = score
        self._terms = terms
        self._children: list[_Child] = []

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    def __enter__(self) -> Self:
        threadpool_limits(limits=1, user_api="blas")
        try:
            for core in self._terms.cores:
                self._children.append(self._fork(replace(self._terms, cores=(core,))))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        while self._children:
            self._children.pop().end()

    def map(self, pieces: Iterator[Piece]) -> Iterator[tuple[Piece, bytes]]:
        """Each piece with its answer, in order. What goes wrong does so in order too: with the first piece, after
        all before it. Raises what `pieces` and `score` raise; ChildDied at once."""
        trouble: list[Exception] = []
        source = _until_trouble(pieces, trouble)
        tasks: deque[_Task] = deque()
        while True:
            self._hand_out(source, tasks)
            if not tasks:
                break
            if tasks[0].answer is None:
                self._collect()
                continue
            task = tasks.popleft()
            # What a child cannot do is tried here, so that the error is the one that a single process would meet.
            yield task.piece, task.answer or self._score(task.piece)
        if trouble:
            raise trouble[0]

    def _hand_out(self, source: Iterator[Piece], tasks: deque[_Task]) -> None:
        for child in self._children:
            if child.task is None and len(tasks) < PIECES_PER_CHILD * len(self._children):
                piece = next(source, None)
                if piece is None:
                    return
                tasks.append(_Task(piece))
                child.give(tasks[-1])

    def _collect(self) -> None:
        """Wait until at least one child has answered, or is dead."""
        busy = {child.connection: child for child in self._children if child.task is not None}
        for connection in wait(list(busy)):
            busy[connection].take()  # type: ignore[index]  # wait answers some of what it was given

    def _fork(self, terms: Terms) -> _Child:
        parent = os.getpid()
        ours, theirs = Pipe()
        pid = os.fork()
        if pid:
            theirs.close()
            return _Child(pid, ours)
        try:
            die_with(parent)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            for connection in (ours, *(child.connection for child in self._children)):
                connection.close()  # else we and our sisters would never hear that the parent is gone
            gc.freeze()  # what is shared stays shared: the collector would write to every object of it
            use_cores(terms.cores)
            _share_memory(len(self._terms.cores))
            _serve(theirs, self._score)
        finally:
            os._exit(1)  # a child must never return into the attempt


def _until_trouble(pieces: Iterator[Piece], trouble: list[Exception]) -> Iterator[Piece]:
    try:
        yield from pieces
    except Exception as error:  # noqa: BLE001 - raised again when its turn has come
        trouble.append(error)


def _share_memory(shares: int) -> None:
    """Take an equal share of what the limit leaves: it holds for each process, not for all of them together."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:
        return
    limits.warm_up()
    used = data_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (used + max(0, soft - used) // shares, hard))


def _serve(connection: Connection, score: Score) -> Never:
    """Answer piece after piece until nobody asks any more."""
    while True:
        try:
            first_row, rows, cursor = json.loads(connection.recv_bytes())
            piece = Piece(first_row, rows, cursor, connection.recv_bytes())
        except EOFError:
            os._exit(0)
        answer = b""
        with contextlib.suppress(Exception):  # whatever it is, the parent will meet it too, and can tell
            reach("child.score")
            answer = score(piece)
        connection.send_bytes(answer)
