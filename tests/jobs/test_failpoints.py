"""Failpoints: whoever reaches one does not get past it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

THREAD_THAT_WRITES_ON = """
import os, sys, threading
from singlepoint.jobs.failpoints import reach
target = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
ready = threading.Event()
def write():
    ready.wait()
    reach("write")
    while True:
        os.write(target, b"written")
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
threading.Thread(target=write).start()
os.setpriority(os.PRIO_PROCESS, 0, 19)  # this thread, which hears a signal to the process first, but late
ready.set()
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"),
    reason="this machine: threads of unequal priority are needed, as Linux has them",
)
@pytest.mark.parametrize("action", ["stop", "kill"])
def test_a_thread_that_reaches_a_failpoint_writes_nothing_after_it(tmp_path: Path, action: str) -> None:
    target = tmp_path / "target"
    process = subprocess.Popen(
        [sys.executable, "-c", THREAD_THAT_WRITES_ON, str(target)],
        env={**os.environ, "SINGLEPOINT_FAILPOINT": f"write:{action}"},
        cwd=Path(__file__).resolve().parents[2],
    )
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    try:
        assert target.stat().st_size == 0
        assert os.WIFSTOPPED(status) if action == "stop" else os.WTERMSIG(status) == signal.SIGKILL
    finally:
        process.returncode = -signal.SIGKILL  # reaped, or about to be
        if action == "stop":
            os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)
