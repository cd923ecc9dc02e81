"""Keeps a list of commands alive, and ends them in order.

The supervisor is given names and command lines and knows nothing of what they do. It promises: a child that
dies is noticed at once, by the kernel's signal, and started again, at once the first time, later and later
when it keeps dying; no child outlives the supervisor, and no program of a job a worker that died (where the kernel
offers that); asked to stop, it ends the last child first and the first one last, politely, then by force.

Not done here: restarting a child that hangs, or reading what children write.
"""

from __future__ import annotations

import functools
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from singlepoint.jobs.errors import EXIT_INVALID, EXIT_NOT_PERMITTED, EXIT_USAGE
from singlepoint.worker.ground import tree
from singlepoint.worker.ground.process import die_with, kill_group
from singlepoint.worker.ground.slot import Slot, until_due_s

log = logging.getLogger("singlepoint.supervisor")

HURRIED_GRACE_S = 1.0
CHORE_S = 60.0

USELESS_TO_REPEAT = frozenset({EXIT_USAGE, EXIT_INVALID, EXIT_NOT_PERMITTED})
"""Exit codes by which a child says that starting it again would end the same way."""


@dataclass(frozen=True)
class Child:
    """A command to keep alive.

    environment: what to add to our own.  grace_s: seconds from the request to stop until it is killed.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = 10.0


@dataclass
class Place(Slot):
    """One child's place, and its process while there is one."""

    child: Child
    process: subprocess.Popen[bytes] | None = None

    def start(self, now: float) -> None:
        """Start the child in a session of its own, so that signals from a terminal reach only the supervisor."""
        self.started_at = now
        try:
            self.process = subprocess.Popen(
                self.child.argv,
                env={**os.environ, **self.child.environment},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509 - no threads here
            )
        except OSError as error:
            log.error("child_not_started name=%s error=%s", self.child.name, error)
            self.vacated(now)
        else:
            self.taken(self.process.pid, now)
            log.info("child_started name=%s pid=%d", self.child.name, self.pid)

    def died(self, now: float) -> int:
        """Reap the child, kill what it left in its group, and settle when it is due again. Returns its code."""
        assert self.process is not None
        # Before reaping: as long as the pid is taken, the group cannot be somebody else's.
        kill_group(self.pid)
        code = self.process.wait()
        self.process = None
        lived_s = now - self.started_at
        self.vacated(now, killed=code == -signal.SIGKILL)
        log.warning(
            "child_died name=%s code=%d lived_s=%.3f again_in_s=%.1f",
            *(self.child.name, code, lived_s, self.due_at - now),
        )
        return code


class Supervisor:
    """Runs children until it is signalled: SIGTERM, SIGINT or SIGHUP to stop; SIGQUIT, or a second one, to hurry.

    chore: done every minute while it waits.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        chore: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = [Place(child) for child in children]
        self._chore = chore
        self._chore_at = 0.0
        self._clock = clock
        self._asked = 0
        self._useless: int | None = None

    def run(self) -> int:
        """Keep the children alive until asked to stop, then end them.

        Returns 0, or the code of a child whose end says that starting it again is useless.
        """
        tree.adopt_orphans()
        with self._wakeups() as wakeup:
            while not self._asked and self._useless is None:
                self._start_due()
                self._do_chore()
                self._wait(wakeup, self._until_due_s())
            for slot in reversed(self._slots):
                self._end(slot, wakeup)
        return self._useless or 0

    @contextmanager
    def _wakeups(self) -> Iterator[int]:
        """A descriptor that becomes readable at every signal that matters, a child's death among them."""
        reading, writing = _pipe()
        wanted = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
        earlier = {number: signal.signal(number, self._signalled) for number in wanted}
        earlier_descriptor = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(earlier_descriptor)
            for number, handler in earlier.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)

    def _signalled(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._asked += 2 if number == signal.SIGQUIT else 1

    def _start_due(self) -> None:
        now = self._clock()
        for slot in self._slots:
            if slot.is_due(now):
                slot.start(now)

    def _do_chore(self) -> None:
        if self._clock() >= self._chore_at:
            self._chore_at = self._clock() + CHORE_S
            try:
                self._chore()
            except OSError as error:
                log.warning("chore_failed error=%s", error)

    def _until_due_s(self) -> float:
        now = self._clock()
        until_chore_s = max(0.0, self._chore_at - now)
        until_start_s = until_due_s(self._slots, now)
        return until_chore_s if until_start_s is None else min(until_chore_s, until_start_s)

    def _wait(self, wakeup: int, timeout_s: float) -> None:
        """Sleep until a signal or the time is up, then reap whoever has died."""
        if select.select([wakeup], [], [], timeout_s)[0]:
            with suppress(BlockingIOError):
                while os.read(wakeup, 512):
                    pass
        self._reap()

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.process is not None and _has_died(slot.process):
                code = slot.died(self._clock())
                if code in USELESS_TO_REPEAT:
                    self._useless = code
        orphans = tree.living_children({slot.pid for slot in self._slots})
        tree.send(filter(tree.is_of_a_job, orphans), signal.SIGKILL)  # its job waits until nothing of it lives

    def _end(self, slot: Place, wakeup: int) -> None:
        """Ask one child to end, and kill its group when its grace is over, or cut short by a second request."""
        if slot.process is None:
            return
        log.info("child_asked_to_end name=%s pid=%d", slot.child.name, slot.pid)
        asked_at = self._clock()
        for number in (signal.SIGTERM, signal.SIGCONT):  # one that stands still hears the first only once it goes on
            _signal(slot.pid, number)
        while slot.process is not None:
            grace_s = slot.child.grace_s if self._asked < 2 else min(HURRIED_GRACE_S, slot.child.grace_s)
            left_s = asked_at + grace_s - self._clock()
            if left_s <= 0:
                log.warning("child_killed name=%s pid=%d after_s=%.1f", slot.child.name, slot.pid, grace_s)
                kill_group(slot.pid)
            self._wait(wakeup, left_s if left_s > 0 else 1.0)


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return reading, writing


def _has_died(process: subprocess.Popen[bytes]) -> bool:
    """Whether a child has ended; where the system can tell without reaping it, it is left to be reaped."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
