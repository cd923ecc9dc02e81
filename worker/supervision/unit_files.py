"""Starting with the machine: what a service manager needs to run `up` from boot to shutdown."""

from __future__ import annotations

import plistlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from singlepoint.jobs.broker.address import redacted
from singlepoint.jobs.store.home import Home

from .starting import log_path

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
{environment}# `singlepoint down` ends it with 0, and it stays down; these codes say that another start is useless.
Restart=on-failure
RestartPreventExitStatus=64 65 77
RestartSec=1
# Only the supervisor is asked to stop; it ends the others in order, saving what runs.
KillMode=mixed
TimeoutStopSec=120
# The kernel holds each command to its memory, in a control group that is made beside ours (systemd 254 and newer).
Delegate=memory
DelegateSubgroup=services

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


def unit(home: Home, argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """What this platform's service manager needs to run `argv` from boot to shutdown.

    It is meant to be read and copied, so no password is in it; it says where that belongs.
    """
    open_ = {name: value for name, value in environment.items() if redacted(value) == value}
    secret = ", ".join(environment.keys() - open_.keys())
    if sys.platform == "darwin":
        agent = launchd_plist(argv, open_, log_path(home))
        told = f"<!-- {secret} holds a password: add it to EnvironmentVariables, and let nobody else read this -->"
        return agent.replace("<dict>", f"{told}\n<dict>", 1) if secret else agent
    plain = systemd_unit(argv, open_)
    if not secret:
        return plain
    told = f"# {secret} holds a password: set it in this file, which nobody but you may read.\n"
    return plain.replace(
        "[Service]\n", f"[Service]\n{told}EnvironmentFile={_quoted(str(home.path / 'service.env'))}\n", 1
    )
