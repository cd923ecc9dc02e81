"""`up` from the inside: the supervisor in the foreground, or in a process set free of its terminal.

Which services those are is written in `up`; how they are kept alive, in `supervisor`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click

from singlepoint.jobs.broker.address import locate
from singlepoint.jobs.broker.server_program import prepare
from singlepoint.jobs.commands.text import complaint
from singlepoint.jobs.errors import EXIT_NOT_NOW, EXIT_OK, BrokerAway, NotNow, SinglepointError
from singlepoint.jobs.host.processes import is_stopped
from singlepoint.jobs.host.service_log import log_to_stderr
from singlepoint.jobs.host.singleton import acquire, holder
from singlepoint.jobs.host.standstill import remedy
from singlepoint.jobs.services.live import SUPERVISOR, Services, look
from singlepoint.jobs.store.durable import creating
from singlepoint.jobs.store.home import Home

from .supervisor import USELESS_TO_REPEAT, Child, Supervisor

READY_S = 30.0
POLL_S = 0.05
TAIL_LINES = 12
LOG_BYTES = 2**22


def log_path(home: Home) -> Path:
    """Where a detached `up` and everything below it writes."""
    return home.path / "up.log"


def keep_alive(home: Home, children: Sequence[Child]) -> int:
    """Be this home's supervisor until asked to stop; returns what the process should exit with.

    Raises NotNow when the home has one.
    """
    lock = acquire(home.lock(SUPERVISOR))
    try:
        log_to_stderr()
        return Supervisor(children, chore=lambda: keep_log_small(log_path(home))).run()
    finally:
        os.close(lock)


def keep_log_small(log: Path) -> None:
    """Put the content of a log that has grown aside, in one older file, under the hands of those who write it."""
    if not log.exists() or log.stat().st_size <= LOG_BYTES:
        return
    shutil.copyfile(log, log.with_suffix(".log.old"))
    os.truncate(log, 0)  # they append, so they go on at its new end


@dataclass(frozen=True)
class Detached:
    """A child of ours set free of its terminal. log_start: bytes its log had before."""

    pid: int
    log: Path
    log_start: int

    def ended(self) -> int | None:
        """What it ended with, told once; None while it lives."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # whoever started us ignores the ends of children, and so do we: nobody can tell
            return 1
        return os.waitstatus_to_exitcode(status) if pid else None

    def tail(self) -> str:
        """The last lines it wrote."""
        text = self.log.read_bytes()[self.log_start :].decode(errors="replace")
        return "\n".join(f"  {line}" for line in text.splitlines()[-TAIL_LINES:])


def ready_broker(home: Home, redis_url: str | None) -> bool:
    """Make sure that this home can have a Redis, and say whether it is ours to start.

    Raises BrokerAway when there is no server to start, or the configured one does not answer.
    """
    broker = locate(home, redis_url)
    if broker.ours:
        prepare(home)
        return True
    from singlepoint.jobs.broker.connection import connect, shortcomings  # redis-py: a third of what `up` loads

    with connect(broker) as connection:
        for weakness in shortcomings(connection):
            click.echo(f"warning: {broker}: {weakness}", err=True)
    return False


def detach(home: Home, keep: Callable[[], int]) -> Detached:
    """Have `keep` done in a session of its own, with its output in the home's `up.log`; it answers with an exit code.

    A fork: what is loaded here need not be loaded there, and the services wait for that.
    """
    log = log_path(home)
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):  # closed by a shell, they are None
        stream.flush()  # or what is still to be written would be written by both
    with open(log, "ab", opener=creating()) as output:
        start = output.tell()  # before the child writes: it shares this place in the file
        pid = os.fork()
        if pid == 0:
            _be_detached(output.fileno(), keep)
        return Detached(pid, log, start)


def _be_detached(output: int, keep: Callable[[], int]) -> NoReturn:
    """The child: never returns."""
    code = 1
    try:
        _set_free(output)
        code = keep()
    except SinglepointError as error:
        _say(complaint(error))
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - its last words: nobody else says them
        _say(traceback.format_exc())
    finally:
        os._exit(code)


def _set_free(output: int) -> None:
    """Leave the terminal, write to that descriptor, and keep no other: whoever gave it to us may wait for its end."""
    os.setsid()
    output = fcntl.fcntl(output, fcntl.F_DUPFD, 3)  # it may be 0 to 2, where a shell closed those
    for descriptor, place in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(descriptor, place)
    for descriptor in (one for one in map(int, os.listdir("/dev/fd")) if one > 2):
        with suppress(OSError):  # that of the list itself
            os.close(descriptor)
    sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _say(text: str) -> None:
    with suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))


def up_detached(
    home: Home,
    redis_url: str | None,
    keep: Callable[[], int],
    workers: int,
    page: Callable[[], bool] | None = None,
) -> int:
    """Have `keep` keep the services alive, detached, unless the home has a supervisor; and wait until all are at work.

    page: whether it answers, where there is to be one.
    """
    if _is_up_already(home):
        return EXIT_OK
    try:
        services = await_ready(detach(home, keep), lambda: look(home, redis_url, is_starting=True), workers, page)
    except BrokerAway as error:
        if error.exit_code == EXIT_NOT_NOW and _is_up_already(home):  # somebody else was faster by an instant
            return EXIT_OK
        raise
    click.echo(f"singlepoint is up: {len(services.workers)} workers, home {home.path}", err=True)
    return EXIT_OK


def _is_up_already(home: Home) -> bool:
    running = holder(home.lock(SUPERVISOR))
    if running is None:
        return False
    if is_stopped(running.pid):
        raise NotNow(f"process {running.pid}, which keeps it up, stands still", hint=remedy(running.pid))
    click.echo(f"singlepoint is up already: process {running.pid}", err=True)
    return True


def await_ready(
    detached: Detached, look: Callable[[], Services], workers: int, page: Callable[[], bool] | None = None
) -> Services:
    """Wait until broker, scheduler and workers live, and the page answers.

    Raises BrokerAway with the reason and the end of the log, when the supervisor ends first (and then with
    its exit code) or half a minute was not enough (and then it is stopped).
    """
    deadline = time.monotonic() + READY_S
    missing = ""
    while (code := detached.ended()) is None and time.monotonic() < deadline:
        services = look()
        missing = next(services.missing(workers), "")
        if not missing and page is not None and not page():
            missing = "the page does not answer"
        if not missing:
            return services
        time.sleep(POLL_S)
    if code is None:
        os.kill(detached.pid, signal.SIGTERM)
    reason = f"after {READY_S:.0f} s, {missing}" if code is None else f"it ended with exit code {code}"
    error = BrokerAway(f"singlepoint did not start: {reason}\n{detached.tail()}", hint=f"all of it: {detached.log}")
    if code in USELESS_TO_REPEAT or code == EXIT_NOT_NOW:
        error.exit_code = code
    raise error
