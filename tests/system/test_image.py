"""The image's own command as another user, on a system that it can't write to: the container's settings, without one.

In namespaces that are gone with it: the system read-only, a /tmp and a state of its own, no capability.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .machine import ROOT, wait_until

IMAGE = (ROOT / "Dockerfile").read_text()
USER = "10001"
STATE = "/srv"  # stands for the volume
NAMESPACE = ("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child")
HEALTH, COMMAND = (json.loads(words) for words in re.findall(r"\bCMD (\[.*\])$", IMAGE, re.MULTILINE))


def closed_above(path: Path) -> Path | None:
    """The first folder on the way to `path` that only its owner may enter."""
    return next((above for above in reversed(path.parents) if not above.stat().st_mode & 0o001), None)


def script(command: list[str]) -> str:
    """For a shell that is root of its namespace.

    What the command needs, and lies where only its owner may enter, is put in the same place behind open doors.
    """
    needed = {path: top for path in (Path(sys.base_prefix), Path(sys.prefix), ROOT) if (top := closed_above(path))}
    lines = ["set -e", "mount -t tmpfs none /mnt"]
    for number, path in enumerate(needed):
        lines += [f"mkdir /mnt/{number}", f"mount --bind {shlex.quote(str(path))} /mnt/{number}"]
    lines += [f"mount -t tmpfs -o mode=755 none {shlex.quote(str(top))}" for top in sorted(set(needed.values()))]
    for number, path in enumerate(needed):
        quoted = shlex.quote(str(path))
        lines += [f"mkdir -p {quoted}", f"mount --bind /mnt/{number} {quoted}"]
    user = f"--reuid {USER} --regid {USER} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all"
    lines += [
        "mount -o remount,bind,ro /",
        f"mount -t tmpfs -o uid={USER},gid={USER},mode=700 none {STATE}",
        "mount -t tmpfs -o mode=1777 none /tmp" if not ROOT.is_relative_to("/tmp") else ":",
        f"cd {STATE}",
        f"setpriv {user} {shlex.join(command)}",
        "exit $?",  # the shell stays the first of the namespace: it, and so all, dies with us
    ]
    return "\n".join(lines)


@pytest.mark.skipif(
    shutil.which(NAMESPACE[0]) is None
    or subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode != 0,
    reason="this machine lets us make no namespaces (that takes root)",
)
def test_the_image_s_command_is_ready_as_another_user_on_a_system_that_is_read_only(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command, health = (
        [sys.executable, *(word.replace("8080", port) for word in words)]
        for words in (("-m", "singlepoint", *COMMAND), HEALTH[1:])
    )
    log = tmp_path / "log"
    with log.open("wb") as out:
        image = subprocess.Popen(
            [*NAMESPACE, "sh", "-c", script(command)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SINGLEPOINT_HOME": f"{STATE}/state"},
            stdout=out,
            stderr=out,
        )
    try:
        wait_until(lambda: subprocess.run(health, capture_output=True, check=False).returncode == 0, log.read_text)
    finally:
        image.kill()  # and everything below it, as the first of its namespace goes
        image.wait(60)
