"""What the kernel counted of processes, to hold against what we tell of them."""

from __future__ import annotations

import contextlib

import psutil


def counted_core_s(pid: int) -> float:
    """Core-seconds of a process and all that ever lived below it, as long as each was waited for."""
    total = 0.0
    for process in [(root := psutil.Process(pid)), *root.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total
