"""An attempt is held to its terms."""

from __future__ import annotations

import os
import threading

import pytest

from singlepoint.jobs.lifecycle.records import Resources, Terms
from singlepoint.worker.ground import limits


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this machine has no affinity")
def test_threads_that_run_already_move_to_the_granted_cores_too() -> None:
    before = sorted(os.sched_getaffinity(0))
    if len(before) < 2:
        pytest.skip("this machine has one core")
    resources, done = Resources(1000, 2**28), threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        limits.use_cores(Terms(resources, cores=(before[-1],)))
        assert thread.native_id is not None
        assert os.sched_getaffinity(thread.native_id) == os.sched_getaffinity(0) == {before[-1]}
    finally:
        limits.use_cores(Terms(resources, cores=tuple(before)))
        done.set()
        thread.join()
