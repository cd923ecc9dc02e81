"""`up` from the inside: the supervisor in the foreground, or the same command set free of its terminal.

What is kept alive is written by the front door; see `supervisor` for how.
"""

from __future__ import annotations

import logging
import os
import plistlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import EXIT_NOT_NOW, BrokerAway
from jobs.home import Home
from jobs.services import SUPERVISOR, Services
from jobs.singleton import acquire

from .supervisor import USELESS_TO_REPEAT, Child, Supervisor

READY_S = 60.0
POLL_S = 0.05
TAIL_LINES = 12
LOG_BYTES = 2**22
LOG_FORMAT = "%(asctime)s %(name)s %(message)s"


def log_path(home: Home) -> Path:
    """Where a detached `up` and everything below it writes."""
    return home.path / "up.log"


def keep_alive(home: Home, children: Sequence[Child]) -> int:
    """Be this home's supervisor until asked to stop; returns what the process should exit with.

    Raises NotNow when the home has one.
    """
    lock = acquire(home.lock(SUPERVISOR))
    try:
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
        return Supervisor(children).run()
    finally:
        os.close(lock)


@dataclass(frozen=True)
class Detached:
    """A supervisor set free of its terminal. log_start: bytes its log had before."""

    process: subprocess.Popen[bytes]
    log: Path
    log_start: int

    def tail(self) -> str:
        """The last lines it wrote."""
        text = self.log.read_bytes()[self.log_start :].decode(errors="replace")
        return "\n".join(f"  {line}" for line in text.splitlines()[-TAIL_LINES:])


def detach(home: Home, argv: Sequence[str], environment: Mapping[str, str]) -> Detached:
    """Start `argv` in a session of its own, with its output in the home's `up.log`."""
    log = log_path(home)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.old"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        return Detached(process, log, output.tell())


def await_ready(detached: Detached, look: Callable[[], Services], workers: int) -> Services:
    """Wait until broker, scheduler and workers live.

    Raises BrokerAway with the reason and the end of the log, when the supervisor ends first (and then with
    its exit code) or a minute was not enough (and then it is stopped).
    """
    deadline = time.monotonic() + READY_S
    while (code := detached.process.poll()) is None and time.monotonic() < deadline:
        services = look()
        if not any(services.missing(workers)):
            return services
        time.sleep(POLL_S)
    if code is None:
        reason = f"after {READY_S:.0f} s, {next(look().missing(workers), 'something is missing')}"
        detached.process.terminate()
    else:
        reason = f"it ended with exit code {code}"
    error = BrokerAway(f"singlepoint did not start: {reason}\n{detached.tail()}", hint=f"all of it: {detached.log}")
    if code in USELESS_TO_REPEAT or code == EXIT_NOT_NOW:
        error.exit_code = code
    raise error


# ---- starting with the machine ---------------------------------------------------------------------------

SYSTEMD = """\
# singlepoint as a service of one user, for systemd. To install it:
#   singlepoint up --print-unit > ~/.config/systemd/user/singlepoint.service
#   systemctl --user enable --now singlepoint.service
#   loginctl enable-linger        (so that it starts with the machine, before you log in)
[Unit]
Description=singlepoint, a job queue for training and batch inference
StartLimitIntervalSec=0

[Service]
ExecStart={command}
{environment}# `singlepoint down` ends it with 0, and then it stays down; the other codes say that a new start is useless.
Restart=on-failure
RestartPreventExitStatus=64 65 77
RestartSec=1
# Only the supervisor is asked to stop; it ends the others in order, saving what runs.
KillMode=mixed
TimeoutStopSec=120

[Install]
WantedBy=default.target
"""


def systemd_unit(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """A systemd user unit that runs `argv`."""
    command = " ".join(_quoted(word).replace("$", "$$") for word in argv)
    lines = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in environment.items())
    return SYSTEMD.format(command=command, environment=lines)


def _quoted(word: str) -> str:
    """A word as systemd reads it: `%` means something even inside quotes."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{plain}"' if plain != word or " " in word else word


def launchd_plist(argv: Sequence[str], environment: Mapping[str, str], log: Path) -> str:
    """A launchd agent for macOS that runs `argv`."""
    agent = {
        "Label": "singlepoint",
        "ProgramArguments": list(argv),
        "EnvironmentVariables": dict(environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": 120,
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
    }
    return plistlib.dumps(agent).decode()
