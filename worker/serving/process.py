"""A process that answers predictions: one thread that reads what came, computes it together, and writes the answers.

It listens on a unix socket of the home (mode 0600), where the page hands requests on. Asked to end, it answers what it
has read and is gone; whoever connects next finds the socket of its successor.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
from contextlib import suppress

import numpy as np

from singlepoint.jobs.host.frames import Frame, Frames
from singlepoint.jobs.host.singleton import acquire
from singlepoint.jobs.store.home import Home

from .answering import Answering
from .shelf import Shelf

log = logging.getLogger("singlepoint.serving")

PIECE_BYTES = 1 << 16
"""Read at a time; of what is twice as large, malloc asks the kernel for new pages each time."""


def serve(home: Home, number: int = 0) -> None:
    """Answer until SIGTERM. Raises NotNow when another process of this home does under this number."""
    lock_path, path = home.serving(number)
    lock = acquire(lock_path)
    with suppress(FileNotFoundError):
        path.unlink()  # of one that died: we hold the lock
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    listening.listen(64)
    log.info("serving_started number=%d pid=%d", number, os.getpid())
    try:
        _Loop(listening, Answering(Shelf(home))).run()
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(lock)
    log.info("serving_ended number=%d", number)


class _Connection:
    """One page that is connected."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self._frames = Frames()

    def read(self) -> list[Frame] | None:
        """The frames that came; None when the other end is gone, or speaks something else."""
        found: list[Frame] = []
        while True:
            try:
                content = self.peer.recv(PIECE_BYTES)
                found += self._frames.take(content)
            except BlockingIOError:
                return found
            except (OSError, ValueError):
                return None
            if not content:
                return found or None
            if len(content) < PIECE_BYTES:  # all there was; should more have come, the selector says so
                return found

    def write(self, content: bytes) -> None:
        """All of it: the page reads whatever else it does."""
        try:
            sent = self.peer.send(content)
        except BlockingIOError:  # there is no room just now
            sent = 0
        except OSError:  # whoever asked is gone
            return
        if sent < len(content):
            self._write_waiting(memoryview(content)[sent:])

    def _write_waiting(self, rest: memoryview) -> None:
        with suppress(OSError):
            self.peer.setblocking(True)
            try:
                self.peer.sendall(rest)
            finally:
                self.peer.setblocking(False)


class _Loop:
    def __init__(self, listening: socket.socket, answering: Answering) -> None:
        self._listening = listening
        self._answering = answering
        self._poll = select.poll()  # a few lines less than a selector, of a path that is cold whenever it is walked
        self._connections: dict[int, _Connection] = {}
        self._ending = False

    def run(self) -> None:
        self._listening.setblocking(False)
        self._poll.register(self._listening, select.POLLIN)
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        self._poll.register(reading, select.POLLIN)
        with np.errstate(all="ignore"):  # of all that is answered: see `ModelPredictor.predict_quietly`
            while not self._ending:
                self._turn()

    def _end(self, _number: int, _frame: object) -> None:
        self._ending = True

    def _turn(self) -> None:
        """What one page has asked by now is answered together, and what is ready at once is written at once."""
        for number, _ in self._poll.poll():
            connection = self._connections.get(number)
            if connection is not None:
                for answers in self._answering.answer(self._read(connection)):
                    connection.write(answers)
            elif number == self._listening.fileno():
                self._accept()

    def _accept(self) -> None:
        with suppress(OSError):
            peer, _ = self._listening.accept()
            peer.setblocking(False)
            self._connections[peer.fileno()] = _Connection(peer)
            self._poll.register(peer, select.POLLIN)

    def _read(self, connection: _Connection) -> list[Frame]:
        frames = connection.read()
        if frames is None:
            self._poll.unregister(connection.peer)
            del self._connections[connection.peer.fileno()]
            connection.peer.close()
        return frames or []
