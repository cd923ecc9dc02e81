"""A program under way, with all that it starts: its output passed on, its end noticed at once, nothing of it left.

It runs in a session of its own and dies with us. Whatever it leaves behind is ours (`tree.adopt_orphans`), so all of
it is found below this process.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.worker.ground import limits, tree
from singlepoint.worker.ground.process import die_with

from .memory_group import MemoryGroup

_BLOCK_BYTES = 2**16


class Program:
    """One program of this process; there must be no other children.

    take: is given what the program writes on its standard output and error, as it comes.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], take: Callable[[bytes], None], group: MemoryGroup | None
    ) -> None:
        assert process.stdout is not None
        self.pid = process.pid
        self.status: int | None = None
        self._group = group
        self._lost_for_memory = False
        self._process = process
        self._take = take
        self._output = process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._ended = _death_of(process.pid)

    @classmethod
    def start(
        cls,
        arguments: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        take: Callable[[bytes], None],
        *,
        memory_bytes: int,
        inherit: Sequence[int],
        group: MemoryGroup | None = None,
    ) -> Program:
        """Start it. inherit: descriptors that all of it shall hold.  group: the one that all of it shall be in.

        Raises InvalidInput when it cannot be started.
        """
        try:
            process = subprocess.Popen(
                list(arguments),
                cwd=directory,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=tuple(inherit),
                preexec_fn=functools.partial(_begin, os.getpid(), memory_bytes, group),  # noqa: PLW1509 - no threads here
            )
        except OSError as error:
            field = "cwd" if error.filename == str(directory) else "command"
            raise InvalidInput(Problem(field, f"cannot be run: {error.strerror}: {error.filename}")) from error
        return cls(process, take, group)

    def wait(self, timeout_s: float) -> bool:
        """Pass its output on until it has ended, which is answered, or the time is up."""
        until = time.monotonic() + timeout_s
        watched = [self._output, *([self._ended] if self._ended is not None else [])]
        while self.status is None and (left_s := until - time.monotonic()) > 0:
            ready, _, _ = select.select(watched, [], [], left_s)
            if self._output in ready and not self._pass_on():
                watched.remove(self._output)  # it closed it, and lives on
            self._reap()
        return self.status is not None

    def _pass_on(self) -> bool:
        """What is there of its output; False when there will be no more."""
        try:
            content = os.read(self._output, _BLOCK_BYTES)
        except BlockingIOError:
            return True
        if content:
            self._take(content)
        return bool(content)

    def _reap(self) -> None:
        """Take note of its end, and bury what it left to us that has ended too."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self.pid:
                    self.status = self._process.returncode = os.waitstatus_to_exitcode(status)

    @property
    def lives(self) -> bool:
        """Whether any process of it does."""
        self._reap()
        return bool(self.pids())

    @property
    def lost_for_memory(self) -> bool:
        """Whether the kernel has killed any process of it since all together would have had more than was granted."""
        return self._lost_for_memory or (self._group is not None and self._group.kills() > 0)

    @staticmethod
    def pids() -> list[int]:
        """All its processes."""
        return tree.descendants(os.getpid())

    def ask_to_stop(self) -> None:
        tree.send(self.pids(), signal.SIGTERM)

    def end(self) -> None:
        """Kill what is left of it, and pass on what it wrote last."""
        tree.end_all(self._living)
        with contextlib.suppress(OSError):
            os.set_blocking(self._output, False)
            while select.select([self._output], [], [], 0)[0] and self._pass_on():
                pass
        self._close()
        self._leave_group()

    def _living(self) -> list[int]:
        self._reap()
        return self.pids()

    def _leave_group(self) -> None:
        """It goes with the last of its processes, and with it what the kernel counts there."""
        self._lost_for_memory = self.lost_for_memory
        if self._group is not None:
            self._group.remove()
            self._group = None

    def _close(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._ended is not None:
            os.close(self._ended)
            self._ended = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped with its memory kept, as long as the context lasts."""
        still: set[int] = set()
        while moving := set(self.pids()) - still:  # what one starts while it is being stopped is found next time
            tree.send(moving, signal.SIGSTOP)
            still |= moving
        try:
            yield
        finally:
            tree.send(self.pids(), signal.SIGCONT)


def _begin(parent: int, memory_bytes: int, group: MemoryGroup | None) -> None:
    die_with(parent)
    if group is not None:
        group.join()
    limits.limit_program(memory_bytes)
    for ignored in (signal.SIGINT, signal.SIGUSR1):  # by us, and that would be inherited
        signal.signal(ignored, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _death_of(pid: int) -> int | None:
    """A descriptor that becomes readable when a process ends; None where the system has none."""
    if not hasattr(os, "pidfd_open"):
        return None
    return os.pidfd_open(pid)
