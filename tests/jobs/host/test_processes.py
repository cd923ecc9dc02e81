"""Which cores a process keeps to."""

from __future__ import annotations

import os
import threading

import pytest

from singlepoint.jobs.host.processes import use_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this machine has no affinity")
def test_threads_that_run_already_move_to_other_cores_too() -> None:
    before = sorted(os.sched_getaffinity(0))
    if len(before) < 2:
        pytest.skip("this machine has one core")
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        use_cores((before[-1],))
        assert thread.native_id is not None
        assert os.sched_getaffinity(thread.native_id) == os.sched_getaffinity(0) == {before[-1]}
    finally:
        use_cores(before)
        done.set()
        thread.join()
