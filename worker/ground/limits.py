"""An attempt is held to its terms: cores, BLAS threads, memory. Applied by the attempt to itself, first thing.

cores: affinity, where the system has it.  threads: threadpoolctl, since numpy is loaded before the fork.
memory: RLIMIT_DATA on Linux, so that asking for more raises MemoryError; what all its processes really have is
watched by its parent (`worker.pool.watch`), which is all that holds a program of others.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

from singlepoint.jobs.host.processes import use_cores
from singlepoint.jobs.lifecycle.records import Terms

from .process import data_bytes

FAR = 4
"""How many times its grant a single process of a program may ask for."""

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")} | {"VECLIB_MAXIMUM_THREADS": "1"}
"""For a process that other work runs beside: threads of a BLAS that wait for one another keep the cores from it."""

LARGE = 128
"""Rows and columns of which OpenBLAS takes its buffers to multiply them: up to 100 it has kernels that need none."""

MARGIN_BYTES = 64 * 2**20
"""Room above the granted memory before the hard limit: allocators reserve more than they use. What is
really used is held to the grant by the parent's watch."""


def warm_up() -> None:
    """Before a limit: let the BLAS take its buffers, whose first product would end the process; and have Arrow, which
    would reserve a gigabyte, take its memory from the system as it needs it. The BLAS of a numpy that is loaded here
    has one thread, unless the environment says how many, which is left as it is for whatever this process starts."""
    alone = {} if any(os.environ.get(name) for name in (*ONE_THREAD, "GOTO_NUM_THREADS")) else ONE_THREAD
    os.environ.update(alone)
    try:
        import numpy as np  # here, so that to hand in a command takes no numpy
    finally:
        for name in alone:
            os.environ.pop(name, None)
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    if arrow := sys.modules.get("pyarrow"):
        arrow.set_memory_pool(arrow.system_memory_pool())
    square = np.ones((LARGE, LARGE), np.float32)
    np.matmul(square, square)


def apply(terms: Terms, *, programs: bool = False) -> None:
    """Hold this process, and the children it will have, to `terms`. programs: those, and not we, do the work; what
    memory they have together is left to the watch (see `limit_program`)."""
    from threadpoolctl import threadpool_limits

    use_cores(terms.cores)
    threadpool_limits(limits=max(1, len(terms.cores)), user_api="blas")
    if not programs:
        limit_memory(terms.resources.memory_bytes)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # so that, if the machine as a whole runs out, a job goes first
        Path("/proc/self/oom_score_adj").write_text("500")


def unmet(terms: Terms) -> str:
    """What of `terms` this process does not keep to, though it was told; "" for nothing."""
    from threadpoolctl import threadpool_info

    wanted = max(1, len(terms.cores))
    found = [
        f"{info['internal_api']} has {info['num_threads']} threads, not {wanted}"
        for info in threadpool_info()
        if info["user_api"] == "blas" and info["num_threads"] > wanted
    ]
    if terms.cores and hasattr(os, "sched_getaffinity") and os.sched_getaffinity(0) != set(terms.cores):
        found.append(f"it runs on cores {sorted(os.sched_getaffinity(0))}, not {sorted(terms.cores)}")
    return "; ".join(found)


def limit_program(memory_bytes: int) -> None:
    """In a program's process before it begins: a far limit on what it can ask for between two looks of the watch. What
    it asks for is more than it uses, so it is not held to the grant itself."""
    if memory_bytes > 0 and sys.platform.startswith("linux"):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = FAR * memory_bytes + 2**30
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def limit_memory(memory_bytes: int) -> None:
    """Make allocations above the grant fail with MemoryError, where RLIMIT_DATA works (Linux)."""
    if memory_bytes <= 0 or not sys.platform.startswith("linux"):
        return
    warm_up()
    limit = data_bytes() + memory_bytes + MARGIN_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
